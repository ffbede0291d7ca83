//! What no real server shows on demand: Neon, silence, errors in the middle of an examination, clocks.

use std::collections::VecDeque;
use std::future::{Future, ready};
use std::sync::{Arc, Mutex};

use super::*;
use crate::connection::{ConnectPace, Fingerprint, SessionFacts};
use crate::target::pool::{Listen, Pool};
use crate::target::{Source, Tuning, sample};

/// What a held session does when it is pinged or left alone.
#[derive(Debug, Clone)]
enum Scene {
    Answers(Duration),
    Fails(Facts),
    Ends(Facts),
    /// Says nothing to a ping.
    Hangs,
    /// Ends by itself after so much silence.
    EndsIdle(Duration, Facts),
}

/// How a login ends; its session then plays the scenes.
type ScriptedLogin = Result<(Login, Vec<Scene>), Facts>;

/// Plays prepared logins, one after the other.
#[derive(Debug, Clone, Default)]
struct Script {
    logins: Arc<Mutex<VecDeque<ScriptedLogin>>>,
    tcp_connect: Option<Facts>,
    /// How many sessions said goodbye.
    closed: Arc<Mutex<usize>>,
    /// The deadline that the last TCP connect was given, from its start.
    patience: Arc<Mutex<Duration>>,
}

#[derive(Debug)]
struct Actor {
    scenes: VecDeque<Scene>,
    asked: bool,
    closed: Arc<Mutex<usize>>,
}

impl Script {
    /// A first login with these scenes, and a second that goes well.
    fn holding(scenes: Vec<Scene>) -> Script {
        Script::of([Ok((login(), scenes)), Ok((login(), Vec::new()))])
    }

    fn of(logins: impl IntoIterator<Item = ScriptedLogin>) -> Script {
        Script { logins: Arc::new(Mutex::new(logins.into_iter().collect())), ..Script::default() }
    }
}

impl Connector for Script {
    type Socket = ();
    type Session = Actor;

    fn prepare(&self, target: Arc<Target>) -> impl Future<Output = Result<Prepared, Facts>> + Send + 'static {
        let Source::Inline(endpoint) = &target.source else { unreachable!("the tests write it so") };
        let sockets = target.socket_tuning(endpoint);
        let endpoint = endpoint.clone();
        ready(Ok(Prepared {
            endpoint,
            sockets,
            fingerprint: Fingerprint::default(),
            password_run: None,
            failed_renewal: None,
            pace: ConnectPace::default(),
        }))
    }

    fn fingerprint(&self, _: Arc<Target>) -> impl Future<Output = Fingerprint> + Send + 'static {
        ready(Fingerprint::default())
    }

    fn tcp_connect(
        &self,
        _: Prepared,
        deadline: Instant,
    ) -> impl Future<Output = Result<((), ConnectTimes), Facts>> + Send + 'static {
        *self.patience.lock().unwrap() = deadline - Instant::now();
        let times = ConnectTimes { connect: Duration::from_millis(20), ..ConnectTimes::default() };
        let ended = self.tcp_connect.clone().map_or(Ok(((), times)), Err);
        async move {
            sleep(Duration::from_millis(20)).await;
            ended
        }
    }

    fn login(
        &self,
        (): (),
        _: Arc<Target>,
        _: Prepared,
        _: Instant,
    ) -> impl Future<Output = Result<(Actor, Login), Facts>> + Send + 'static {
        let next = self.logins.lock().unwrap().pop_front().expect("a login that the script has");
        let closed = self.closed.clone();
        async move {
            sleep(Duration::from_millis(1500)).await;
            let (login, scenes) = next?;
            Ok((Actor { scenes: scenes.into(), asked: false, closed }, login))
        }
    }
}

impl Session for Actor {
    fn ping(&mut self, _: Role) {
        self.asked = true;
    }

    async fn event(&mut self) -> SessionEvent {
        let asked = std::mem::take(&mut self.asked);
        let scene = match self.scenes.front() {
            Some(Scene::EndsIdle(..)) if asked => Scene::Answers(Duration::from_millis(1)),
            Some(Scene::EndsIdle(..)) => self.scenes.pop_front().unwrap(),
            Some(_) if asked => self.scenes.pop_front().unwrap(),
            None if asked => Scene::Answers(Duration::from_millis(1)),
            Some(_) | None => Scene::Hangs,
        };
        match scene {
            Scene::Answers(took) => SessionEvent::Pong { took, role: Role::Any },
            Scene::Fails(facts) => SessionEvent::PingFailed(facts),
            Scene::Ends(facts) => SessionEvent::Lost(facts),
            Scene::Hangs => std::future::pending().await,
            Scene::EndsIdle(after, facts) => {
                sleep(after).await;
                SessionEvent::Lost(facts)
            }
        }
    }

