//! The command line: flags, their environment variables, and usage errors with the right exit code.
//!
//! Knows which arguments there are, and nothing of what is then done.

mod exits;
mod listen;
mod manual;
mod usage;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{PoolFlags, duration, flags};
use crate::target::pool::{Listen, Mode};
use crate::target::{PasswordCommand, Secret};
pub use exits::{CANNOT_START, EX_USAGE, FAILED, NOT_EXECUTABLE, NOT_FOUND};
pub use listen::{ListenAddress, TelemetryPath};
pub use manual::{ManualFacts, completions, man};
pub use usage::UsageText;

/// What `exec --help` has after its flags.
fn exec_help() -> String {
    let codes = exits::exit_codes("exec").into_iter().map(|(code, meaning)| format!("\n  {code}  {meaning}"));
    format!("{EXEC_HELP}\n\nOther exit codes:{}", codes.collect::<String>())
}

const EXEC_HELP: &str = "Without --pool.listen, the pool listens on a free port of 127.0.0.1, and on a Unix socket if there is no password.

Signals are passed on to the command. When it ends, pgtether ends with its exit code, or with 128 and the number of the
signal that killed it. If pgtether cannot run, it says why, and the command connects to the database itself.";

/// Keeps a tested connection to each of your PostgreSQL databases and reports its state.
#[derive(Debug, Clone, Parser, PartialEq, Eq)]
#[command(name = "pgtether", version, args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Without a command, pgtether runs. Without a configuration file, it uses the database in DATABASE_URL."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

/// The command.
#[derive(Debug, Clone, Subcommand, PartialEq, Eq)]
pub enum Command {
    /// Monitor the databases and serve /metrics and /health (the default).
    Run(RunArgs),
    /// Test each phase of connecting to the targets once, and print a remedy for what fails. Has Nagios exit codes.
    Check(CheckArgs),
    /// Print the effective configuration, or the JSON Schema of the configuration file.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Run a command with a connection pool beside it: one process for one container.
    ///
    /// pgtether monitors the database in DATABASE_URL, opens a connection pool, and starts the command as soon as the pool
    /// listens. The command finds the pool in DATABASE_URL, the original in PGTETHER_DATABASE_URL, and pgtether's web port
    /// in PGTETHER_WEB_URL.
    #[command(mut_arg("web.listen-address", |arg| arg.default_value("127.0.0.1:10432")))]
    #[command(after_help = exec_help())]
    Exec(ExecArgs),
    /// Start a temporary PostgreSQL from the installed binaries, and monitor it.
    Demo(DemoArgs),
    /// Ask the pgtether on this machine whether it works: for an image's HEALTHCHECK. Exits with 0 or 1.
    ///
    /// It asks the first listen address, or the health listen address if there is one. Set both by their environment
    /// variables, so that pgtether and its health check use the same ones.
    Healthcheck(HealthcheckArgs),
    /// Print the completions for a shell.
    Completions(CompletionsArgs),
    /// Print the manual page of pgtether, or of one of its commands.
    Man(ManArgs),
}

/// What `run` takes.
#[derive(Debug, Clone, Args, PartialEq, Eq)]
pub struct RunArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Check the configuration and exit.
    #[arg(long = "config.check")]
    pub config_check: bool,
    /// File that keeps events and uptime over restarts [default: they are kept in memory only].
    #[arg(id = "history.file", long = "history.file", value_name = "FILE", env = "PGTETHER_HISTORY_FILE")]
    pub history_file: Option<PathBuf>,
    #[command(flatten)]
    pub web: WebArgs,
    #[command(flatten)]
    pub log: LogArgs,
}

/// What `check` takes.
#[derive(Debug, Clone, Args, PartialEq, Eq)]
pub struct CheckArgs {
    /// Names of configured targets, or connection strings [default: all configured targets].
    #[arg(value_name = "TARGET | URL", value_parser = subject)]
    pub subjects: Vec<Subject>,
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
    /// Keep the session idle for this long, for example 10m, and report whether it survived.
    #[arg(long, value_name = "DURATION", value_parser = more_than_zero)]
    pub watch: Option<Duration>,
    #[command(flatten)]
    pub log: LogArgs,
}

