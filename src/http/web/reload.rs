//! Reads the web config file anew when it, or a certificate that it names, has changed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::SystemTime;

use super::assemble::{self, ReadRules};
use super::{Live, Rules};
use crate::blocking::OneCall;
use crate::config::watch::Watch;
use crate::config::{Problem, Problems};

/// Reading again because the file names other files than before ends after so many times.
const ROUNDS: usize = 3;

/// Holds the file, and the rules that it gave.
#[derive(Debug)]
pub struct RulesFile {
    path: PathBuf,
    live: Live,
    watch: Watch,
    reading: OneCall<ReadRules>,
}

impl RulesFile {
    /// Reads the file for the first time. Blocks on the file system.
    pub fn open(path: PathBuf) -> Result<Self, Problems> {
        let mut watch = Watch::new(vec![path.clone()]);
        let mut outcome = read(path.clone());
        for _ in 1..ROUNDS {
            if watch.is_of(&outcome.files) {
                break;
            }
            watch = Watch::new(outcome.files);
            outcome = read(path.clone());
        }
        Ok(RulesFile { path, live: Live::new(outcome.rules?), watch, reading: OneCall::default() })
    }

    /// The rules in force.
    pub fn live(&self) -> Live {
        self.live.clone()
    }

    /// Waits for a change, or for a file that could not be read. Nothing is lost where the wait is given up.
    pub async fn changed(&mut self) {
        tokio::select! {
            () = self.watch.changed() => {}
            () = self.reading.over() => {}
        }
    }

    /// Reads the file again. New rules are in force at once, and come with what a person should know; bad ones change
    /// nothing, and give a line for each problem, without secrets.
    pub async fn reload(&mut self) -> Result<Vec<Problem>, String> {
        let mut rules = None;
        for _ in 0..ROUNDS {
            self.watch.about_to_read().await;
            let path = self.path.clone();
            let read = self.reading.run(move || read(path)).await;
            let outcome = read.map_err(|failure| format!("reading it failed: {failure}"))?;
            rules = Some(outcome.rules);
            if self.watch.is_of(&outcome.files) {
                break;
            }
            self.watch.turn_to(outcome.files);
        }
        match rules {
            Some(Ok(rules)) => self.follow(rules),
            Some(Err(problems)) => Err(problems.to_string()),
            None => Ok(Vec::new()),
        }
    }

    /// A file that is cut short says less than it should, and must not open the port.
    fn follow(&self, mut rules: Rules) -> Result<Vec<Problem>, String> {
        let before = self.live.get();
        if let Some(what) = rules.gives_up(&before) {
            let path = self.path.display();
            return Err(format!("{path}: gives up {what}: if that is meant, restart pgtether"));
        }
        rules.succeed(&before);
        let warnings = rules.warnings().to_vec();
        self.live.set(rules);
        Ok(warnings)
    }
}

fn read(path: PathBuf) -> ReadRules {
    assemble::read(&path, &|name: &str| -> Option<OsString> { std::env::var_os(name) }, SystemTime::now())
}