    async fn close(self) {
        *self.closed.lock().unwrap() += 1;
    }
}

fn login() -> Login {
    Login {
        tls: None,
        startup: Duration::from_millis(5),
        ping: Duration::from_millis(1),
        facts: SessionFacts { server_version: "17.2".to_owned(), ..SessionFacts::default() },
        detour: Duration::ZERO,
    }
}

fn server(phase: Phase, sqlstate: &str, message: &str) -> Facts {
    Facts::new(phase, Cause::server(sqlstate, message))
}

fn target(url: &str, tuning: Tuning) -> Arc<Target> {
    Arc::new(Target { tuning: Arc::new(tuning), idle_policy_unset: true, ..sample::target("db", url) })
}

async fn examined(script: &Script, watch: Option<Duration>) -> CheckReport {
    examine(script, target("postgresql://app:sesame@db.example.com/app", Tuning::default()), watch).await
}

/// Each step's name and reason, the latter empty where it went well.
fn steps(report: &CheckReport) -> Vec<(&str, &str)> {
    report.steps.iter().map(|step| (step.name, step.reason.unwrap_or_default())).collect()
}

const WELL: [(&str, &str); 6] = [
    ("resolve", ""),
    ("connect", ""),
    ("startup", ""),
    ("ping", ""),
    ("ping again", ""),
    ("second login", ""),
];

#[tokio::test(start_paused = true)]
async fn a_well_server_passes_every_step_and_both_sessions_are_closed() {
    let script = Script::holding(Vec::new());
    let report = examined(&script, None).await;
    assert_eq!((report.verdict, steps(&report)), (Verdict::Ok, WELL.to_vec()));
    assert_eq!(*script.closed.lock().unwrap(), 2);
    assert_eq!(report.findings, []);
}

#[tokio::test(start_paused = true)]
async fn time_that_was_lost_on_other_sockets_is_a_line_of_its_own() {
    let lost = Login { detour: Duration::from_millis(5000), ..login() };
    let report = examined(&Script::of([Ok((lost, Vec::new())), Ok((login(), Vec::new()))]), None).await;
    assert_eq!(steps(&report)[..3], [("resolve", ""), ("connect", ""), ("connect", "")]);
    assert_eq!(report.steps[2].seconds, 5.0);
    let usual = Login { detour: Duration::from_millis(9), ..login() };
    let report = examined(&Script::of([Ok((usual, Vec::new())), Ok((login(), Vec::new()))]), None).await;
    assert_eq!(steps(&report), WELL);
}

#[tokio::test(start_paused = true)]
async fn a_failure_ends_the_examination_and_tells_how_long_it_took() {
    let script = Script::of([Err(Facts::new(Phase::Startup, Cause::Timeout))]);
    let report = examined(&script, Some(Duration::from_secs(60))).await;
    assert_eq!(report.verdict, Verdict::Critical);
    assert_eq!(steps(&report), [("resolve", ""), ("connect", ""), ("startup", "timeout")]);
    assert_eq!(report.steps[2].seconds, 1.5);
    let text = text(&[report]);
    assert!(text.starts_with("CRITICAL  db  app@db.example.com:5432/app sslmode=require\n"), "{text}");
    assert!(
        text.contains("  FAIL  startup         1.5 s   timeout: no answer in time during startup\n"),
        "{text}"
    );

    let refused = Cause::Io { kind: std::io::ErrorKind::ConnectionRefused, os: None };
    let script = Script { tcp_connect: Some(Facts::new(Phase::Connect, refused)), ..Script::default() };
    let report = examined(&script, None).await;
    assert_eq!(steps(&report), [("connect", "refused")]);
    assert_eq!(report.steps[0].seconds, 0.02);
}

#[tokio::test(start_paused = true)]
async fn a_ping_that_hangs_fails_after_its_timeout_and_nothing_more_is_asked_of_the_session() {
    let scenes = vec![Scene::Answers(Duration::from_millis(3)), Scene::Hangs];
    let script = Script::holding(scenes);
    let report = examined(&script, Some(Duration::from_secs(60))).await;
    assert_eq!(steps(&report)[4..], [("ping again", "timeout")]);
    assert_eq!(report.steps[4].seconds, 5.0);
    assert_eq!(script.logins.lock().unwrap().len(), 1, "no second login was tried");
}

