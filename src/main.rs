//! The checklist: arguments, log, configuration, listeners, run; and the exit code of each way out.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use pgtether::check::{self, CheckReport, Verdict};
use pgtether::cli::{
    self, CANNOT_START, CheckArgs, Command, ConfigArgs, ConfigCommand, DemoArgs, EX_USAGE, ExecArgs, FAILED,
    HealthcheckArgs, ManArgs, ManualFacts, Output, PoolArgs, RunArgs, ShowArgs, Subject,
};
use pgtether::config::watch::Watch;
use pgtether::config::{self, Config, Examination, Problems};
use pgtether::connection::{Postgres, find_program, mistakes_in_files};
use pgtether::healthcheck::HealthQuestion;
use pgtether::http::web::{Rules, RulesFile};
use pgtether::http::{Scope, Web, WebListener};
use pgtether::logging::{self, LogOutput};
use pgtether::run::{self, Reread, RunSetup};
use pgtether::signals::Signals;
use pgtether::status::board::Board;
use pgtether::target::{PasswordSource, Target};
use pgtether::{demo, exec, signals};
use tokio::net::TcpListener;

fn main() -> ExitCode {
    let output = match LogOutput::start() {
        Ok(output) => output,
        Err(error) => {
            let _ = writeln!(io::stderr(), "pgtether: the log's thread cannot start: {error}");
            return ExitCode::from(FAILED);
        }
    };
    let done = match cli::parse(std::env::args_os()) {
        Ok(Command::Run(args)) => supervise(&args, &output),
        Ok(Command::Check(args)) => run_check(args, &output),
        Ok(Command::Config(ConfigCommand::Show(args))) => show(&args),
        Ok(Command::Config(ConfigCommand::Schema)) => print(format!("{:#}\n", config::schema())),
        Ok(Command::Exec(args)) => beside_command(&args, &output),
        Ok(Command::Demo(args)) => demonstrate(args, &output),
        Ok(Command::Healthcheck(args)) => ask(&args),
        Ok(Command::Completions(args)) => print(cli::completions(&args)),
        Ok(Command::Man(args)) => manual(&args),
        Err(usage) if usage.code == 0 => print(usage.text),
        Err(usage) => Err(Exit { code: usage.code, text: usage.text }),
    };
    // Nobody may be reading; the exit code says it, too.
    let Exit { code, text } = done.map_or_else(|exit| exit, |code| Exit { code, text: String::new() });
    output.finish(&text);
    ExitCode::from(code)
}

/// A way out that needs words.
struct Exit {
    code: u8,
    text: String,
}

type Done = Result<u8, Exit>;

fn unusable(problems: impl std::fmt::Display) -> Exit {
    Exit { code: EX_USAGE, text: problems.to_string() }
}

fn failed(what: &str, error: impl std::fmt::Display) -> Exit {
    Exit { code: FAILED, text: format!("pgtether: {what}: {error}") }
}

fn supervise(args: &RunArgs, output: &LogOutput) -> Done {
    logging::start(&args.log, output).map_err(|error| failed("the log cannot start", error))?;
    if args.config_check {
        return check_config(args);
    }
    let watch = watch(&args.config);
    let rules_file = args.web.port.config_file.clone().map(RulesFile::open).transpose();
    let (config, rules_file) = match (read(&args.config), rules_file) {
        (Ok(config), Ok(rules_file)) => (config, rules_file),
        (Err(config), Err(web)) => return Err(unusable(format!("{config}\n{web}"))),
        (Err(problems), Ok(_)) | (Ok(_), Err(problems)) => return Err(unusable(problems)),
    };
    let web = run::web(&args.web, rules_file.as_ref());
    let unused = config::unused(&|name| std::env::var_os(name), &|path| path.exists());
    unused.iter().for_each(|told| tracing::warn!("{told}"));
    block_on(async {
        let addresses = args.web.port.listen_addresses.iter().map(|address| (address, Scope::All));
        let health = args.web.port.health_listen_address.iter().map(|address| (address, Scope::Health));
        let mut listeners = Vec::new();
        for (address, scope) in addresses.chain(health) {
            let listener =
                run::bind(address).map_err(|error| failed(&format!("cannot listen on {address}"), error))?;
            listeners.push(WebListener { socket: listener, scope });
        }
        let file = args.config.clone();
        let reread: Reread = Arc::new(move || read(&file));
        serve(|signals| RunSetup {
            config,
            reread,
            watch,
            web,
            rules_file,
            listeners,
            signals,
            board: Board::default(),
            history_file: args.history_file.clone(),
            on_start: Box::new(|_| ()),
            log_lines_dropped: output.dropped(),
        })
        .await
    })?
}

