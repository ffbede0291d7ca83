//! The configuration: where it comes from, strictly read, with all mistakes at once.
//!
//! `tree` knows where everything stands, `file` which keys there are, `assemble` makes targets of them, `show` and
//! `schema` go the other way. Whoever holds a [`Config`] need not check it again. Knows nothing of the supervisor and
//! opens no sockets.

mod assemble;
mod command;
pub mod duration;
mod examination;
mod expand;
mod file;
pub mod flags;
mod mapping;
mod names;
mod origin;
mod overrides;
mod permissions;
mod pool;
mod problems;
pub(crate) mod read;
mod rules;
mod scalar;
mod schema;
mod show;
pub(crate) mod suggest;
mod surroundings;
pub(crate) mod tree;
pub(crate) mod values;
pub mod watch;

#[cfg(test)]
pub(crate) mod tests;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

pub use examination::Examination;
pub use expand::Env;
pub use flags::PoolFlags;
pub use origin::Origins;
pub use overrides::overrides;
pub use permissions::readable_by_others;
pub use problems::{Mark, Problem, Problems};
pub use schema::schema;
pub use show::show;
pub use surroundings::unused;

/// `fleet`: the guard's limits over all targets of the process.
pub use crate::policy::guard::GuardLimits as Fleet;
use crate::target::{Source, Target, is_no_path};

/// The file that is read where no other is named.
pub const DEFAULT_FILE: &str = "config.yaml";

/// Room for more than ten thousand targets; more is not a configuration.
const MAX_BYTES: u64 = 4 << 20;

/// Everything that the file says, valid.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `service` in `/health`.
    pub service: String,
    pub fleet: Fleet,
    /// In the order of the file; never empty, no name twice.
    pub targets: Vec<Arc<Target>>,
    /// Accepted, but a person should know.
    pub warnings: Vec<Problem>,
    /// The file, where a password is written in it.
    pub file_with_password: Option<PathBuf>,
}

/// Where the configuration is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Located {
    File(PathBuf),
    /// No file, but `DATABASE_URL` is set: one target of that, see [`Config::from_database_url`].
    DatabaseUrl,
}

/// Decides it: the file that was named; else `config.yaml` of the current folder, if it is there; else `DATABASE_URL`.
pub fn locate(named: Option<&Path>, env: Env<'_>) -> Result<Located, Problems> {
    locate_in(Path::new(""), named, env)
}

fn locate_in(folder: &Path, named: Option<&Path>, env: Env<'_>) -> Result<Located, Problems> {
    if let Some(file) = named {
        return Ok(Located::File(file.to_owned()));
    }
    let file = folder.join(DEFAULT_FILE);
    // A link to nowhere, or a file that cannot be looked at, is there: reading it tells what is wrong.
    match fs::symlink_metadata(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Ok(_) | Err(_) => return Ok(Located::File(file)),
    }
    if env(DATABASE_URL).is_some_and(|url| !url.is_empty()) {
        return Ok(Located::DatabaseUrl);
    }
    Err(Problems::whole(
        "no configuration",
        format!(
            "there is no {DEFAULT_FILE} here and {DATABASE_URL} is not set. Two ways to go on: set {DATABASE_URL} to a \
             connection string such as postgresql://user:password@host:5432/database, or write a configuration file and \
             name it with --config.file=FILE"
        ),
    ))
}

/// The variable that names the database where there is no file.
pub const DATABASE_URL: &str = "DATABASE_URL";

/// Locates and reads the configuration, whichever it is. The flags are for one without a file.
pub fn find(named: Option<&Path>, pool: &PoolFlags, env: Env<'_>) -> Result<Config, Problems> {
    examine(named, pool, env)?.sound()
}

