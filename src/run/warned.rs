//! Warnings of the configuration and of the files that it names: each is logged once, until it is gone or says something
//! else. A reload finds the same ones again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::warn;

use crate::config::{self, Config};

/// What holds and was logged. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Warned {
    config: KnownWarnings,
    /// Of secrets that others can read: each names the file and its mode.
    readable: KnownWarnings,
    web: KnownWarnings,
}

#[derive(Debug, Clone, Default)]
struct KnownWarnings(Arc<Mutex<HashSet<String>>>);

impl KnownWarnings {
    /// Those of all that were found that are new. What was not found is over: it would be new again.
    fn news(&self, found: impl IntoIterator<Item = String>) -> Vec<String> {
        let found: Vec<_> = found.into_iter().collect();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *known, found.iter().cloned().collect());
        found.into_iter().filter(|warning| !before.contains(warning)).collect()
    }

    fn tell(&self, found: impl IntoIterator<Item = String>) {
        for warning in self.news(found) {
            warn!("{warning}");
        }
    }
}

impl Warned {
    /// Logs what is new of the web config file.
    pub fn of_web<W: ToString>(&self, warnings: impl IntoIterator<Item = W>) {
        self.web.tell(warnings.into_iter().map(|warning| warning.to_string()));
    }

    /// Logs what is new of this configuration; of its files once the file system has told: nobody waits for that.
    pub fn of_config(&self, config: &Config) {
        self.config.tell(config.warnings.iter().map(ToString::to_string));
        let (config, known) = (config.clone(), self.readable.clone());
        tokio::task::spawn_blocking(move || {
            known.tell(config::readable_by_others(&config).iter().map(ToString::to_string));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_news_once_until_it_is_gone_or_says_something_else() {
        let known = KnownWarnings::default();
        let news = |found: &[&str]| known.news(found.iter().map(|&warning| warning.to_owned()));
        assert_eq!(news(&["pw (mode 0644)", "key (mode 0640)"]), ["pw (mode 0644)", "key (mode 0640)"]);
        assert_eq!(news(&["pw (mode 0644)", "key (mode 0640)"]), Vec::<String>::new());
        assert_eq!(news(&["pw (mode 0666)", "key (mode 0640)"]), ["pw (mode 0666)"]);
        assert_eq!(news(&["key (mode 0640)"]), Vec::<String>::new());
        assert_eq!(
            news(&["pw (mode 0644)", "key (mode 0640)"]),
            ["pw (mode 0644)"],
            "it was mended meanwhile"
        );
    }
}
