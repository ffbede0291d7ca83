//! Where each value of the effective configuration comes from, written behind the lines of `config show`.

use std::fmt;
use std::rc::Rc;

use super::tree::{self, Node, NodeKind};
use super::{Config, DATABASE_URL};
use crate::target::{Source, UrlTimings};

/// A step into the document: a key, or the number of a list's item.
#[derive(Debug, Clone, PartialEq, Eq)]
enum PathStep {
    Key(String),
    Item(usize),
}

/// What the values came from: a file, or `DATABASE_URL` and the flags of the pool.
pub struct Origins(Option<FileTree>);

/// A file by its name. Its values may be secrets, so there is no Debug.
struct FileTree {
    name: String,
    root: Option<Rc<Node>>,
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Origins").field(&self.0.as_ref().map(|file| &file.name)).finish()
    }
}

impl Origins {
    /// A file's text, which was read without a mistake.
    pub fn of_file(name: &str, text: &str) -> Origins {
        Origins(Some(FileTree { name: name.to_owned(), root: tree::parse(text).0 }))
    }

    pub const fn of_database_url() -> Origins {
        Origins(None)
    }

    /// The document of [`super::show()`], each value with its origin behind it.
    pub fn annotate(&self, document: &str, config: &Config) -> String {
        annotate(document, |path| Some(self.of(path, config)))
    }

    fn of(&self, path: &[PathStep], config: &Config) -> String {
        self.written(path)
            .or_else(|| by_url(path, config).then(|| format!("connection string, {}", self.url(path))))
            .or_else(|| self.by_defaults(path))
            .unwrap_or_else(|| "default".to_owned())
    }

    /// The connection string of the target that the path leads into.
    fn url(&self, path: &[PathStep]) -> String {
        let url: Vec<_> = path[..2].iter().cloned().chain([PathStep::Key("url".to_owned())]).collect();
        self.written(&url).unwrap_or_default()
    }

    fn written(&self, path: &[PathStep]) -> Option<String> {
        if let Some(file) = &self.0 {
            return file.find(path);
        }
        match path {
            [_, _, PathStep::Key(key)] if key == "url" => Some(DATABASE_URL.to_owned()),
            [_, _, PathStep::Key(key)] if key == "password_command" => {
                Some("--target.password-command".to_owned())
            }
            // Without it there is no pool; mode and size may be the flags' or the defaults.
            [_, _, PathStep::Key(pool), PathStep::Key(key)] if pool == "pool" => match key.as_str() {
                "listen" => Some("--pool.listen".to_owned()),
                "mode" | "size" => Some(format!("--pool.{key}, or default")),
                _ => None,
            },
            _ => None,
        }
    }

    /// `defaults` is for everything but what makes a target one.
    fn by_defaults(&self, path: &[PathStep]) -> Option<String> {
        let [PathStep::Key(targets), PathStep::Item(_), rest @ ..] = path else { return None };
        let file = self.0.as_ref().filter(|_| targets == "targets")?;
        let path: Vec<_> =
            [PathStep::Key("defaults".to_owned())].into_iter().chain(rest.iter().cloned()).collect();
        file.find(&path).map(|place| format!("defaults, {place}"))
    }
}

impl FileTree {
    /// File, line, and the variables that the value is made of.
    fn find(&self, path: &[PathStep]) -> Option<String> {
        let (line, variables) = found(self.root.as_deref()?, path)?;
        let from: String = variables.iter().map(|name| format!(", {name}")).collect();
        Some(format!("{}:{line}{from}", self.name))
    }
}

/// A value of the tree; a word in place of a mapping, such as `keepalives: off`, stands for all that would be inside.
fn found(root: &Node, path: &[PathStep]) -> Option<(usize, Vec<String>)> {
    let (mut node, mut at) = (root, root.at);
    for step in path {
        match (&node.kind, step) {
            (NodeKind::Map(pairs), PathStep::Key(key)) => {
                let pair = pairs.iter().find(|pair| pair.key == *key)?;
                (node, at) = (&*pair.value, pair.at);
            }
            (NodeKind::List(items), PathStep::Item(item)) => {
                node = items.get(*item)?;
                at = node.at;
            }
            (NodeKind::Scalar { .. }, _) => break,
            (NodeKind::Map(_) | NodeKind::List(_), _) => return None,
        }
    }
    if node.is_null() {
        return None;
    }
    let variables = match &node.kind {
        NodeKind::Scalar { text, .. } => variables(text),
        NodeKind::Map(_) | NodeKind::List(_) => Vec::new(),
    };
    Some((at.line, variables))
}

