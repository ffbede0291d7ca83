//! All that can be known of a configuration in one run: what was understood of it, what is wrong, and where each thing stands.

use super::problems::{Problem, Problems};
use super::read::Places;
use super::{Config, tree};

/// What came of reading a configuration.
#[derive(Debug, Clone)]
pub struct Examination {
    /// What was understood. It may be run only if nothing is wrong.
    pub config: Config,
    pub(super) problems: Vec<Problem>,
    pub(super) places: Places,
    /// Of its targets, in their order.
    pub(super) paths: Vec<String>,
}

impl Examination {
    /// The configuration, if nothing is wrong with it.
    pub fn sound(self) -> Result<Config, Problems> {
        match self.problems.is_empty() {
            true => Ok(self.config),
            false => Err(Problems::new(self.problems)),
        }
    }

    /// A mistake that shows elsewhere, by a key of that target: the number is its place in [`Config::targets`].
    pub fn wrong(&mut self, target: usize, key: &str, message: String) {
        let problem = self.at(target, key, message);
        // Many targets may have it from `defaults`.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// The same of what a person should know.
    pub fn warn(&mut self, target: usize, key: &str, message: String) {
        let problem = self.at(target, key, message);
        if !self.config.warnings.contains(&problem) {
            self.config.warnings.push(problem);
        }
    }

    fn at(&self, target: usize, key: &str, message: String) -> Problem {
        let path = self.paths.get(target).map_or("", String::as_str);
        let (own, default) = (tree::join(path, key), tree::join("defaults", key));
        match path {
            // There is no file: the message says which file, and of what.
            "" => Problem { path: String::new(), ..self.places.at_path("", message) },
            _ if !self.places.names(&own) && self.places.names(&default) => {
                self.places.at_path(&default, message)
            }
            _ => self.places.at_path(&own, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::assemble;

    #[test]
    fn a_mistake_that_shows_elsewhere_stands_at_its_key_once_beside_all_others() {
        let text = "defaults:\n  password_file: /gone\ntargets:\n  - {name: a, url: \"postgresql://a@h/d\"}\n  - name: b\n    \
                    pings: 3\n    url: postgresql://a@h/d\n    password_file: /other\n  - {name: c, url: \"postgresql://a@h/d\"}\n";
        let mut found = assemble::from_text("f.yaml", text, Path::new("/"), &|_| None).unwrap();
        assert_eq!(found.config.targets.len(), 3, "one with a mistake is understood as far as that goes");
        for target in 0..3 {
            found.wrong(target, "password_file", "cannot be read".to_owned());
            found.warn(target, "password_command", "is not there".to_owned());
        }
        assert_eq!(found.config.warnings.len(), 3);
        let told = found.sound().unwrap_err().to_string();
        let expected = [
            "f.yaml:2:18: defaults.password_file: cannot be read",
            "f.yaml:6:5: targets[1].pings: ",
            "f.yaml:8:20: targets[1].password_file: cannot be read",
        ];
        assert_eq!(told.lines().count(), 3, "{told}");
        for (line, expected) in told.lines().zip(expected) {
            assert!(line.starts_with(expected), "{told}");
        }
    }
}
