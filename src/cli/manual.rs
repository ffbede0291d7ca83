//! What packages hold beside the program, made from the same table of flags: completions for shells, and manual pages.

use std::fmt::Write;
use std::io;

use clap::{Arg, Command, CommandFactory};
use clap_mangen::Man;

use super::exits::exit_codes;
use super::{Cli, CompletionsArgs, EXEC_HELP, ManArgs};
use crate::config::{DATABASE_URL, DEFAULT_FILE};

/// Where the package for Debian and the systemd unit have the configuration.
const UNIT_FILE: &str = "/etc/pgtether/config.yaml";
/// And variables.
const UNIT_ENVIRONMENT: &str = "/etc/pgtether/environment";

/// What other modules know of themselves.
#[derive(Debug, Clone, Copy)]
pub struct ManualFacts<'a> {
    /// What each signal does.
    pub signals: &'a [(&'static str, &'static str)],
    /// What `exec` reads, and what its command finds.
    pub exec_variables: &'a [(&'static str, &'static str)],
}

/// Names, and what each means.
type Entries = Vec<(String, String)>;

/// A shell's completions, for it to source.
pub fn completions(args: &CompletionsArgs) -> Vec<u8> {
    let mut written = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "pgtether", &mut written);
    written
}

/// The page of a command in roff, as `man` reads it. `None` where there is no such command.
pub fn man(args: &ManArgs, facts: &ManualFacts<'_>) -> io::Result<Option<Vec<u8>>> {
    let mut whole = Cli::command();
    whole.build();
    let mut command: &Command = &whole;
    for word in &args.command {
        let Some(found) = command.find_subcommand(word) else { return Ok(None) };
        command = found;
    }
    let word = args.command.first().map_or("", String::as_str);
    let command = match word {
        // The codes have a section of their own.
        "exec" => command.clone().after_help(EXEC_HELP),
        _ => command.clone(),
    };
    let page = Man::new(command.clone()).source(concat!("pgtether ", env!("CARGO_PKG_VERSION")));
    let mut written = Vec::new();
    page.render_title(&mut written)?;
    page.render_name_section(&mut written)?;
    page.render_synopsis_section(&mut written)?;
    page.render_description_section(&mut written)?;
    page.render_options_section(&mut written)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut written)?;
    }
    if command.get_after_help().is_some() || command.get_after_long_help().is_some() {
        page.render_extra_section(&mut written)?;
    }
    let codes = exit_codes(word).into_iter().map(|(code, meaning)| (code.to_string(), meaning.to_owned()));
    let runs = matches!(word, "" | "run" | "demo");
    let signals = if runs { entries(facts.signals) } else { Vec::new() };
    for (title, entries) in [
        ("EXIT STATUS", codes.collect()),
        ("ENVIRONMENT", environment(word, &command, facts)),
        ("FILES", files(&command)),
        ("SIGNALS", signals),
    ] {
        written.extend(section(title, &entries).into_bytes());
    }
    if command.get_version().is_some() {
        page.render_version_section(&mut written)?;
    }
    Ok(Some(written))
}

fn entries(known: &[(&str, &str)]) -> Entries {
    known.iter().map(|(name, meaning)| ((*name).to_owned(), (*meaning).to_owned())).collect()
}

fn takes_file(command: &Command) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == "config.file")
}

/// The variables of the command's flags, and those that it reads without one.
fn environment(word: &str, command: &Command, facts: &ManualFacts<'_>) -> Entries {
    let mut found = match word {
        "exec" => entries(facts.exec_variables),
        _ if takes_file(command) => vec![
            (
                DATABASE_URL.to_owned(),
                format!("The connection string of the database where there is no {DEFAULT_FILE}."),
            ),
            ("Any other".to_owned(), "The configuration can name it: ${NAME}, ${NAME:-default}.".to_owned()),
        ],
        _ => Vec::new(),
    };
    let twin = |arg: &Arg| {
        let flag = arg.get_long()?;
        Some((arg.get_env()?.to_string_lossy().into_owned(), format!("The same as --{flag}.")))
    };
    found.extend(command.get_arguments().filter_map(twin));
    found
}

fn files(command: &Command) -> Entries {
    if !takes_file(command) {
        return Vec::new();
    }
    let owned = |name: &str, meaning: &str| (name.to_owned(), meaning.to_owned());
    vec![
        owned(DEFAULT_FILE, "The configuration, in the working directory, where no other is named."),
        owned(UNIT_FILE, "The configuration of the systemd unit."),
        owned(UNIT_ENVIRONMENT, "Variables of the systemd unit, such as DATABASE_URL."),
    ]
}

/// A section of the page; nothing where there is nothing to tell.
fn section(title: &str, entries: &Entries) -> String {
    let mut text = String::new();
    for (name, meaning) in entries {
        // A String takes everything.
        let _ = write!(text, ".TP\n\\fB{}\\fR\n{}\n", escaped(name), escaped(meaning));
    }
    if text.is_empty() { text } else { format!(".SH \"{title}\"\n{text}") }
}

/// As roff reads a text that is only text.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_no_request_of_roff() {
        assert_eq!(escaped(".so /etc/passwd"), "\\&.so /etc/passwd");
        assert_eq!(escaped("--a\\b"), "\\-\\-a\\eb");
        assert_eq!(section("FILES", &Vec::new()), "");
    }

    #[test]
    fn the_files_are_those_of_the_systemd_unit() {
        const UNIT: &str = include_str!("../../docs/systemd/pgtether.service");
        for file in [UNIT_FILE, UNIT_ENVIRONMENT] {
            assert!(UNIT.contains(file), "{file}");
        }
    }
}
