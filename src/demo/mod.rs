//! `pgtether demo`: a temporary PostgreSQL, monitored by the real daemon.
//!
//! The demo sets the [`Stage`] and tells what there is to see; the daemon that plays on it is the caller's, and the
//! same as ever. With chaos, [`chaos`] breaks the server on a schedule and reads on the board how the line came back.

pub mod binaries;
pub mod chaos;
mod error;
pub mod postgres;
pub mod scratch;

use std::fmt::Arguments;
use std::future::Future;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use crate::status::Moment;
use crate::status::board::Board;
use binaries::Binaries;
pub use error::Error;
use postgres::{Cluster, Setup};

/// The name of the demo's target, its role and its database.
pub const NAME: &str = "demo";
/// The sessions' `application_name`.
pub const SERVICE: &str = "pgtether-demo";
/// Where the page is, if nobody else is there.
const PORT: u16 = 10_432;

/// What a daemon needs to take part.
#[derive(Debug)]
pub struct Stage {
    /// Its configuration file: one target, the temporary server.
    pub config: PathBuf,
    /// Where it serves its pages: loopback only, ready for a runtime.
    pub listener: TcpListener,
    /// The board that it must write: chaos reads it.
    pub board: Board,
}

/// Starts a PostgreSQL, runs `daemon` on it until that ends, and returns what it returned. Everything is gone then.
pub async fn run<D: Future>(with_chaos: bool, daemon: impl FnOnce(Stage) -> D) -> Result<D::Output, Error> {
    let binaries = Binaries::find()?;
    say(format_args!("Starting a temporary PostgreSQL from {} …", binaries.folder().display()));
    let server = DemoServer::start(binaries).await?;
    let listener = listen()?;
    let address = listener.local_addr().map_err(|e| Error::of("cannot find the address of the demo", e))?;
    say(format_args!("{}", introduction(&server, address, with_chaos)));
    let board = Board::default();
    let mut daemon = pin!(daemon(Stage { config: server.config.clone(), listener, board: board.clone() }));
    if with_chaos {
        tokio::select! {
            ended = &mut daemon => return Ok(ended),
            error = chaos::run(&board, &server) => say(format_args!("chaos: stopped: {error}")),
        }
    }
    Ok(daemon.await)
}

/// The server of the demo and what people and chaos do to it.
#[derive(Debug)]
pub(crate) struct DemoServer {
    cluster: Arc<Mutex<Cluster>>,
    port: u16,
    /// Reaches it as the superuser, whatever the demo's role is told.
    admin: String,
    sockets: PathBuf,
    config: PathBuf,
    password_file: PathBuf,
}

impl DemoServer {
    async fn start(binaries: Binaries) -> Result<DemoServer, Error> {
        let setup = Setup::default().set("max_connections", 20);
        let cluster = blocking(move || Cluster::start_new(binaries, setup)).await?;
        let folder = cluster.socket_folder().to_owned();
        let server = DemoServer {
            port: cluster.port(),
            admin: cluster.admin_conninfo(),
            config: folder.join("config.yaml"),
            password_file: folder.join("demo-password"),
            sockets: folder,
            cluster: Arc::new(Mutex::new(cluster)),
        };
        server
            .sql(&[&format!("CREATE ROLE {NAME} LOGIN"), &format!("CREATE DATABASE {NAME} OWNER {NAME}")])
            .await?;
        let password = server.change_password().await?;
        server.tell_password(password).await?;
        let (path, text) = (server.config.clone(), config(server.port, &server.password_file));
        server.act(move |cluster| cluster.write(&path, &text)).await?;
        Ok(server)
    }

    /// Gives the demo's role a new password, that nobody was told yet.
    pub(crate) async fn change_password(&self) -> Result<String, Error> {
        let password: String = (0..20).map(|_| fastrand::alphanumeric()).collect();
        self.sql(&[&format!("ALTER ROLE {NAME} PASSWORD '{password}'")]).await?;
        Ok(password)
    }

    /// Writes it where the daemon looks for it.
    pub(crate) async fn tell_password(&self, password: String) -> Result<Moment, Error> {
        let path = self.password_file.clone();
        self.act(move |cluster| cluster.write(&path, &password)).await
    }

