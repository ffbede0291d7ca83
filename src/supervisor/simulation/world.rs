//! Servers in memory that behave as they are told, and remember what reached them.

use std::collections::HashMap;
use std::future::{Future, pending, ready};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::connection::{
    ConnectPace, ConnectTimes, Connector, Fingerprint, Login, Prepared, Session, SessionEvent, SessionFacts,
};
use crate::reason::{Cause, Facts, Phase};
use crate::target::{Endpoint, Role, Source, Target};

const TRIP: Duration = Duration::from_millis(1);
const LOGIN: Duration = Duration::from_millis(5);

/// How a server behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mood {
    Up,
    Refuses,
    /// Nothing comes back, not even to a TCP connect.
    BlackHole,
    /// The kernel takes the socket, the server does not answer.
    Hung,
    Starting,
    /// Says that the password is wrong.
    Rejects,
    /// Up, but never lets go of a session that says goodbye.
    Clings,
    /// Whoever connects meets a bug.
    Breaks,
}

impl Mood {
    fn answers(self) -> bool {
        matches!(self, Mood::Up | Mood::Clings)
    }
}

/// What a server saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saw {
    TcpConnect,
    /// A login began.
    Login,
    Ping,
    Goodbye,
}

#[derive(Debug, Clone)]
pub struct Note {
    pub at: Instant,
    pub host: String,
    pub target: String,
    pub saw: Saw,
}

/// All servers. Clones are the same world.
#[derive(Debug, Clone, Default)]
pub struct World(Arc<Mutex<WorldState>>);

#[derive(Debug, Default)]
struct WorldState {
    servers: HashMap<String, WorldServer>,
    notes: Vec<Note>,
    sessions: HashMap<String, usize>,
    most_sessions: HashMap<String, usize>,
    logins: usize,
    most_logins: usize,
    secret: u64,
    files_hang: bool,
}

#[derive(Debug)]
struct WorldServer {
    mood: watch::Sender<Mood>,
    /// Grows when all its sessions are ended.
    life: watch::Sender<u64>,
}

impl World {
    fn inner(&self) -> MutexGuard<'_, WorldState> {
        self.0.lock().expect("no test panics while it holds the world")
    }

    /// This host behaves so from now on; what it holds stays as it is.
    pub fn set(&self, host: &str, mood: Mood) {
        let mut inner = self.inner();
        match inner.servers.get(host) {
            Some(server) => _ = server.mood.send_replace(mood),
            None => {
                let server = WorldServer { mood: watch::Sender::new(mood), life: watch::Sender::new(0) };
                inner.servers.insert(host.to_owned(), server);
            }
        }
    }

    /// Ends all sessions of the host, as a restart does.
    pub fn end_sessions(&self, host: &str) {
        self.inner().servers[host].life.send_modify(|life| *life += 1);
    }

    /// The files with secrets hold something else now.
    pub fn change_secret(&self) {
        self.inner().secret += 1;
    }

    /// Whoever reads a file waits for ever.
    pub fn hang_files(&self, hang: bool) {
        self.inner().files_hang = hang;
    }

    /// When that was seen at the host.
    pub fn times(&self, host: &str, saw: Saw) -> Vec<Instant> {
        let inner = self.inner();
        inner.notes.iter().filter(|note| note.host == host && note.saw == saw).map(|note| note.at).collect()
    }

    pub fn notes(&self) -> Vec<Note> {
        self.inner().notes.clone()
    }

    pub fn forget(&self) {
        self.inner().notes.clear();
    }

    /// Logins under way at the same time, at the most.
    pub fn most_logins(&self) -> usize {
        self.inner().most_logins
    }

    /// Sessions that a target held at the same time, at the most.
    pub fn most_sessions(&self, target: &str) -> usize {
        self.inner().most_sessions.get(target).copied().unwrap_or_default()
    }

    pub fn sessions(&self) -> usize {
        self.inner().sessions.values().sum()
    }

    fn note(&self, at: &Visitor, saw: Saw) {
        let (host, target) = (at.host.clone(), at.target.clone());
        self.inner().notes.push(Note { at: Instant::now(), host, target, saw });
    }

    fn watch(&self, host: &str) -> (watch::Receiver<Mood>, watch::Receiver<u64>) {
        let inner = self.inner();
        let server = &inner.servers[host];
        (server.mood.subscribe(), server.life.subscribe())
    }
}

/// Who came, and where.
#[derive(Debug, Clone)]
pub struct Visitor {
    host: String,
    target: String,
}

/// A session in memory.
pub struct WorldSession {
    world: World,
    visitor: Visitor,
    mood: watch::Receiver<Mood>,
    life: watch::Receiver<u64>,
    /// Which of its server's lives this session was born in.
    born: u64,
    asked: Option<Instant>,
}

/// Counts a login for as long as it is under way.
struct LoggingIn(World);

impl LoggingIn {
    fn begin(world: &World) -> Self {
        let mut inner = world.inner();
        inner.logins += 1;
        inner.most_logins = inner.most_logins.max(inner.logins);
        LoggingIn(world.clone())
    }
}

impl Drop for LoggingIn {
    fn drop(&mut self) {
        self.0.inner().logins -= 1;
    }
}

impl Connector for World {
    type Socket = Visitor;
    type Session = WorldSession;