#[tokio::test(start_paused = true)]
async fn an_error_and_an_end_between_pings_are_told_apart() {
    let error = server(Phase::Ping, "25P02", "current transaction is aborted");
    let report = examined(&Script::holding(vec![Scene::Fails(error)]), None).await;
    assert_eq!(steps(&report)[4], ("ping again", "query_failed"));
    let shutdown = server(Phase::Ping, "57P01", "terminating connection due to administrator command");
    let report = examined(&Script::holding(vec![Scene::Ends(shutdown)]), None).await;
    assert_eq!(steps(&report)[4], ("ping again", "shutdown"));
}

#[tokio::test(start_paused = true)]
async fn a_second_login_that_fails_is_critical_and_the_first_session_is_still_watched() {
    let full = server(Phase::Startup, "53300", "too many connections for role \"app\"");
    let script = Script::of([Ok((login(), Vec::new())), Err(full)]);
    let report = examined(&script, Some(Duration::from_secs(60))).await;
    assert_eq!(report.verdict, Verdict::Critical);
    assert_eq!(steps(&report)[5..], [("second login", "capacity"), ("idle", "")]);
    assert_eq!(report.steps[6].seconds, 60.0);
    let Some(CheckFinding::Note(note)) = report.findings.first() else { panic!("{:?}", report.findings) };
    assert!(note.contains("refresh.overlap"), "{note}");
}

fn idle_end() -> Scene {
    let ended = server(Phase::Idle, "57P05", "terminating connection due to idle-session timeout");
    Scene::EndsIdle(Duration::from_secs(300), ended)
}

#[tokio::test(start_paused = true)]
async fn silence_that_ends_the_session_is_measured() {
    let report = examined(&Script::holding(vec![idle_end()]), Some(Duration::from_secs(600))).await;
    let last = report.steps.last().unwrap();
    assert_eq!((last.name, last.reason, report.verdict), ("idle", Some("idle_timeout"), Verdict::Critical));
    // The second login was made meanwhile.
    assert!((301.4..=301.6).contains(&last.seconds), "{last:?}");
    let Some(CheckFinding::Note(note)) = report.findings.first() else { panic!("{:?}", report.findings) };
    assert!(note.contains("5 min 1 s"), "{note}");
}