/// What `config` prints.
#[derive(Debug, Clone, Subcommand, PartialEq, Eq)]
pub enum ConfigCommand {
    /// Print the effective configuration with all defaults and without secrets.
    Show(ShowArgs),
    /// Print the JSON Schema of the configuration file.
    Schema,
}

/// What `config show` takes.
#[derive(Debug, Clone, Args, PartialEq, Eq)]
pub struct ShowArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Append to each value where it comes from: file and line, environment variable, connection string, or default.
    #[arg(long)]
    pub origin: bool,
}

/// What `exec` takes.
#[derive(Debug, Clone, Args, PartialEq, Eq)]
pub struct ExecArgs {
    #[command(flatten)]
    pub pool: PoolArgs,
    #[command(flatten)]
    pub web: WebArgs,
    #[command(flatten)]
    pub log: LogArgs,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// What `demo` takes.
#[derive(Debug, Clone, Args, PartialEq, Eq)]
pub struct DemoArgs {
    /// Kill sessions, and restart and hang the server, on a schedule.
    #[arg(long)]
    pub chaos: bool,
    #[command(flatten)]
    pub log: LogArgs,
}

/// What `healthcheck` takes.
#[derive(Debug, Clone, Args, PartialEq, Eq)]
pub struct HealthcheckArgs {
    /// What to ask for: /readyz, /health and /health/NAME also work.
    #[arg(value_name = "PATH", default_value = "/livez", value_parser = path)]
    pub path: String,
    /// How long to wait for the answer.
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = more_than_zero)]
    pub timeout: Duration,
    #[command(flatten)]
    pub port: WebPortArgs,
}

/// What `completions` takes.
#[derive(Debug, Clone, Args, PartialEq, Eq)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// What `man` takes.
#[derive(Debug, Clone, Args, PartialEq, Eq)]
pub struct ManArgs {
    /// A command, such as check or config show.
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Where the configuration is: in a file, or in `DATABASE_URL` and flags.
#[derive(Debug, Clone, Args, PartialEq, Eq)]
pub struct ConfigArgs {
    /// Configuration file [default: config.yaml, if it exists].
    #[arg(id = "config.file", long = "config.file", value_name = "FILE", env = "PGTETHER_CONFIG_FILE")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub pool: PoolArgs,
}

/// The pool of the database in `DATABASE_URL`, and its password.
#[derive(Debug, Clone, Default, Args, PartialEq, Eq)]
pub struct PoolArgs {
    /// Listen address of a connection pool, such as 127.0.0.1:6432, for the database in DATABASE_URL.
    #[arg(id = "pool.listen", long = "pool.listen", value_name = "ADDRESS", env = "PGTETHER_POOL_LISTEN")]
    #[arg(value_parser = flags::pool_listen)]
    pub listen: Option<Listen>,
    /// Mode of the pool: transaction or session [default: transaction].
    #[arg(id = "pool.mode", long = "pool.mode", value_name = "MODE", env = "PGTETHER_POOL_MODE")]
    #[arg(value_parser = flags::pool_mode)]
    pub mode: Option<Mode>,
    /// Maximum number of server connections of the pool [default: 10].
    #[arg(id = "pool.size", long = "pool.size", value_name = "NUMBER", env = "PGTETHER_POOL_SIZE")]
    #[arg(value_parser = flags::pool_size)]
    pub size: Option<u32>,
    /// Command that prints the password of the database in DATABASE_URL, as a list in brackets, the program first; there is no
    /// shell. For tokens that expire, for example [aws, rds, generate-db-auth-token, …].
    #[arg(id = "target.password-command", long = "target.password-command", value_name = "LIST")]
    #[arg(env = "PGTETHER_TARGET_PASSWORD_COMMAND", hide_env_values = true)]
    #[arg(value_parser = flags::password_command)]
    pub password_command: Option<PasswordCommand>,
}

impl PoolArgs {
    /// As the configuration takes them.
    pub fn flags(&self) -> PoolFlags {
        PoolFlags {
            listen: self.listen.clone(),
            mode: self.mode,
            size: self.size,
            auth: None,
            password_command: self.password_command.clone(),
        }
    }
}

/// Where to serve, and how.
#[derive(Debug, Clone, Args, PartialEq, Eq)]
pub struct WebArgs {
    #[command(flatten)]
    pub port: WebPortArgs,
    /// Path under which metrics are served.
    #[arg(
        id = "web.telemetry-path",
        long = "web.telemetry-path",
        value_name = "PATH",
        env = "PGTETHER_WEB_TELEMETRY_PATH",
        default_value = "/metrics"
    )]
    pub telemetry_path: TelemetryPath,
    /// Allow POST /-/reload, to pause, resume and reconnect pools by POST /-/pools/NAME/, and to try a target at once by
    /// POST /-/targets/NAME/reconnect.
    #[arg(long = "web.enable-lifecycle", env = "PGTETHER_WEB_ENABLE_LIFECYCLE")]
    #[arg(value_parser = clap::builder::BoolishValueParser::new())]
    pub enable_lifecycle: bool,
}

