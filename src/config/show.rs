//! The effective configuration as text: every default filled in, every secret left out.

use super::command::CommandWords;
use super::file::{Keys, RootKeys, TargetKeys};
use super::mapping::Sets;
use super::names::{File, Name, Service, Url};
use super::read::Items;
use super::{Config, Problems};
use crate::target::{
    ChannelBinding, Endpoint, LoadBalance, PasswordSource, REDACTED, RootCerts, SessionAttrs, SslNegotiation,
};
use crate::target::{Source, Target, Tuning};

/// YAML, as `config show` prints it.
pub fn show(config: &Config) -> Result<String, Problems> {
    let document = RootKeys {
        service: Some(Service(config.service.clone())),
        fleet: Sets::of(&config.fleet),
        defaults: None,
        targets: Some(Items(config.targets.iter().map(|target| Some(keys(target))).collect())),
    };
    serde_yaml::to_string(&document).map_err(|error| Problems::whole("config show", error.to_string()))
}

fn keys(target: &Target) -> TargetKeys {
    let (url, url_file, sockets) = match &target.source {
        Source::Inline(endpoint) => {
            let url = Url::Described(describe(endpoint));
            (Some(url), None, target.socket_tuning(endpoint))
        }
        Source::File(path) => (None, Some(File(path.clone())), target.sockets_without_url()),
    };
    let tuning = Tuning {
        connect_timeout: sockets.connect_timeout,
        keepalives: sockets.keepalives,
        tcp_user_timeout: sockets.tcp_user_timeout,
        ..(*target.tuning).clone()
    };
    let (password_file, password_command) = match &target.password {
        PasswordSource::Url => (None, None),
        PasswordSource::File(path) => (Some(File(path.clone())), None),
        PasswordSource::Command(command) => (None, Some(CommandWords(command.as_ref().clone()))),
    };
    TargetKeys {
        name: Some(Name(target.name.clone())),
        url,
        url_file,
        pool: target.pool.as_deref().and_then(Sets::of),
        keys: Keys { password_file, password_command, tuning: Sets::of(&tuning).unwrap_or_default() },
    }
}

/// Where it leads to, and what the connection string asks for besides; parameters at their defaults are left out.
fn describe(endpoint: &Endpoint) -> String {
    let tls = &endpoint.tls;
    let file = |name: &str, path: &std::path::Path| Some(format!("{name}={}", path.display()));
    let mut words = vec![Some(endpoint.describe())];
    words.push(match &tls.roots {
        RootCerts::System => None,
        RootCerts::File(path) => file("sslrootcert", path),
    });
    if let Some(identity) = &tls.identity {
        words.extend([file("sslcert", &identity.cert), file("sslkey", &identity.key)]);
    }
    words.push((tls.negotiation == SslNegotiation::Direct).then(|| "sslnegotiation=direct".to_owned()));
    words.push(match endpoint.channel_binding {
        ChannelBinding::Prefer => None,
        ChannelBinding::Disable => Some("channel_binding=disable".to_owned()),
        ChannelBinding::Require => Some("channel_binding=require".to_owned()),
    });
    words.push(match endpoint.session {
        SessionAttrs::Any => None,
        SessionAttrs::ReadWrite => Some("target_session_attrs=read-write".to_owned()),
        SessionAttrs::ReadOnly => Some("target_session_attrs=read-only".to_owned()),
        SessionAttrs::Primary => Some("target_session_attrs=primary".to_owned()),
        SessionAttrs::Standby => Some("target_session_attrs=standby".to_owned()),
        SessionAttrs::PreferStandby => Some("target_session_attrs=prefer-standby".to_owned()),
    });
    words.push(match endpoint.load_balance {
        LoadBalance::Disable => None,
        LoadBalance::Random => Some("load_balance_hosts=random".to_owned()),
    });
    words.push(endpoint.application_name.as_ref().map(|name| format!("application_name={name}")));
    // Free text for the server, which may hold a secret: only that there is some.
    words.push(endpoint.options.as_ref().map(|_| "options=<set>".to_owned()));
    words.push(endpoint.password.as_ref().map(|_| format!("password={REDACTED}")));
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
