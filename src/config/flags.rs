//! What the command line says of the pool and the password where there is no file: the same keys, limits and rules as in
//! one.

use super::command::CommandWords;
use super::file::{Keys, PoolKeys, PoolSize};
use super::names::PoolAddress;
use super::problems::{Problem, Problems};
use super::read::{At, Read as _, Reader};
use super::scalar::Scalar;
use super::tree;
use super::values::{AuthWord, ModeWord, Value, Whole};
use crate::target::PasswordCommand;
use crate::target::pool::{Auth, Listen, Mode};

const PASSWORD_COMMAND: &str = "--target.password-command";

/// Of the one target that DATABASE_URL names: its pool, of which there is none where `listen` is not given, and what prints
/// its password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolFlags {
    pub listen: Option<Listen>,
    pub mode: Option<Mode>,
    pub size: Option<u32>,
    /// No flag: `exec` knows who its clients are.
    pub auth: Option<Auth>,
    pub password_command: Option<PasswordCommand>,
}

/// `--pool.listen`, as the file has it.
pub fn pool_listen(text: &str) -> Result<Listen, String> {
    value::<PoolAddress>(text).map(|address| address.0)
}

/// `--pool.mode`, as the file has it.
pub fn pool_mode(text: &str) -> Result<Mode, String> {
    value::<ModeWord>(text).map(|mode| mode.0)
}

/// `--pool.size`, as the file has it.
pub fn pool_size(text: &str) -> Result<u32, String> {
    value::<PoolSize>(text).map(|size| size.0)
}

/// `--target.password-command`, as the file has it, but without variables: a shell or a container has its own way to put
/// these in.
pub fn password_command(text: &str) -> Result<PasswordCommand, String> {
    let (root, wrong) = tree::parse(&text.replace("${", "$${"));
    let mut reader = Reader::new("", &|_| None);
    let command = match (&root, wrong.first()) {
        (Some(node), None) => CommandWords::read(&At::root(node), &mut reader),
        _ => None,
    };
    let problem =
        || wrong.first().map(|wrong| &wrong.message).or(reader.problems.first().map(|found| &found.message));
    command.map(|words| words.0).ok_or_else(|| problem().cloned().unwrap_or_else(|| "it is empty".to_owned()))
}

fn value<T: Value>(text: &str) -> Result<T, String> {
    if text.trim().is_empty() {
        return Err(format!("it is empty: expected {}", T::EXPECTED));
    }
    T::parse(&Scalar { text: text.to_owned(), plain: true, names: Vec::new() })
}

impl PoolFlags {
    /// The first flag that is given.
    fn first(&self) -> Option<&'static str> {
        let given = [
            ("--pool.listen", self.listen.is_some()),
            ("--pool.mode", self.mode.is_some()),
            ("--pool.size", self.size.is_some()),
        ];
        given.into_iter().find_map(|(flag, given)| given.then_some(flag))
    }

    /// They are for runs without a file: one that was given to no effect would be worse than an error.
    pub(super) fn without_file(&self) -> Result<(), Problems> {
        let (flag, key) = match (self.first(), &self.password_command) {
            (Some(flag), _) => (flag, "pool"),
            (None, Some(_)) => (PASSWORD_COMMAND, "password_command"),
            (None, None) => return Ok(()),
        };
        let message = format!(
            "is for a run without a configuration file, and there is one: write `{key}:` into the file, or leave out the \
             flag and its environment variable"
        );
        Err(Problems::whole(flag, message))
    }

    /// The target's own keys that say the same.
    pub(super) fn target_keys(&self) -> Keys {
        Keys { password_command: self.password_command.clone().map(CommandWords), ..Keys::default() }
    }

    /// The keys of a file that say the same.
    pub(super) fn keys(&self) -> Result<Option<PoolKeys>, Problems> {
        let Some(listen) = &self.listen else {
            let message = "does not say where the pool listens: add --pool.listen=127.0.0.1:6432";
            return self.first().map_or(Ok(None), |flag| Err(Problems::whole(flag, message)));
        };
        Ok(Some(PoolKeys {
            listen: Some(PoolAddress(listen.clone())),
            mode: self.mode.map(ModeWord),
            size: self.size.map(Whole),
            auth: self.auth.map(AuthWord),
            ..PoolKeys::default()
        }))
    }
}

/// Names the flag in place of the key.
pub(super) fn named_as_flag(problem: &mut Problem) {
    problem.origin = match problem.path.as_str() {
        "pool.size" | "pool.mode" => format!("--{}", problem.path),
        path if path.starts_with("pool.") => "--pool.listen".to_owned(),
        // The only mistake of a connection string that its text does not have by itself.
        "url" | "password_command" => {
            problem.message = format!("DATABASE_URL {}", problem.message);
            PASSWORD_COMMAND.to_owned()
        }
        _ => return,
    };
    problem.path.clear();
}
