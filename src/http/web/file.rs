//! The strict mirror of the web config file: the keys of Prometheus' exporter-toolkit, and their single values.

use std::path::PathBuf;
use std::time::Duration;

use super::users;
use super::words::{Cipher, ClientAuth, Curve, Version};
use crate::config::duration;
use crate::config::read::{At, Fields, Items, Mapping, Read, Reader, keys};
use crate::config::suggest::Known;
use crate::config::tree::{NodeKind, join_foreign};
use crate::config::values::{Flag, Whole};
use crate::target::Secret;

macro_rules! mapping {
    ($(#[$meta:meta])* pub struct $name:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default, PartialEq)]
        pub struct $name { $(pub $field: Option<$type>,)* }

        keys!($name { $($field: $type,)* });
    };
}

mapping! {
    /// The whole file.
    pub struct WebDocument {
        tls_server_config: TlsKeys,
        http_server_config: HttpKeys,
        basic_auth_users: HashedUsers,
        rate_limit: RateKeys,
    }
}

mapping! {
    /// TLS of the web port. What may be a file of its own may stand here in PEM, too.
    pub struct TlsKeys {
        cert: Pem,
        cert_file: Path,
        key: Pem,
        key_file: Path,
        client_ca: Pem,
        client_ca_file: Path,
        client_auth_type: ClientAuth,
        client_allowed_sans: Items<TextLine>,
        min_version: Version,
        max_version: Version,
        cipher_suites: Items<Cipher>,
        prefer_server_cipher_suites: Flag,
        curve_preferences: Items<Curve>,
    }
}

mapping! {
    pub struct HttpKeys {
        http2: Flag,
        headers: Headers,
    }
}

mapping! {
    /// A token bucket.
    pub struct RateKeys {
        interval: Interval,
        burst: Whole<1, 1_000_000>,
    }
}

/// PEM in the file itself; it may be a key.
#[derive(Debug, PartialEq)]
pub struct Pem(pub Secret);

impl Read for Pem {
    fn read(at: &At<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        const EXPECTED: &str = "PEM (lines from -----BEGIN to -----END)";
        reader.single(at, EXPECTED, |text| match text.trimmed() {
            pem if pem.starts_with("-----BEGIN ") => Ok(Pem(Secret::new(pem))),
            _ => Err(format!("is not {EXPECTED}: the path of a file goes into {}_file", at.path)),
        })
    }
}

/// The path of a file; relative to the folder of the web config file.
#[derive(Debug, PartialEq)]
pub struct Path(pub PathBuf);

impl Read for Path {
    fn read(at: &At<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.single(at, "the path of a file", |text| match text.trimmed() {
            path if path.contains('\0') => Err("a path cannot hold a NUL character".to_owned()),
            path => Ok(Path(PathBuf::from(path))),
        })
    }
}

/// A short text.
#[derive(Debug, PartialEq)]
pub struct TextLine(pub String);

impl Read for TextLine {
    fn read(at: &At<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.single(at, "a text", |text| Ok(TextLine(text.trimmed().to_owned())))
    }
}

/// A duration as Go writes it, of which zero stands for no limit.
#[derive(Debug, PartialEq)]
pub struct Interval(pub Duration);

impl Interval {
    const MAX: Duration = Duration::from_secs(3600);
}

impl Read for Interval {
    fn read(at: &At<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.single(at, "a duration such as 1s", |text| match text.trimmed() {
            "0" => Ok(Interval(Duration::ZERO)),
            other => match duration::parse(other) {
                Ok(interval) if interval <= Self::MAX => Ok(Interval(interval)),
                Ok(_) => Err(format!("{} is out of range: take 1ms to 1h, or 0 for no limit", text.shown())),
                Err(bad) => Err(format!("{} {bad}", text.shown())),
            },
        })
    }
}

/// The headers that may be set, under their names.
#[derive(Debug, PartialEq)]
pub struct Headers(pub Vec<(&'static str, String)>);

/// What may be set, and to what; no values stand for any.
pub const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];

impl Mapping for Headers {
    fn known() -> Vec<Known> {
        HEADERS.iter().map(|(name, _)| Known { name, inside: Vec::new() }).collect()
    }

    fn take(fields: &Fields<'_>, reader: &mut Reader<'_>) -> Self {
        let value =
            |(name, _): &(&'static str, _)| Some((*name, fields.take::<MaybeBlank>(name, reader)?.0?));
        Headers(HEADERS.iter().filter_map(value).collect())
    }
}

/// A text that may be blank, which is as good as none.
struct MaybeBlank(Option<String>);

impl Read for MaybeBlank {
    fn read(at: &At<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match &at.node.kind {
            NodeKind::Scalar { text, .. } if text.trim().is_empty() || at.node.is_null() => {
                Some(MaybeBlank(None))
            }
            NodeKind::Scalar { .. } | NodeKind::List(_) | NodeKind::Map(_) => {
                TextLine::read(at, reader).map(|line| MaybeBlank(Some(line.0)))
            }
        }
    }
}

/// Names and the bcrypt hashes of their passwords, as many as could be read.
#[derive(Debug, PartialEq)]
pub struct HashedUsers(pub Vec<(String, Secret)>);

impl Read for HashedUsers {
    const NULL_IS_ABSENT: bool = true;

    fn read(at: &At<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let NodeKind::Map(entries) = &at.node.kind else {
            reader.wrong(at, format!("expected lines of `name: hash`, found {}", at.node.describe()));
            return None;
        };
        let mut users = Vec::with_capacity(entries.len());
        for entry in entries {
            let at = At { path: join_foreign(&at.path, &entry.key), node: &entry.value };
            if entry.key.is_empty() || entry.key.contains(|c: char| c == ':' || c.is_control()) {
                reader.wrong(&at, "a user's name is not empty, and holds no colon and no control character");
                continue;
            }
            let hash = reader.single(&at, "the bcrypt hash of a password", |text| {
                users::check(text.trimmed()).map(|()| Secret::new(text.trimmed()))
            });
            users.extend(hash.map(|hash| (entry.key.clone(), hash)));
        }
        Some(HashedUsers(users))
    }
}