#[tokio::test(start_paused = true)]
async fn silence_that_puts_a_database_to_sleep_is_no_failure_where_it_may_sleep() {
    let tuning = Tuning { idle_policy: IdlePolicy::LetSleep, ..Tuning::default() };
    let script = Script::holding(vec![idle_end()]);
    let target = target("postgresql://app@db.example.com/app", tuning);
    let report = examine(&script, target, Some(Duration::from_secs(600))).await;
    let last = report.steps.last().unwrap();
    assert_eq!((last.name, last.ok, report.verdict), ("idle", true, Verdict::Ok));
    assert!(last.detail.contains("put to sleep after 5 min 1 s"), "{}", last.detail);
    assert_eq!(*script.closed.lock().unwrap(), 1, "what has ended is not closed again");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_cut_silently_fails_the_ping_after_the_silence() {
    let answers = vec![Scene::Answers(Duration::from_millis(1)); PINGS];
    let script = Script::holding([answers, vec![Scene::Hangs]].concat());
    let report = examined(&script, Some(Duration::from_secs(600))).await;
    assert_eq!(steps(&report)[6], ("idle", "timeout"));
    let Some(CheckFinding::Note(note)) = report.findings.first() else { panic!("{:?}", report.findings) };
    assert!(note.contains("10 min 0 s"), "{note}");
}

#[tokio::test(start_paused = true)]
async fn a_database_that_may_sleep_gets_the_time_to_wake() {
    for (policy, wanted) in [(IdlePolicy::KeepAwake, 10), (IdlePolicy::LetSleep, 45)] {
        let script = Script::holding(Vec::new());
        let tuning = Tuning { idle_policy: policy, ..Tuning::default() };
        examine(
            &Script { tcp_connect: Some(Facts::new(Phase::Connect, Cause::Timeout)), ..script.clone() },
            target("postgresql://app@db.example.com/app", tuning),
            None,
        )
        .await;
        assert_eq!(*script.patience.lock().unwrap(), Duration::from_secs(wanted), "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn neon_with_no_policy_is_a_warning_that_names_the_cost() {
    let url = "postgresql://app@ep-cool-darkness-123456.us-east-2.aws.neon.tech/app";
    let report = examine(&Script::holding(Vec::new()), target(url, Tuning::default()), None).await;
    assert_eq!((report.verdict, report.provider), (Verdict::Warning, "neon"));
    let text = text(std::slice::from_ref(&report));
    assert!(text.starts_with("WARNING   db  app@ep-cool"), "{text}");
    assert!(text.contains(", provider neon\n") && text.contains("16.7 days"), "{text}");
    let mut chosen = (*target(url, Tuning::default())).clone();
    chosen.idle_policy_unset = false;
    let report = examine(&Script::holding(Vec::new()), Arc::new(chosen), None).await;
    assert_eq!(report.verdict, Verdict::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_pool_is_looked_at_even_when_the_login_fails_and_wants_no_pooler_behind_it() {
    let plain = target("postgresql://app@db.example.com/app", Tuning::default());
    let missing = Listen::Unix("/nonexistent/.s.PGSQL.6432".into());
    let pool = Pool { listen: missing, ..crate::status::sample::pool() };
    let pooled = Arc::new(Target { pool: Some(Arc::new(pool)), ..(*plain).clone() });
    let refused = Script::of([Err(Facts::new(Phase::Startup, Cause::Closed))]);
    let report = examine(&refused, pooled.clone(), None).await;
    let text = text(&[report]);
    assert!(text.contains("WARN  pool: there is no folder /nonexistent:"), "{text}");
    assert!(text.contains("note  pool: its size is 10:"), "{text}");
    let behind_another = || {
        let mut first = login();
        first.facts.pooler = Some("pgbouncer");
        Script::of([Ok((first, Vec::new())), Ok((login(), Vec::new()))])
    };
    let report = examine(&behind_another(), pooled, None).await;
    let Some(CheckFinding::Warning(last)) = report.findings.last() else { panic!("{:?}", report.findings) };
    assert!(last.starts_with("pool: its sessions would go through the other pooler"), "{last}");
    let report = examine(&behind_another(), plain, None).await;
    assert_eq!(report.findings, [], "pgtether itself works through one");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_warns_from_two_weeks_before_its_end() {
    const DAY: u64 = 86_400;
    for (days, wanted) in [(15, Verdict::Ok), (13, Verdict::Warning)] {
        let mut first = login();
        first.tls = Some(Duration::from_millis(9));
        first.facts.certificate_expiry = Some(SystemTime::now() + Duration::from_secs(days * DAY));
        let report = examined(&Script::of([Ok((first, Vec::new())), Ok((login(), Vec::new()))]), None).await;
        assert_eq!(report.verdict, wanted, "{days} days");
    }
    let mut first = login();
    first.facts.certificate_expiry = Some(SystemTime::now() - Duration::from_secs(DAY));
    let report = examined(&Script::of([Ok((first, Vec::new())), Ok((login(), Vec::new()))]), None).await;
    assert_eq!(report.findings, [CheckFinding::Warning("the server's certificate has expired".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn several_reports_are_summed_up_and_the_worst_decides() {
    let well = examined(&Script::holding(Vec::new()), None).await;
    let ill = examined(&Script::of([Err(Facts::new(Phase::Startup, Cause::Closed))]), None).await;
    let all = [well.clone(), ill, well];
    assert!(text(&all).ends_with("\n\n3 targets: 2 ok, 1 critical\n"), "{}", text(&all));
    assert!(!text(&all[..1]).contains("targets:"));
    let document: serde_json::Value = serde_json::from_str(&json(&all).unwrap()).unwrap();
    assert_eq!(document["verdict"], "critical");
    assert_eq!(document["targets"][1]["steps"][2]["reason"], "closed");
    assert_eq!(document["targets"][0]["endpoint"], "app@db.example.com:5432/app sslmode=require");
    assert!(!json(&all).unwrap().contains("sesame"));
    let none: serde_json::Value = serde_json::from_str(&json(&[]).unwrap()).unwrap();
    assert_eq!(none["verdict"], "unknown");
}

#[test]
fn verdicts_exit_as_nagios_plugins_do_and_times_are_readable() {
    let all = [Verdict::Ok, Verdict::Warning, Verdict::Critical, Verdict::Unknown];
    assert_eq!(all.map(Verdict::exit_code), [0, 1, 2, 3]);
    let shown = [0.000_12, 0.009_996, 0.25, 2.04].map(|s| report::millis(Duration::from_secs_f64(s)));
    assert_eq!(shown, ["0.12 ms", "10.00 ms", "250 ms", "2.0 s"]);
    assert_eq!(report::span(Duration::from_secs(3723)), "62 min 3 s");
}
