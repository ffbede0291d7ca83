//! A command of the file: a list, the program first. It is run without a shell.

use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use serde_json::json;

use super::read::{At, Items, Read, Reader};
use super::scalar::Scalar;
use super::tree::NodeKind;
use super::values::{Value, value};
use crate::target::{Argument, PasswordCommand, is_no_path};

const EXPECTED: &str =
    "a list, the program first, for there is no shell: [aws, rds, generate-db-auth-token, …]";
/// More is no command that somebody wrote.
const MAX_WORDS: usize = 256;

/// A command and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandWords(pub PasswordCommand);

impl Read for CommandWords {
    fn read(at: &At<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let words = match &at.node.kind {
            NodeKind::List(nodes) if (1..=MAX_WORDS).contains(&nodes.len()) => {
                Items::<Word>::read(at, reader)?
            }
            NodeKind::List(nodes) => {
                reader.wrong(at, format!("has {} entries: expected {EXPECTED}", nodes.len()));
                return None;
            }
            _ => {
                // Not even quoted: whoever writes a command line here may have put a secret into it.
                reader.wrong(at, format!("expected {EXPECTED}"));
                return None;
            }
        };
        let words: Option<Vec<Argument>> = words.0.into_iter().map(|word| Some(word?.0)).collect();
        let mut words = words?.into_iter();
        let program = program(words.next()?.expose(), reader.folder());
        Some(CommandWords(PasswordCommand { program, arguments: words.collect() }))
    }
}

/// A relative path starts at the folder of the configuration, as all do; a name alone is for `PATH`.
fn program(text: &str, folder: &Path) -> PathBuf {
    if text.contains('/') { folder.join(text) } else { PathBuf::from(text) }
}

impl schemars::JsonSchema for CommandWords {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "command".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_WORDS,
            "items": { "type": ["string", "number", "boolean"] },
        })
    }
}

impl Serialize for CommandWords {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let program = self.0.program.display().to_string();
        let arguments = self.0.arguments.iter().map(|argument| argument.shown().to_owned());
        serializer.collect_seq(std::iter::once(program).chain(arguments))
    }
}

/// One word of a command.
struct Word(Argument);

value!(Word);

impl Value for Word {
    const EXPECTED: &'static str = "a word of the command";

    fn parse(text: &Scalar) -> Result<Self, String> {
        if text.text.contains('\0') {
            return Err("an argument cannot hold a NUL character".to_owned());
        }
        // What comes from the environment, or looks like a connection string, may hold a secret.
        let may_be_shown = text.names.is_empty() && !is_no_path(&text.text);
        Ok(Word(Argument::new(text.text.clone(), may_be_shown)))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": ["string", "number", "boolean"] })
    }
}
