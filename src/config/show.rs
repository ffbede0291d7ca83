//! The effective configuration as text: every default filled in, every secret left out. It can be used again where the
//! secrets come from elsewhere.

use std::path::PathBuf;

use serde_yaml::Value;

use super::command::CommandWords;
use super::file::{Keys, RootKeys, TargetKeys};
use super::mapping::Sets;
use super::names::{Name, SecretPath, Service, Url};
use super::origin::tell_what_is_left_out;
use super::read::Items;
use super::{Config, Problems};
use crate::target::{Endpoint, PasswordSource, RootCerts, Source, Target, Tuning};

/// YAML, as `config show` prints it.
pub fn show(config: &Config) -> Result<String, Problems> {
    let document = RootKeys {
        service: Some(Service(config.service.clone())),
        fleet: Sets::of(&config.fleet),
        defaults: None,
        targets: Some(Items(config.targets.iter().map(|target| Some(keys(target))).collect())),
    };
    let document = serde_yaml::to_value(&document).map(literal);
    let text = document.and_then(|document| serde_yaml::to_string(&document));
    let text = text.map_err(|error| Problems::whole("config show", error.to_string()))?;
    Ok(tell_what_is_left_out(&text, config))
}

/// What is read again must not take a `${` for a variable.
fn literal(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace("${", "$${")),
        Value::Sequence(items) => Value::Sequence(items.into_iter().map(literal).collect()),
        Value::Mapping(pairs) => {
            Value::Mapping(pairs.into_iter().map(|(key, value)| (key, literal(value))).collect())
        }
        other => other,
    }
}

/// The files of a connection string are those of the folder where pgtether runs, as libpq has it.
fn from_anywhere(endpoint: &Endpoint) -> Endpoint {
    let mut endpoint = endpoint.clone();
    let absolute = |path: &mut PathBuf| *path = std::path::absolute(&*path).unwrap_or_else(|_| path.clone());
    if let RootCerts::File(path) = &mut endpoint.tls.roots {
        absolute(path);
    }
    if let Some(identity) = &mut endpoint.tls.identity {
        absolute(&mut identity.cert);
        absolute(&mut identity.key);
    }
    endpoint
}

fn keys(target: &Target) -> TargetKeys {
    let (url, url_file, sockets) = match &target.source {
        Source::Inline(endpoint) => {
            let url = Url::Described(from_anywhere(endpoint).conninfo());
            (Some(url), None, target.socket_tuning(endpoint))
        }
        Source::File(path) => (None, Some(SecretPath(path.clone())), target.sockets_without_url()),
    };
    let tuning = Tuning {
        connect_timeout: sockets.connect_timeout,
        keepalives: sockets.keepalives,
        tcp_user_timeout: sockets.tcp_user_timeout,
        ..(*target.tuning).clone()
    };
    let (password_file, password_command) = match &target.password {
        PasswordSource::Url => (None, None),
        PasswordSource::File(path) => (Some(SecretPath(path.clone())), None),
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