async fn serve(setup: impl FnOnce(Signals) -> RunSetup) -> Done {
    let signals = signals::take().map_err(|error| failed("signals cannot be handled", error))?;
    run::run(setup(signals)).await.map_err(|error| failed("cannot start", error))?;
    Ok(0)
}

/// Runs a command, and what it connects to.
fn beside_command(args: &ExecArgs, output: &LogOutput) -> Done {
    let not_run = |exec::ExecFailure { code, text }| Exit { code, text };
    let no_log = |error| Exit { code: CANNOT_START, ..failed("the log cannot start", error) };
    logging::start(&args.log, output).map_err(no_log)?;
    exec::run(args, output.dropped()).map_err(not_run)
}

fn demonstrate(args: DemoArgs, output: &LogOutput) -> Done {
    logging::start(&args.log, output).map_err(|error| failed("the log cannot start", error))?;
    let web = Web { enable_lifecycle: true, ..Web::default() };
    let ended = block_on(demo::run(args.chaos, |stage| async move {
        let file = ConfigArgs { file: Some(stage.config), pool: PoolArgs::default() };
        let watch = watch(&file);
        let config = read(&file).map_err(unusable)?;
        let listener =
            TcpListener::from_std(stage.listener).map_err(|error| failed("cannot listen", error))?;
        let listeners = vec![WebListener { socket: listener, scope: Scope::All }];
        let reread: Reread = Arc::new(move || read(&file));
        let board = stage.board;
        serve(|signals| RunSetup {
            config,
            reread,
            watch,
            web,
            rules_file: None,
            listeners,
            signals,
            board,
            history_file: None,
            on_start: Box::new(|_| ()),
            log_lines_dropped: output.dropped(),
        })
        .await
    }))?;
    ended.unwrap_or_else(|error| Err(failed("the demo cannot go on", error)))
}

/// Asks the pgtether beside this process.
fn ask(args: &HealthcheckArgs) -> Done {
    let unhealthy = |text: String| Exit { code: FAILED, text: format!("pgtether healthcheck: {text}") };
    let port = &args.port;
    // The health address has no TLS.
    let (listens, tls) = match (&port.health_listen_address, port.listen_addresses.first()) {
        (Some(health), _) => (health, false),
        (None, Some(first)) => {
            let rules = port.config_file.clone().map(RulesFile::open).transpose().map_err(unusable)?;
            let rules = rules.map(|file| file.live().get()).unwrap_or_default();
            if rules.demand_certificates() {
                return Err(unhealthy(
                    "the web port demands client certificates: give pgtether and its health check a \
                     --web.health-listen-address"
                        .to_owned(),
                ));
            }
            (first, rules.tls().is_some())
        }
        (None, None) => return Err(unhealthy("pgtether has no listen address".to_owned())),
    };
    let question = HealthQuestion::new(listens, tls, &args.path).map_err(unhealthy)?;
    print(block_on(question.ask(args.timeout))?.map_err(unhealthy)? + "\n")
}

fn manual(args: &ManArgs) -> Done {
    let facts = ManualFacts { signals: &signals::MEANINGS, exec_variables: &exec::VARIABLES };
    match cli::man(args, &facts).map_err(|error| failed("cannot write the manual page", error))? {
        Some(page) => print(page),
        None => Err(unusable(format!(
            "pgtether has no command {:?}; pgtether --help lists them",
            args.command.join(" ")
        ))),
    }
}

/// Examines the targets side by side and prints them in order.
fn run_check(args: CheckArgs, output: &LogOutput) -> Done {
    let unknown = |text: String| Exit { code: Verdict::Unknown.exit_code(), text };
    logging::start(&args.log, output).map_err(|error| unknown(error.to_string()))?;
    let targets = subjects(&args).map_err(unknown)?;
    let reports: Result<Vec<CheckReport>, Exit> = block_on(async {
        let connector = Postgres::default();
        let examined = targets.into_iter().map(|target| check::examine(&connector, target, args.watch));
        futures_util::future::join_all(examined).await
    });
    let reports = reports.map_err(|exit| unknown(exit.text))?;
    let text = match args.output {
        Output::Text => check::text(&reports),
        Output::Json => check::json(&reports).map_err(|error| unknown(error.to_string()))? + "\n",
    };
    print(&text)?;
    Ok(reports.iter().map(|report| report.verdict).max().unwrap_or(Verdict::Unknown).exit_code())
}

