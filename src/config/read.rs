//! From the tree to typed values, collecting every mistake on the way.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::expand::{self, Env, Expanded};
use super::problems::{Mark, Problem};
use super::scalar::Scalar;
use super::suggest::{self, Known};
use super::tree::{self, Node, NodeKind};

/// A value that can be read from a node.
pub trait Read: Sized {
    /// Whether `key:` with nothing behind it is as good as no key.
    const NULL_IS_ABSENT: bool = false;

    /// The value, or `None` after telling `reader` why not.
    fn read(at: &At<'_>, reader: &mut Reader<'_>) -> Option<Self>;

    /// The keys inside, in the order of their declaration.
    fn keys() -> Vec<Known> {
        Vec::new()
    }
}

/// A mapping with known keys; [`keys!`] implements it.
pub trait Mapping: Sized {
    fn known() -> Vec<Known>;
    fn take(fields: &Fields<'_>, reader: &mut Reader<'_>) -> Self;
}

impl<T: Mapping> Read for T {
    const NULL_IS_ABSENT: bool = true;

    fn read(at: &At<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let fields = Fields::of(at, &T::known(), reader)?;
        Some(T::take(&fields, reader))
    }

    fn keys() -> Vec<Known> {
        T::known()
    }
}

/// The entries of a list. `None` is one that could not be read: it keeps its place, so that the others keep their paths.
#[derive(Debug, Clone, PartialEq, serde::Serialize, schemars::JsonSchema)]
#[schemars(inline)]
pub struct Items<T>(#[schemars(with = "Vec<T>")] pub Vec<Option<T>>);

impl<T: Read> Read for Items<T> {
    const NULL_IS_ABSENT: bool = true;

    fn read(at: &At<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let NodeKind::List(nodes) = &at.node.kind else {
            reader.expected(at, "a list (lines that begin with `- `)");
            return None;
        };
        let mut items = Vec::with_capacity(nodes.len());
        for (i, node) in nodes.iter().enumerate() {
            let path = format!("{}[{i}]", at.path);
            reader.places.marks.insert(path.clone(), node.at);
            items.push(T::read(&At { path, node }, reader));
        }
        Some(Items(items))
    }

    fn keys() -> Vec<Known> {
        T::keys()
    }
}

/// A node and the path that leads to it.
pub struct At<'a> {
    pub path: String,
    pub node: &'a Node,
}

impl<'a> At<'a> {
    pub fn root(node: &'a Node) -> Self {
        At { path: String::new(), node }
    }
}

/// Where each path stands that the file names.
#[derive(Debug, Clone)]
pub struct Places {
    origin: String,
    marks: HashMap<String, Mark>,
}

impl Places {
    /// A problem at a path, wherever that is: the nearest part of it that the file names.
    pub fn at_path(&self, path: &str, message: impl Into<String>) -> Problem {
        let mut known = path;
        let at = loop {
            if let Some(mark) = self.marks.get(known) {
                break Some(*mark);
            }
            match known.rfind(['.', '[']) {
                Some(end) => known = &known[..end],
                None => break None,
            }
        };
        Problem { origin: self.origin.clone(), at, path: path.to_owned(), message: message.into() }
    }

    /// Whether the file names this path, with a good value or a bad one.
    pub fn names(&self, path: &str) -> bool {
        self.marks.contains_key(path)
    }
}

