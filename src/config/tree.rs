//! The YAML file as a tree that remembers where everything stands. Knows YAML, and nothing of pgtether's keys.

use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput, Tag};

use super::problems::Mark;

/// Deeper files are nobody's configuration; dropping a tree recurses, so there is a limit.
const MAX_DEPTH: usize = 32;
/// More keys than any mapping of ours has, so that looking for a duplicate stays cheap.
const MAX_KEYS: usize = 200;

/// A value; it may be a secret, so there is no Debug.
pub struct Node {
    pub at: Mark,
    pub kind: NodeKind,
}

pub enum NodeKind {
    Scalar {
        text: String,
        /// Without quotes: only these are numbers, booleans and nulls.
        plain: bool,
    },
    List(Vec<Rc<Node>>),
    Map(Vec<Pair>),
}

/// One `key: value`; no key occurs twice.
pub struct Pair {
    pub key: String,
    pub at: Mark,
    /// Shared where an alias repeats it, so that aliases of aliases cost nothing.
    pub value: Rc<Node>,
}

/// A mistake on the level of YAML.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    pub at: Mark,
    /// The YAML path, as far as it is known.
    pub path: String,
    pub message: String,
}

impl Node {
    /// Nothing, `~` or `null`.
    pub fn is_null(&self) -> bool {
        match &self.kind {
            NodeKind::Scalar { text, plain: true } => {
                matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            NodeKind::Scalar { .. } | NodeKind::List(_) | NodeKind::Map(_) => false,
        }
    }

    /// In a message: `found …`.
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            _ if self.is_null() => "nothing",
            NodeKind::Scalar { .. } => "a single value",
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a mapping",
        }
    }
}

/// Reads the one document of `text`; `None` if there is none. Syntax errors end the reading, others are collected.
pub fn parse(text: &str) -> (Option<Rc<Node>>, Vec<Wrong>) {
    let mut builder = Builder::default();
    for event in Parser::<StrInput<'_>>::new_from_str(text) {
        let step = match event {
            Ok((event, span)) => builder.on(event, mark(&span.start)),
            Err(error) => Err(Wrong {
                at: mark(error.marker()),
                path: String::new(),
                message: format!("not valid YAML: {}", explain(text, &error)),
            }),
        };
        if let Err(wrong) = step {
            builder.wrong.push(wrong);
            return (None, builder.wrong);
        }
    }
    (builder.root, builder.wrong)
}

fn mark(marker: &Marker) -> Mark {
    Mark { line: marker.line().max(1), column: marker.col() + 1 }
}

const QUOTE_IS_OPEN: [&str; 3] = [
    "quoted scalar, found unexpected end of stream",
    "quoted scalar, found unexpected document indicator",
    "invalid indentation in quoted scalar",
];

/// The remedy for what people run into; else the parser's words.
fn explain(text: &str, error: &saphyr_parser::ScanError) -> String {
    let line = text.lines().nth(error.marker().line().saturating_sub(1)).unwrap_or("");
    let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
    let info = error.info();
    let remedy = match () {
        // Those are invisible.
        () if line[..indent].contains('\t') || info.contains("tab") => {
            "a tab in the indentation: indent with spaces"
        }
        () if info.starts_with("mapping values are not allowed") => {
            "a `: ` where no key can be: check the indentation, or put the value in quotes"
        }
        () if info.ends_with("block mapping, did not find expected key") => {
            "neither a key nor a value: check the indentation, and put a value that begins with `[` or `{` in quotes"
        }
        () if info.starts_with("unexpected character") => "a value cannot begin like this: put it in quotes",
        () if QUOTE_IS_OPEN.iter().any(|end| info.ends_with(end)) => "a quote that is not closed",
        () if info.contains("unknown anchor") => {
            "an alias of what is not there: put the value in quotes if none is meant"
        }
        () => info,
    };
    remedy.to_owned()
}

/// A collection that is not closed yet.
struct Open {
    at: Mark,
    anchor: usize,
    kind: NodeKind,
    /// The key that waits for its value.
    key: Option<(String, Mark)>,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
    documents: usize,
    wrong: Vec<Wrong>,
}

