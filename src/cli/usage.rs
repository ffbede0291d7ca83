//! What to print, and how to exit, where the arguments are not a command: help, the version, or an error.

use std::ffi::OsString;
use std::fmt;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::exits::{CANNOT_START, EX_USAGE};
use crate::check::Verdict;
use crate::target::REDACTED;

/// A text, whether it was asked for, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageText {
    pub text: String,
    /// 0 for `--help` and `--version`, whose text belongs on standard output.
    pub code: u8,
}

impl fmt::Display for UsageText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

pub(super) fn explain(error: &clap::Error, args: &[OsString]) -> UsageText {
    match error.kind() {
        ErrorKind::DisplayHelp => UsageText { text: error.to_string(), code: 0 },
        ErrorKind::DisplayVersion => UsageText { text: version(), code: 0 },
        // `check` has Nagios's exit codes.
        _ if is_command(args, "check") => {
            UsageText { text: without_secrets(error), code: Verdict::Unknown.exit_code() }
        }
        // `exec` has those of env(1).
        _ if is_command(args, "exec") => {
            UsageText { text: without_secrets(error) + without_dashes(args), code: CANNOT_START }
        }
        _ => UsageText { text: without_secrets(error), code: EX_USAGE },
    }
}

/// As Prometheus's exporters print it.
fn version() -> String {
    format!(
        "pgtether, version {} (revision: {})\n  compiler:  {}\n  platform:  {}/{}\n  features:  tls ({})\n",
        env!("CARGO_PKG_VERSION"),
        env!("PGTETHER_REVISION"),
        env!("PGTETHER_RUSTC"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        openssl::version::version(),
    )
}

fn is_command(args: &[OsString], name: &str) -> bool {
    args.iter().skip(1).find(|arg| !arg.to_string_lossy().starts_with('-')).is_some_and(|arg| arg == name)
}

fn without_dashes(args: &[OsString]) -> &'static str {
    if args.iter().any(|arg| arg == "--") {
        return "";
    }
    "\nWrite -- before the command: pgtether exec [FLAGS] -- COMMAND...\n"
}

/// clap quotes what it does not understand, and that may be a connection string in the wrong place.
fn without_secrets(error: &clap::Error) -> String {
    let mut text = error.to_string();
    // A whole command line may be in it.
    let of = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    let is_command = of.contains("password-command");
    for (_, value) in error.context() {
        let ContextValue::String(value) = value else {
            continue;
        };
        let value = value.trim_matches('\'');
        let may_be_secret = is_command || ["://", "@", "pass", "="].iter().any(|sign| value.contains(sign));
        if may_be_secret && !is_flag(value) && !value.is_empty() {
            text = text.replace(value, REDACTED);
        }
    }
    text
}

/// As clap names its own flags: `--watch <DURATION>`.
fn is_flag(text: &str) -> bool {
    text.starts_with("--") && !text.contains('=')
}
