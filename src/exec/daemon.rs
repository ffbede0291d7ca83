//! The pgtether beside the command: a run of one target, without a file and without signals of its own.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use prometheus::IntCounter;
use tracing::error;

use super::{Announcement, Reached};
use crate::cli::WebArgs;
use crate::config::watch::Watch;
use crate::config::{Config, PoolFlags};
use crate::http::web::RulesFile;
use crate::http::{Scope, WebListener};
use crate::run::{self, Reread, RunSetup};
use crate::signals::Signals;
use crate::status::board::Board;
use crate::target::conninfo;
use crate::target::pool::Listen;

/// What its thread does.
pub fn serving(
    url: &str,
    config: Config,
    flags: PoolFlags,
    web_args: &WebArgs,
    rules_file: Option<RulesFile>,
    log_lines_dropped: IntCounter,
) -> impl FnOnce(Signals, Announcement) -> Result<(), String> + Send + 'static {
    let web = run::web(web_args, rules_file.as_ref());
    let (url, web_args) = (url.to_owned(), web_args.clone());
    move |signals, announcement| {
        let serve = async {
            let listeners = bind(&web_args);
            let scheme = if web.rules.get().tls().is_some() { "https" } else { "http" };
            let web_url = page(&listeners).map(|address| run::url_of(scheme, address));
            let listening = Arc::new(OnceLock::new());
            let reread = reread(url, flags, Arc::clone(&listening));
            let on_start = move |pools: &[Listen]| {
                if let Some(pool) = pools.first() {
                    let _ = listening.set(pool.clone());
                    let web = web_url.map(|url| url.trim_end_matches('/').to_owned());
                    announcement.make(Reached { pool: pool.clone(), web });
                }
            };
            let setup = RunSetup {
                config,
                reread,
                watch: Watch::new(Vec::new()),
                web,
                rules_file,
                listeners,
                signals,
                board: Board::default(),
                history_file: None,
                on_start: Box::new(on_start),
                log_lines_dropped,
            };
            run::run(setup).await.map(|_| ()).map_err(|error| error.to_string())
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("the runtime cannot start: {error}"))?;
        let served = runtime.block_on(serve);
        // A resolver that hangs cannot be cancelled, and must not keep us.
        runtime.shutdown_background();
        served
    }
}

/// The web ports that can be had. The command does not need them: one that is taken keeps nothing from running.
fn bind(args: &WebArgs) -> Vec<WebListener> {
    let all = args.port.listen_addresses.iter().map(|address| (address, Scope::All));
    let health = args.port.health_listen_address.iter().map(|address| (address, Scope::Health));
    let mut listeners = Vec::new();
    for (address, scope) in all.chain(health) {
        match run::bind(address) {
            Ok(socket) => listeners.push(WebListener { socket, scope }),
            Err(error) => error!(%address, %error, "cannot listen: the command runs without this web port"),
        }
    }
    listeners
}

/// Where the page is.
fn page(listeners: &[WebListener]) -> Option<SocketAddr> {
    listeners.iter().find(|listener| listener.scope == Scope::All)?.socket.local_addr().ok()
}

/// The same as at the start, where the pool now listens.
fn reread(url: String, flags: PoolFlags, listening: Arc<OnceLock<Listen>>) -> Reread {
    Arc::new(move || {
        let listen = listening.get().cloned().or_else(|| flags.listen.clone());
        Config::from_database_url(&conninfo::without_driver(&url), &PoolFlags { listen, ..flags.clone() })
    })
}