impl Builder {
    fn on(&mut self, event: Event<'_>, at: Mark) -> Result<(), Wrong> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return fail(at, "a second YAML document begins here: the file must hold one");
                }
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => self.add(node, at, 0)?,
                None => return fail(at, "an alias inside of what it stands for"),
            },
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !self.is_text(tag.as_deref(), at);
                let text = text.into_owned();
                let kind = NodeKind::Scalar { text, plain };
                self.add(Rc::new(Node { at, kind }), at, anchor)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.is_text(tag.as_deref(), at);
                self.begin(at, anchor, NodeKind::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                self.is_text(tag.as_deref(), at);
                self.begin(at, anchor, NodeKind::Map(Vec::new()))?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { at, anchor, kind, .. }) = self.open.pop() {
                    self.add(Rc::new(Node { at, kind }), at, anchor)?;
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, at: Mark, anchor: usize, kind: NodeKind) -> Result<(), Wrong> {
        if self.open.len() >= MAX_DEPTH {
            return fail(at, "nested too deeply");
        }
        let key = None;
        self.open.push(Open { at, anchor, kind, key });
        Ok(())
    }

    /// Puts a finished node where it belongs. `at` is where it is used, which for an alias is not where it stands.
    fn add(&mut self, node: Rc<Node>, at: Mark, anchor: usize) -> Result<(), Wrong> {
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut parent.kind, parent.key.take()) {
            (NodeKind::List(items), _) => items.push(node),
            (NodeKind::Map(_), None) => match &node.kind {
                NodeKind::Scalar { text, .. } => parent.key = Some((text.clone(), at)),
                NodeKind::List(_) | NodeKind::Map(_) => return fail(at, "a key must be a single word"),
            },
            (NodeKind::Map(entries), Some((key, at))) => {
                if let Some(first) = entries.iter().find(|e| e.key == key) {
                    let message =
                        format!("this key is here twice: it already stands on line {}", first.at.line);
                    let path = join_foreign(&self.path(), &key);
                    self.wrong.push(Wrong { at, path, message });
                } else if entries.len() >= MAX_KEYS {
                    return fail(at, "too many keys in one mapping");
                } else {
                    let value = placed(node, at);
                    entries.push(Pair { key, at, value });
                }
            }
            (NodeKind::Scalar { .. }, _) => {}
        }
        Ok(())
    }

    /// The path to the collection that is being read.
    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.open {
            match (&open.kind, &open.key) {
                (NodeKind::List(items), _) => path += &format!("[{}]", items.len()),
                (_, Some((key, _))) => path = join_foreign(&path, key),
                (_, None) => {}
            }
        }
        path
    }

    /// Whether a tag makes a value a text; other tags than YAML's own are mistakes.
    fn is_text(&mut self, tag: Option<&Tag>, at: Mark) -> bool {
        match tag {
            None => false,
            Some(tag) if tag.is_yaml_core_schema() => tag.suffix == "str",
            Some(_) => {
                let message = "YAML tags such as !name mean nothing here: remove it".to_owned();
                let path = self.path();
                self.wrong.push(Wrong { at, path, message });
                false
            }
        }
    }
}

/// The path of `key` in the mapping at `path`.
pub fn join(path: &str, key: &str) -> String {
    match (path.is_empty(), key.is_empty()) {
        (true, _) => key.to_owned(),
        (_, true) => path.to_owned(),
        (false, false) => format!("{path}.{key}"),
    }
}

/// As [`join`], for a key that is not one of ours: unless it is a plain word it may be a misplaced secret, and is left out.
pub fn join_foreign(path: &str, key: &str) -> String {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if key.len() <= 40 && key.bytes().all(word) { join(path, key) } else { path.to_owned() }
}

/// A value that is missing stands where the parser noticed it, often on the next line: blame its key.
fn placed(node: Rc<Node>, key: Mark) -> Rc<Node> {
    match &node.kind {
        NodeKind::Scalar { text, plain: true } if text.is_empty() => {
            Rc::new(Node { at: key, kind: NodeKind::Scalar { text: String::new(), plain: true } })
        }
        NodeKind::Scalar { .. } | NodeKind::List(_) | NodeKind::Map(_) => node,
    }
}

fn fail(at: Mark, message: &str) -> Result<(), Wrong> {
    Err(Wrong { at, path: String::new(), message: message.to_owned() })
}