/// What is read with, and what was found wrong.
pub struct Reader<'a> {
    env: Env<'a>,
    folder: PathBuf,
    pub places: Places,
    pub problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub fn new(origin: &str, env: Env<'a>) -> Self {
        let places = Places { origin: origin.to_owned(), marks: HashMap::new() };
        Reader { env, folder: PathBuf::new(), places, problems: Vec::new() }
    }

    /// With the folder that relative paths of the file start at.
    pub fn in_folder(self, folder: &Path) -> Self {
        Reader { folder: folder.to_owned(), ..self }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn wrong(&mut self, at: &At<'_>, message: impl Into<String>) {
        self.push(at.node.at, at.path.clone(), message.into());
    }

    /// A problem on the level of YAML.
    pub fn wrong_yaml(&mut self, wrong: tree::Wrong) {
        self.push(wrong.at, wrong.path, wrong.message);
    }

    fn push(&mut self, at: Mark, path: String, message: String) {
        let origin = self.places.origin.clone();
        self.problems.push(Problem { origin, at: Some(at), path, message });
    }

    fn expected(&mut self, at: &At<'_>, expected: &str) {
        self.wrong(at, format!("expected {expected}, found {}", at.node.describe()));
    }

    /// A single value that is not empty, or a problem.
    pub fn single<T>(
        &mut self,
        at: &At<'_>,
        expected: &str,
        parse: impl FnOnce(&Scalar) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(at, expected)?;
        parse(&text).map_err(|message| self.wrong(at, message)).ok()
    }

    /// The expanded text of a single value that is not empty.
    pub fn text(&mut self, at: &At<'_>, expected: &str) -> Option<Scalar> {
        let NodeKind::Scalar { text, plain } = &at.node.kind else {
            self.expected(at, expected);
            return None;
        };
        if at.node.is_null() {
            self.wrong(at, format!("has no value: expected {expected}"));
            return None;
        }
        match expand::expand(text, self.env) {
            Ok(Expanded { text, names }) if text.trim().is_empty() => {
                let because = match names.as_slice() {
                    [] => String::new(),
                    names => format!(", for {} is set to nothing", names.join(", ")),
                };
                self.wrong(at, format!("is empty{because}: expected {expected}"));
                None
            }
            Ok(Expanded { text, names }) => Some(Scalar { plain: *plain || !names.is_empty(), text, names }),
            Err(messages) => {
                for message in messages {
                    self.wrong(at, message);
                }
                None
            }
        }
    }
}

/// The entries of one mapping, all of them known.
pub struct Fields<'a> {
    at: &'a At<'a>,
}

impl<'a> Fields<'a> {
    fn of(at: &'a At<'a>, known: &[Known], reader: &mut Reader<'_>) -> Option<Self> {
        let NodeKind::Map(entries) = &at.node.kind else {
            reader.expected(at, "a mapping (lines of `key: value`)");
            return None;
        };
        for entry in entries {
            let path = tree::join_foreign(&at.path, &entry.key);
            if known.iter().any(|key| key.name == entry.key) {
                // A value on its own line would be found less easily than its key.
                let single = matches!(entry.value.kind, NodeKind::Scalar { .. });
                let mark = if single { entry.value.at } else { entry.at };
                reader.places.marks.insert(path, mark);
            } else {
                reader.push(entry.at, path, suggest::unknown(&entry.key, known));
            }
        }
        Some(Fields { at })
    }

    pub fn take<T: Read>(&self, key: &str, reader: &mut Reader<'_>) -> Option<T> {
        let NodeKind::Map(entries) = &self.at.node.kind else {
            return None;
        };
        let node = &entries.iter().find(|e| e.key == key)?.value;
        if T::NULL_IS_ABSENT && node.is_null() {
            return None;
        }
        let path = tree::join(&self.at.path, key);
        T::read(&At { path, node }, reader)
    }
}

/// Reads a mapping into a struct whose fields are the keys, each an `Option`.
macro_rules! keys {
    ($name:ident { $($field:ident: $type:ty,)* } $($flat:ident: $of:ty)?) => {
        impl $crate::config::read::Mapping for $name {
            fn known() -> Vec<$crate::config::suggest::Known> {
                use $crate::config::read::Read;
                let own = vec![$($crate::config::suggest::Known {
                    name: stringify!($field),
                    inside: <$type>::keys(),
                },)*];
                [own, $(<$of>::known())?].concat()
            }

            fn take(
                fields: &$crate::config::read::Fields<'_>,
                reader: &mut $crate::config::read::Reader<'_>,
            ) -> Self {
                $name {
                    $($field: fields.take(stringify!($field), reader),)*
                    $($flat: <$of>::take(fields, reader),)?
                }
            }
        }
    };
}
pub(crate) use keys;