/// The variables as they are written, without their defaults.
fn variables(text: &str) -> Vec<String> {
    let pieces = text.split("${").collect::<Vec<_>>();
    let follows = |i: &usize| !pieces[i - 1].ends_with('$');
    let names =
        (1..pieces.len()).filter(follows).filter_map(|i| pieces[i].split_once('}').map(|(name, _)| name));
    names.map(|name| format!("${{{}}}", name.split(":-").next().unwrap_or(name))).collect()
}

/// Whether the target's connection string says it: its own keys beat it, and it beats `defaults`.
fn by_url(path: &[PathStep], config: &Config) -> bool {
    let [PathStep::Key(targets), PathStep::Item(item), rest @ ..] = path else { return false };
    let target = config.targets.get(*item).filter(|_| targets == "targets");
    let Some(Source::Inline(endpoint)) = target.map(|target| &target.source) else { return false };
    let UrlTimings {
        connect_timeout,
        keepalives,
        keepalives_idle,
        keepalives_interval,
        keepalives_count,
        tcp_user_timeout,
    } = &endpoint.timings;
    let keys: Vec<_> =
        rest.iter().map(|step| if let PathStep::Key(key) = step { key.as_str() } else { "" }).collect();
    match keys[..] {
        ["connect_timeout"] => connect_timeout.is_some(),
        ["tcp_user_timeout"] => tcp_user_timeout.is_some(),
        ["keepalives"] => keepalives.is_some(),
        ["keepalives", "idle"] => keepalives_idle.is_some(),
        ["keepalives", "interval"] => keepalives_interval.is_some(),
        ["keepalives", "count"] => keepalives_count.is_some(),
        _ => false,
    }
}

/// Whether a line begins with one of our keys.
fn is_key(text: &str) -> bool {
    text.split_once(':').is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
}

/// Says what a connection string was shown without.
pub fn tell_what_is_left_out(document: &str, config: &Config) -> String {
    annotate(document, |path| {
        let [PathStep::Key(targets), PathStep::Item(item), PathStep::Key(url)] = path else { return None };
        let target = config.targets.get(*item).filter(|_| targets == "targets" && url == "url")?;
        let Source::Inline(endpoint) = &target.source else { return None };
        match (&endpoint.password, &endpoint.options) {
            (Some(_), Some(_)) => Some("without its password and options".to_owned()),
            (Some(_), None) => Some("without its password".to_owned()),
            // Free text for the server, which may hold a secret.
            (None, Some(_)) => Some("without its options".to_owned()),
            (None, None) => None,
        }
    })
}

