//! Unknown keys, and what was probably meant.

use super::scalar::quoted;

/// A key, and the keys inside of it if it is a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub name: &'static str,
    pub inside: Vec<Known>,
}

/// What people write about targets who know other tools.
const HABITS: &[(&str, &str)] = &[
    ("dsn", "`url`"),
    ("uri", "`url`"),
    ("database_url", "`url`"),
    ("connection_string", "`url`"),
    ("data_source_name", "`url`"),
    ("password", "`password_file` or `password_command`, or put it into `url`"),
    ("host", "`url`: postgresql://user@host:5432/database"),
    ("database", "`targets`, or `url` inside of a target"),
    ("databases", "`targets`"),
    ("pool", "`pool` inside of a target: each pool listens at an address of its own"),
    ("<<", "`defaults` for what targets share; merge keys are not supported"),
];

/// What to say of a key that is not among `known`.
pub fn unknown(key: &str, known: &[Known]) -> String {
    let of_targets = known.iter().any(|key| ["targets", "url", "role"].contains(&key.name));
    let mut habits = HABITS.iter().filter(|_| of_targets);
    if let Some((habit, instead)) = habits.find(|(habit, _)| habit.eq_ignore_ascii_case(key)) {
        return format!("unknown key \"{habit}\"; use {instead}");
    }
    let shown = quoted(key);
    let nested =
        known.iter().flat_map(|key| key.inside.iter().map(|inner| format!("{}.{}", key.name, inner.name)));
    let all = known.iter().map(|key| key.name.to_owned()).chain(nested);
    let plain = |key: &str| key.to_ascii_lowercase().replace(['.', '-'], "_");
    let nearest = all
        .map(|name| (strsim::damerau_levenshtein(&plain(&name), &plain(key)), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| key.len() <= 40 && *distance <= name.len() / 3);
    match nearest {
        Some((_, name)) => format!("unknown key {shown}; did you mean `{name}`?"),
        None => {
            let names: Vec<_> = known.iter().map(|key| key.name).collect();
            format!("unknown key {shown}; known here: {}", names.join(", "))
        }
    }
}
