//! A scrape of `/metrics`, read back into samples.

use std::collections::BTreeMap;

/// A scrape, parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics(Vec<Sample>);

#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Metrics {
    pub fn parse(text: &str) -> Metrics {
        let lines = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
        Metrics(lines.map(|line| sample(line).unwrap_or_else(|| panic!("no sample: {line}"))).collect())
    }

    /// The value of the one sample that has these labels and maybe more; `None` where there is none.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found = self.all(name, labels);
        assert!(found.len() <= 1, "{name}{labels:?} is {} samples: {found:?}", found.len());
        found.first().map(|s| s.value)
    }

    /// All samples of that name that have these labels and maybe more.
    pub fn all(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        let fits = |s: &&Sample| {
            s.name == name && labels.iter().all(|(k, v)| s.labels.get(*k).map(String::as_str) == Some(v))
        };
        self.0.iter().filter(fits).collect()
    }

    pub fn samples(&self) -> &[Sample] {
        &self.0
    }
}

/// One line of the text format: `name{label="value",…} value`.
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.insert(label.to_owned(), value);
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    Some(Sample { name: name.to_owned(), labels, value: rest.trim().parse().ok()? })
}

/// A label's value up to its closing quote, unescaped, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[test]
fn a_scrape_is_read_with_its_labels_and_escapes() {
    let text = "# HELP a b\na 1\na_bucket{le=\"+Inf\",t=\"x\\\"y\\\\z\\n}\"} 2.5e3\nb{} NaN\n";
    let metrics = Metrics::parse(text);
    assert_eq!(metrics.get("a", &[]), Some(1.0));
    assert_eq!(metrics.get("a_bucket", &[("t", "x\"y\\z\n}"), ("le", "+Inf")]), Some(2500.0));
    assert_eq!(metrics.get("a_bucket", &[("t", "x")]), None);
    assert!(metrics.get("b", &[]).unwrap().is_nan());
}
