//! What is to be run, and how long.

use std::time::Duration;

/// See the module.
#[derive(Debug, Clone)]
pub struct Plan {
    only: Option<Vec<String>>,
    pub quick: bool,
}

impl Plan {
    /// Reads the arguments. What cargo itself adds is passed over.
    pub fn parse(args: &[String], sections: &[&str]) -> Result<Plan, String> {
        let mut plan = Plan { only: None, quick: false };
        for arg in args {
            match arg.split_once('=') {
                Some(("--only", names)) => {
                    let names: Vec<String> = names.split(',').map(|name| name.trim().to_owned()).collect();
                    if let Some(unknown) = names.iter().find(|name| !sections.contains(&name.as_str())) {
                        return Err(format!(
                            "no figures are named {unknown:?}; there are: {}",
                            sections.join(", ")
                        ));
                    }
                    plan.only = Some(names);
                }
                None if arg == "--quick" => plan.quick = true,
                None if arg == "--bench" => {}
                _ => return Err(format!("unknown argument {arg:?}; known are --only=NAME,… and --quick")),
            }
        }
        Ok(plan)
    }

    pub fn wants(&self, section: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|name| name == section))
    }

    /// How many samples a median is of.
    pub fn samples(&self) -> usize {
        if self.quick { 2 } else { 10 }
    }

    /// A wait in whole seconds: as long as the figure demands, or a short one.
    pub fn seconds(&self, full: u64, quick: u64) -> Duration {
        Duration::from_secs(if self.quick { quick } else { full })
    }
}