/// How the web port can be reached.
#[derive(Debug, Clone, Args, PartialEq, Eq)]
pub struct WebPortArgs {
    /// Listen address; `:PORT` means all addresses, including IPv6. Repeat it, or separate addresses by commas.
    #[arg(
        id = "web.listen-address",
        long = "web.listen-address",
        value_name = "ADDRESS",
        env = "PGTETHER_WEB_LISTEN_ADDRESS",
        value_delimiter = ',',
        default_value = ":10432"
    )]
    pub listen_addresses: Vec<ListenAddress>,
    /// Listen address for /livez, /readyz and /health only, without TLS, with a thread of its own and one request for each
    /// connection: for probes, if client certificates are required, or clients of the web port may overload it.
    #[arg(
        id = "web.health-listen-address",
        long = "web.health-listen-address",
        value_name = "ADDRESS",
        env = "PGTETHER_WEB_HEALTH_LISTEN_ADDRESS"
    )]
    pub health_listen_address: Option<ListenAddress>,
    /// File with TLS, users, response headers and a rate limit, in the format of the Prometheus exporter toolkit.
    #[arg(
        id = "web.config.file",
        long = "web.config.file",
        value_name = "FILE",
        env = "PGTETHER_WEB_CONFIG_FILE"
    )]
    pub config_file: Option<PathBuf>,
}

/// What to log, and how.
#[derive(Debug, Clone, Args, PartialEq, Eq)]
pub struct LogArgs {
    /// Lowest level that is logged.
    #[arg(id = "log.level", long = "log.level", value_name = "LEVEL", env = "PGTETHER_LOG_LEVEL")]
    #[arg(value_enum, default_value_t)]
    pub level: LogLevel,
    /// Format of the log.
    #[arg(id = "log.format", long = "log.format", value_name = "FORMAT", env = "PGTETHER_LOG_FORMAT")]
    #[arg(value_enum, default_value_t)]
    pub format: LogFormat,
}

/// `--log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogLevel {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

/// `--log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    #[default]
    Logfmt,
    Json,
}

/// `check --output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    #[default]
    Text,
    Json,
}

/// What `check` examines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A target of the configuration.
    Target(String),
    /// A connection string.
    Url(Secret),
}

/// Reads the process's arguments, the program's name first. `Err` is also the way of `--help` and `--version`.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, UsageText> {
    let args: Vec<OsString> = args.into_iter().collect();
    match Cli::try_parse_from(&args) {
        Ok(Cli { command: Some(command), .. }) => Ok(command),
        Ok(Cli { command: None, run }) => Ok(Command::Run(run)),
        Err(error) => Err(usage::explain(&error, &args)),
    }
}

/// Connection strings have a scheme or a `keyword=value`; names of targets cannot.
fn subject(text: &str) -> Result<Subject, String> {
    if text.contains("://") || text.contains('=') {
        Ok(Subject::Url(Secret::new(text)))
    } else {
        Ok(Subject::Target(text.to_owned()))
    }
}

fn more_than_zero(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(Duration::ZERO) => Err("must be more than zero".to_owned()),
        Ok(duration) => Ok(duration),
        Err(bad) => Err(bad.to_string()),
    }
}

/// A path with its query.
fn path(text: &str) -> Result<String, String> {
    if text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        Ok(text.to_owned())
    } else {
        Err("it must begin with / and hold no spaces: /livez, /readyz or /health".to_owned())
    }
}
