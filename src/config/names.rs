//! The names, files and connection strings of the file.

use std::path::PathBuf;

use serde::{Serialize, Serializer};
use serde_json::json;

use super::read::Text;
use super::values::{VARIABLE, Value, value};
use crate::target::{REDACTED, Secret, TargetName};

/// A target's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub TargetName);

value!(Name);

impl Value for Name {
    const EXPECTED: &'static str = "a name";

    fn parse(text: &Text) -> Result<Self, String> {
        TargetName::new(text.trimmed()).map(Name).ok_or_else(|| {
            format!(
                "{} is not a name: take 1 to 63 letters, digits, `.`, `_` and `-`, a letter or digit first",
                text.shown()
            )
        })
    }

    fn schema() -> serde_json::Value {
        json!({ "type": ["string", "number"], "pattern": format!("{}|{VARIABLE}", TargetName::PATTERN) })
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

/// The name of the service that depends on the targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Service(pub String);

value!(Service);

impl Service {
    pub const DEFAULT: &'static str = "pgtether";
    /// PostgreSQL cuts `application_name` off there.
    const MAX: usize = 63;
}

impl Value for Service {
    const EXPECTED: &'static str = "a name";

    fn parse(text: &Text) -> Result<Self, String> {
        let name = text.trimmed();
        if name.len() <= Self::MAX && name.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            return Ok(Service(name.to_owned()));
        }
        Err(format!(
            "{} cannot be PostgreSQL's application_name: take at most {} printable ASCII characters",
            text.shown(),
            Self::MAX
        ))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": ["string", "number"], "pattern": "^[ -~]+$" })
    }
}

/// A connection string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Url {
    /// As the file has it.
    Whole(Secret),
    /// What of it may be shown.
    Described(String),
}

value!(Url);

impl Value for Url {
    const EXPECTED: &'static str = "a connection string such as postgresql://user@host/database";

    fn parse(text: &Text) -> Result<Self, String> {
        Ok(Url::Whole(Secret::new(text.trimmed())))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

impl Serialize for Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Url::Whole(_) => REDACTED,
            Url::Described(text) => text,
        })
    }
}

/// The path of a file; relative to the folder of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct File(pub PathBuf);

value!(File);

impl Value for File {
    const EXPECTED: &'static str = "the path of a file";

    fn parse(text: &Text) -> Result<Self, String> {
        let path = text.trimmed();
        if path.contains('\0') {
            return Err("a path cannot hold a NUL character".to_owned());
        }
        Ok(File(PathBuf::from(path)))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "minLength": 1 })
    }
}