    fn prepare(&self, target: Arc<Target>) -> impl Future<Output = Result<Prepared, Facts>> + Send + 'static {
        let hang = self.inner().files_hang;
        let prepared = self.prepared(&target);
        async move { if hang { pending().await } else { prepared } }
    }

    fn fingerprint(&self, _: Arc<Target>) -> impl Future<Output = Fingerprint> + Send + 'static {
        ready(Fingerprint(self.inner().secret))
    }

    fn tcp_connect(
        &self,
        prepared: Prepared,
        deadline: Instant,
    ) -> impl Future<Output = Result<(Visitor, ConnectTimes), Facts>> + Send + 'static {
        self.clone().accept(prepared, deadline)
    }

    fn login(
        &self,
        visitor: Visitor,
        target: Arc<Target>,
        _: Prepared,
        deadline: Instant,
    ) -> impl Future<Output = Result<(WorldSession, Login), Facts>> + Send + 'static {
        self.clone().log_in(visitor, target, deadline)
    }
}

impl World {
    fn prepared(&self, target: &Target) -> Result<Prepared, Facts> {
        let Source::Inline(endpoint) = &target.source else {
            let message = "the scripted world has no files".to_owned();
            return Err(Facts::new(Phase::Prepare, Cause::Config { message }));
        };
        let sockets = target.socket_tuning(endpoint);
        // Who it is, for the notes.
        let application_name = Some(target.name.to_string());
        let endpoint = Arc::new(Endpoint { application_name, ..endpoint.as_ref().clone() });
        Ok(Prepared {
            sockets,
            endpoint,
            fingerprint: Fingerprint(self.inner().secret),
            password_run: None,
            failed_renewal: None,
            pace: ConnectPace::default(),
        })
    }

    async fn accept(self, prepared: Prepared, deadline: Instant) -> Result<(Visitor, ConnectTimes), Facts> {
        let host = prepared.endpoint.hosts[0].name();
        let target = prepared.endpoint.application_name.clone().unwrap_or_default();
        let visitor = Visitor { host, target };
        self.note(&visitor, Saw::TcpConnect);
        prepared.pace.made.add();
        let mood = *self.watch(&visitor.host).0.borrow();
        sleep(TRIP).await;
        let cause = match mood {
            Mood::Refuses => Cause::Io { kind: ErrorKind::ConnectionRefused, os: None },
            Mood::BlackHole => {
                sleep_until(deadline).await;
                Cause::Timeout
            }
            Mood::Breaks => panic!("a bug met at {}", visitor.host),
            Mood::Up | Mood::Hung | Mood::Starting | Mood::Rejects | Mood::Clings => {
                return Ok((visitor, ConnectTimes { connect: TRIP, ..ConnectTimes::default() }));
            }
        };
        Err(Facts::new(Phase::Connect, cause))
    }

    async fn log_in(
        self,
        visitor: Visitor,
        target: Arc<Target>,
        deadline: Instant,
    ) -> Result<(WorldSession, Login), Facts> {
        let _under_way = LoggingIn::begin(&self);
        self.note(&visitor, Saw::Login);
        let (mut mood, life) = self.watch(&visitor.host);
        sleep(LOGIN).await;
        let thawed = timeout_at(deadline, mood.wait_for(|mood| *mood != Mood::Hung)).await;
        let cause = match thawed.map(|mood| mood.map(|mood| *mood)) {
            Err(_) => Cause::Timeout,
            Ok(Ok(Mood::Starting)) => server("57P03", "the database system is starting up"),
            Ok(Ok(Mood::Rejects)) => server("28P01", "password authentication failed for user \"app\""),
            Ok(Ok(Mood::Up | Mood::Clings)) => {
                self.hold(&visitor.target);
                let born = *life.borrow();
                let session = WorldSession { world: self.clone(), visitor, mood, life, born, asked: None };
                let facts = SessionFacts { role: target.tuning.role, ..SessionFacts::default() };
                let detour = Duration::ZERO;
                return Ok((session, Login { tls: None, startup: LOGIN, ping: TRIP, detour, facts }));
            }
            _ => Cause::Closed,
        };
        Err(Facts::new(Phase::Startup, cause))
    }

    fn hold(&self, target: &str) {
        let mut inner = self.inner();
        let held = inner.sessions.entry(target.to_owned()).or_default();
        *held += 1;
        let held = *held;
        let most = inner.most_sessions.entry(target.to_owned()).or_default();
        *most = held.max(*most);
    }
}

fn server(sqlstate: &str, message: &str) -> Cause {
    Cause::server(sqlstate, message)
}

impl Session for WorldSession {
    fn ping(&mut self, _: Role) {
        assert!(self.asked.is_none(), "one ping at a time");
        self.asked = Some(Instant::now());
        self.world.note(&self.visitor, Saw::Ping);
    }

    async fn event(&mut self) -> SessionEvent {
        loop {
            let mood = *self.mood.borrow_and_update();
            if *self.life.borrow() != self.born {
                let cause = server("57P01", "terminating connection due to administrator command");
                return SessionEvent::Lost(Facts::new(Phase::Idle, cause));
            }
            let answer_at = self.asked.filter(|_| mood.answers()).map(|at| (at + TRIP).max(Instant::now()));
            let answered = async {
                match answer_at {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            let born = self.born;
            tokio::select! {
                () = answered => {
                    let took = self.asked.take().map(|at| at.elapsed()).unwrap_or_default();
                    return SessionEvent::Pong { took, role: Role::Any };
                }
                _ = self.mood.changed() => {}
                _ = self.life.wait_for(|life| *life != born) => {}
            }
        }
    }

    async fn close(self) {
        self.world.note(&self.visitor, Saw::Goodbye);
        sleep(TRIP).await;
        if *self.mood.borrow() == Mood::Clings {
            pending::<()>().await;
        }
    }
}

impl Drop for WorldSession {
    fn drop(&mut self) {
        if let Some(held) = self.world.inner().sessions.get_mut(&self.visitor.target) {
            *held -= 1;
        }
    }
}