/// What `check` is about: connection strings as they are, names by the configuration, everything without either.
fn subjects(args: &CheckArgs) -> Result<Vec<Arc<Target>>, String> {
    let configured = || read(&args.config).map_err(|problems| problems.to_string());
    if args.subjects.is_empty() {
        return Ok(configured()?.targets);
    }
    let mut targets = Vec::new();
    for (i, subject) in args.subjects.iter().enumerate() {
        match subject {
            Subject::Url(url) => {
                let text = String::from_utf8_lossy(url.expose()).into_owned();
                let name = format!("url-{}", i + 1);
                let config =
                    Config::from_url("argument", &name, &text).map_err(|problems| problems.to_string())?;
                targets.extend(config.targets);
            }
            Subject::Target(name) => {
                let config = configured()?;
                let names: Vec<_> = config.targets.iter().map(|target| target.name.as_str()).collect();
                let found = config.targets.iter().find(|target| target.name.as_str() == name);
                targets.push(found.cloned().ok_or_else(|| {
                    format!("no target is named {name:?}; configured are: {}", names.join(", "))
                })?);
            }
        }
    }
    Ok(targets)
}

fn show(args: &ShowArgs) -> Done {
    let config = read(&args.config).map_err(unusable)?;
    let shown = config::show(&config).map_err(unusable)?;
    if !args.origin {
        return print(shown);
    }
    let env = |name: &str| std::env::var_os(name);
    let origins = config::origins(args.config.file.as_deref(), &env).map_err(unusable)?;
    print(origins.annotate(&shown, &config))
}

/// Everything that can be known without asking a server, in one run.
fn check_config(args: &RunArgs) -> Done {
    let env = |name: &str| std::env::var_os(name);
    let found = config::examine(args.config.file.as_deref(), &args.config.pool.flags(), &env);
    let rules_file = args.web.port.config_file.clone().map(RulesFile::open).transpose();
    let rules = rules_file.as_ref().ok().and_then(Option::as_ref).map(|file| file.live().get());
    let (config, mut warnings) = match found {
        Ok(mut found) => {
            look_at_files(&mut found);
            let readable = config::readable_by_others(&found.config);
            let warnings: Vec<String> =
                found.config.warnings.iter().chain(&readable).map(ToString::to_string).collect();
            (found.sound(), warnings)
        }
        Err(problems) => (Err(problems), Vec::new()),
    };
    warnings
        .extend(rules.as_deref().map(Rules::warnings).unwrap_or_default().iter().map(ToString::to_string));
    let warnings: String = warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    let problems =
        [config.as_ref().err().map(ToString::to_string), rules_file.as_ref().err().map(ToString::to_string)];
    let problems: Vec<String> = problems.into_iter().flatten().collect();
    let Ok(config) = config else { return Err(unusable(problems.join("\n") + "\n" + &warnings)) };
    if !problems.is_empty() {
        return Err(unusable(problems.join("\n") + "\n" + &warnings));
    }
    let targets = config.targets.len();
    let plural = if targets == 1 { "" } else { "s" };
    let web = if rules.is_some() { "the web configuration is good\n" } else { "" };
    print(format!("{warnings}the configuration is good: {targets} target{plural}\n{web}"))
}

/// What a login would fail on before it reaches a server, and a pool before it listens.
fn look_at_files(found: &mut Examination) {
    let path = std::env::var_os("PATH");
    for (number, target) in found.config.targets.clone().iter().enumerate() {
        for (key, why) in mistakes_in_files(target) {
            found.wrong(number, key, why);
        }
        // A warning only: who checks a configuration may do so on another machine.
        if let PasswordSource::Command(command) = &target.password
            && let Err(why) = find_program(&command.program, path.as_deref())
        {
            found.warn(number, "password_command", format!("password_command cannot run here: {why}"));
        }
    }
}

fn read(file: &ConfigArgs) -> Result<Config, Problems> {
    config::find(file.file.as_deref(), &file.pool.flags(), &|name| std::env::var_os(name))
}

fn watch(file: &ConfigArgs) -> Watch {
    Watch::new(vec![file.file.clone().unwrap_or_else(|| config::DEFAULT_FILE.into())])
}

/// One thread: measured, a second one costs 10 to 40 % more a ping, and scrapes are not what it would help.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed("the runtime cannot start", error))?;
    let done = runtime.block_on(work);
    // A resolver that hangs cannot be cancelled, and must not keep us.
    runtime.shutdown_background();
    Ok(done)
}

fn print(text: impl AsRef<[u8]>) -> Done {
    match io::stdout().write_all(text.as_ref()) {
        Ok(()) => Ok(0),
        // `| head` has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(failed("cannot print", error)),
    }
}