    /// Runs statements as the superuser, each by itself; tells when the last one was sent.
    pub(crate) async fn sql(&self, statements: &[&str]) -> Result<Moment, Error> {
        let failed = |e: tokio_postgres::Error| {
            let why = e.as_db_error().map_or_else(|| e.to_string(), ToString::to_string);
            Error::of("the temporary PostgreSQL refused a statement", why)
        };
        let work = async {
            let (client, connection) =
                tokio_postgres::connect(&self.admin, tokio_postgres::NoTls).await.map_err(failed)?;
            let talk = async {
                let mut sent = Moment::now();
                for statement in statements {
                    sent = Moment::now();
                    client.batch_execute(statement).await.map_err(failed)?;
                }
                drop(client);
                Ok(sent)
            };
            let (done, _) = tokio::join!(talk, connection);
            done
        };
        tokio::time::timeout(SQL_LIMIT, work)
            .await
            .unwrap_or_else(|_| Err(Error::new("the temporary PostgreSQL does not answer")))
    }

    /// Does what blocks to the cluster, beside the daemon's thread; tells when it began.
    pub(crate) async fn act(
        &self,
        work: impl FnOnce(&mut Cluster) -> Result<(), Error> + Send + 'static,
    ) -> Result<Moment, Error> {
        let cluster = Arc::clone(&self.cluster);
        let work = move || {
            let began = Moment::now();
            work(&mut cluster.lock().unwrap_or_else(PoisonError::into_inner)).map(|()| began)
        };
        blocking(work).await
    }
}

/// How long an order to the server may take: creating a database copies files.
const SQL_LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

/// A line, or some, for the person in front of the terminal; one that went away is no failure.
fn say(text: Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(Error::of("the demo failed", e)))
}

/// The usual port, or any, of loopback: a temporary server is not for the network.
fn listen() -> Result<TcpListener, Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|e| Error::of("cannot listen on 127.0.0.1", e))
}

/// The configuration of the demo: quicker than the defaults, so that one sees something happen.
fn config(port: u16, password_file: &Path) -> String {
    format!(
        "service: {SERVICE}\n\
         targets:\n\
         \x20 - name: {NAME}\n\
         \x20   url: postgresql://{NAME}@127.0.0.1:{port}/{NAME}\n\
         \x20   password_file: {}\n\
         \x20   ping: {{interval: 1s, timeout: 1s}}\n\
         \x20   refresh: {{every: 30s}}\n\
         \x20   backoff: {{initial: 50ms, max: 1s}}\n",
        serde_json::Value::from(password_file.display().to_string())
    )
}

/// What there is to see and to try.
fn introduction(server: &DemoServer, web: SocketAddr, with_chaos: bool) -> String {
    let psql = format!(
        "psql \"host={} port={} user={}\"",
        server.sockets.display(),
        server.port,
        postgres::SUPERUSER
    );
    let trial = if with_chaos {
        "The demo now breaks the server in seven ways, repeatedly, and reports how pgtether reacts."
            .to_owned()
    } else {
        format!(
            "Try this and watch the page, or start the demo with --chaos, which does it for you:\n  \
             {psql} -c \"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{SERVICE}'\""
        )
    };
    format!(
        "
pgtether monitors it as target \"{NAME}\", on port {}.

  page     http://{web}/
  metrics  http://{web}/metrics
  health   http://{web}/health
  config   {}

{trial}

Ctrl-C ends it and leaves nothing behind.
",
        server.port,
        server.config.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_survives_a_folder_with_odd_signs() {
        let text = config(1, Path::new("/tmp/a \"b\": #c/pw"));
        let value: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
        let target = &value["targets"][0];
        assert_eq!(target["password_file"].as_str(), Some("/tmp/a \"b\": #c/pw"));
        assert_eq!(target["url"].as_str(), Some("postgresql://demo@127.0.0.1:1/demo"));
        assert_eq!(target["ping"]["interval"].as_str(), Some("1s"));
    }

    #[test]
    fn a_taken_port_does_not_stop_the_demo() {
        let first = listen().unwrap();
        let second = listen().unwrap();
        assert_ne!(first.local_addr().unwrap(), second.local_addr().unwrap());
        assert!(second.local_addr().unwrap().ip().is_loopback());
    }
}