/// The same for who wants to know all that is wrong. `Err` where nothing was understood.
pub fn examine(named: Option<&Path>, pool: &PoolFlags, env: Env<'_>) -> Result<Examination, Problems> {
    match locate(named, env)? {
        Located::File(file) => {
            pool.without_file()?;
            read_file(&file, env)
        }
        Located::DatabaseUrl => match env(DATABASE_URL).map(OsString::into_string) {
            Some(Ok(url)) => {
                Ok(assemble::from_url(DATABASE_URL, "default", &url, pool.target_keys(), pool.keys()?))
            }
            Some(Err(_)) | None => Err(Problems::whole(DATABASE_URL, "is not UTF-8")),
        },
    }
}

/// Where the values of the configuration come from that [`find`] reads.
pub fn origins(named: Option<&Path>, env: Env<'_>) -> Result<Origins, Problems> {
    match locate(named, env)? {
        Located::File(file) => {
            Ok(Origins::of_file(&file.display().to_string(), &text_of(&file, "--config.file")?))
        }
        Located::DatabaseUrl => Ok(Origins::of_database_url()),
    }
}

/// Reads a file. Blocks on the file system.
pub fn load(path: &Path, env: Env<'_>) -> Result<Config, Problems> {
    read_file(path, env)?.sound()
}

fn read_file(path: &Path, env: Env<'_>) -> Result<Examination, Problems> {
    let text = text_of(path, "--config.file")?;
    // Absolute: what `config show` prints means the same wherever it is read again.
    let folder = std::path::absolute(path).ok().and_then(|path| Some(path.parent()?.to_owned()));
    let folder = folder.unwrap_or_default();
    let mut found = assemble::from_text(&path.display().to_string(), &text, &folder, env)?;
    found.config.file_with_password = holds_password(&text, &found.config).then(|| path.to_owned());
    Ok(found)
}

/// Whether a password is written in it, and does not come from the environment.
fn holds_password(text: &str, config: &Config) -> bool {
    config.targets.iter().any(|target| match &target.source {
        Source::Inline(endpoint) => endpoint.password.as_ref().is_some_and(|password| {
            let plain = String::from_utf8_lossy(password.expose());
            let escaped = utf8_percent_encode(&plain, NON_ALPHANUMERIC).to_string();
            text.contains(&*plain) || text.contains(&escaped)
        }),
        Source::File(_) => false,
    })
}

impl Config {
    /// What runs without a file: one target named `default`.
    pub fn from_database_url(url: &str, pool: &PoolFlags) -> Result<Config, Problems> {
        assemble::from_url(DATABASE_URL, "default", url, pool.target_keys(), pool.keys()?).sound()
    }

    /// One target, with defaults all over; `origin` says in problems where the connection string came from.
    pub fn from_url(origin: &str, name: &str, url: &str) -> Result<Config, Problems> {
        assemble::from_url(origin, name, url, Default::default(), None).sound()
    }
}

/// The text of a file that `flag` names. Blocks on the file system.
pub(crate) fn text_of(path: &Path, flag: &str) -> Result<String, Problems> {
    if is_no_path(&path.to_string_lossy()) {
        let message = format!(
            "is given a connection string or a key (not shown, it may hold a secret): it takes the path of a file. A \
             connection string belongs in {DATABASE_URL} or in the file"
        );
        return Err(Problems::whole(flag, message));
    }
    let whole = |message| Problems::whole(path.display(), message);
    let bytes = read_limited(path, flag).map_err(whole)?;
    utf8(&bytes).map(str::to_owned).map_err(whole)
}

fn read_limited(path: &Path, flag: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(
        |error| match error.kind() {
            io::ErrorKind::NotFound => format!("there is no such file: check the path given with {flag}"),
            io::ErrorKind::PermissionDenied => "cannot be read: permission denied".to_owned(),
            io::ErrorKind::IsADirectory => format!("is a folder: {flag} takes a file"),
            _ => format!("cannot be read: {error}"),
        },
    )?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("is larger than {} MiB: is this the right file?", MAX_BYTES >> 20));
    }
    Ok(bytes)
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    // Editors on Windows put a byte order mark first.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(text).map_err(|error| {
        let line = 1 + text[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count();
        format!("is not UTF-8 (line {line}): save it as UTF-8")
    })
}
