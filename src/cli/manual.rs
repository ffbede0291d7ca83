//! What packages hold beside the program, made from the same table of flags: completions for shells, and manual pages.

use std::io;

use clap::{Command, CommandFactory};

use super::{Cli, CompletionsArgs, ManArgs};

/// A shell's completions, for it to source.
pub fn completions(args: &CompletionsArgs) -> Vec<u8> {
    let mut written = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "pgtether", &mut written);
    written
}

/// The page of a command in roff, as `man` reads it. `None` where there is no such command.
pub fn man(args: &ManArgs) -> io::Result<Option<Vec<u8>>> {
    let mut whole = Cli::command();
    whole.build();
    let mut command: &Command = &whole;
    for word in &args.command {
        let Some(found) = command.find_subcommand(word) else { return Ok(None) };
        command = found;
    }
    let mut written = Vec::new();
    clap_mangen::Man::new(command.clone())
        .source(concat!("pgtether ", env!("CARGO_PKG_VERSION")))
        .render(&mut written)?;
    Ok(Some(written))
}