/// Writes comments behind the values of a block-style document.
fn annotate(document: &str, note: impl Fn(&[PathStep]) -> Option<String>) -> String {
    let mut out = String::with_capacity(document.len() * 2);
    // Each step with the column where it stands.
    let mut path: Vec<(usize, PathStep)> = Vec::new();
    // The column of a key whose text of several lines goes on.
    let mut text_of: Option<usize> = None;
    let mut lines = document.lines().peekable();
    while let Some(line) = lines.next() {
        out.push_str(line);
        let mut rest = line.trim_start();
        let mut column = line.len() - rest.len();
        if text_of.is_some_and(|key| column > key || rest.is_empty()) {
            out.push('\n');
            continue;
        }
        text_of = None;
        while let Some(item) = rest.strip_prefix("- ") {
            // A list stands below its key, at the same column.
            path.retain(|(at, _)| *at <= column);
            match path.last_mut() {
                Some((at, PathStep::Item(number))) if *at == column => *number += 1,
                _ => path.push((column, PathStep::Item(0))),
            }
            if item.starts_with(['|', '>']) {
                text_of = Some(column);
            }
            (rest, column) = (item, column + 2);
        }
        let key = rest.split_once(':').filter(|_| is_key(rest));
        if let Some((key, value)) = key {
            path.retain(|(at, _)| *at < column);
            path.push((column, PathStep::Key(key.to_owned())));
            // The words of a list come from one place.
            let words = lines.peek().is_some_and(|next| {
                let item = next.trim_start().strip_prefix("- ");
                item.is_some_and(|item| !is_key(item))
            });
            match value.trim_start() {
                "" if !words => {}
                text if text.starts_with(['|', '>']) => text_of = Some(column),
                _ => {
                    let steps: Vec<_> = path.iter().map(|(_, step)| step.clone()).collect();
                    if let Some(note) = note(&steps) {
                        out.push_str("  # ");
                        out.push_str(&note);
                    }
                }
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{assemble, show};

    #[test]
    fn each_value_names_the_place_that_it_comes_from() {
        let text = "\
service: shop
defaults:
  ping: {interval: 20s}
  keepalives: {count: 7}
targets:
  - name: one
    url: ${DATABASE_URL}
    ping:
      timeout: 3s
    pool: {listen: 127.0.0.1:6432, auth: trust}
  - name: two
    url_file: ./url
    keepalives: off
    password_command: [\"sh\", \"-c\", \"echo\\nservice: x\"]
    tcp_user_timeout: ${TIMEOUT:-9s}
fleet: {logins_in_flight: 3}
";
        let env = |name: &str| {
            (name == DATABASE_URL)
                .then(|| "postgresql://a:hunter2@h/d?connect_timeout=5&keepalives_idle=9".into())
        };
        let config = assemble::from_text("c.yaml", text, Path::new(""), &env).unwrap().config;
        let shown = show(&config).unwrap();
        let annotated = Origins::of_file("c.yaml", text).annotate(&shown, &config);
        let (first, second) = annotated.split_once("- name: two").unwrap();
        for (part, line) in [
            (first, "service: shop  # c.yaml:1\n"),
            (first, "  logins_in_flight: 3  # c.yaml:16\n"),
            (first, "  connects_per_second: 50  # default\n"),
            (first, "- name: one  # c.yaml:6\n"),
            (first, "sslmode=require  # without its password  # c.yaml:7, ${DATABASE_URL}\n"),
            (first, "  connect_timeout: 5s  # connection string, c.yaml:7, ${DATABASE_URL}\n"),
            (first, "    idle: 9s  # connection string, c.yaml:7, ${DATABASE_URL}\n"),
            (first, "    interval: 5s  # default\n"),
            (first, "    count: 7  # defaults, c.yaml:4\n"),
            (first, "    interval: 20s  # defaults, c.yaml:3\n"),
            (first, "    timeout: 3s  # c.yaml:9\n"),
            (first, "    listen: 127.0.0.1:6432  # c.yaml:10\n"),
            (second, "  url_file: ./url  # c.yaml:12\n"),
            (second, "  keepalives: off  # c.yaml:13\n"),
            (second, "  password_command:  # c.yaml:14\n"),
            (second, "  tcp_user_timeout: 9s  # c.yaml:15, ${TIMEOUT}\n"),
            (second, "    interval: 20s  # defaults, c.yaml:3\n"),
            (second, "    timeout: 5s  # default\n"),
        ] {
            assert!(part.contains(line), "{line} is not in\n{part}");
        }
        assert!(!annotated.contains("hunter2"));
        // Comments change nothing of what is read, not even a text of several lines.
        let read = |text: &str| assemble::from_text("again", text, Path::new(""), &|_| None).unwrap().config;
        assert_eq!(read(&annotated), read(&shown));
    }

    #[test]
    fn without_a_file_it_is_the_variable_or_the_flag() {
        let config =
            Config::from_url(DATABASE_URL, "default", "postgresql://a@h/d?connect_timeout=5").unwrap();
        let annotated = Origins::of_database_url().annotate(&show(&config).unwrap(), &config);
        for line in [
            "sslmode=require  # DATABASE_URL\n",
            "  connect_timeout: 5s  # connection string, DATABASE_URL\n",
            "  idle_policy: keep_awake  # default\n",
        ] {
            assert!(annotated.contains(line), "{line} is not in\n{annotated}");
        }
    }
}
