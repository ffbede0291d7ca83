//! Finds PostgreSQL's server programs on this machine.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;

/// Names a folder that beats all others.
pub const VARIABLE: &str = "PGTETHER_POSTGRES_BIN";

/// A folder that holds `initdb` and `postgres`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// The folder named by [`VARIABLE`]; else what `pg_config` names, the newest of Debian's, what is on the PATH.
    pub fn find() -> Result<Binaries, Error> {
        if let Some(folder) = env::var_os(VARIABLE) {
            return Binaries::at(&PathBuf::from(folder)).map_err(|e| e.within(format!("{VARIABLE} is set")));
        }
        candidates()
            .iter()
            .find_map(|folder| Binaries::at(folder).ok())
            .ok_or_else(|| {
                Error::new(format!(
                    "no PostgreSQL server found on this machine; install one (Debian and Ubuntu: apt-get install \
                     postgresql; Fedora: dnf install postgresql-server; Alpine: apk add postgresql), or name the \
                     folder of its initdb and postgres in {VARIABLE}"
                ))
            })
    }

    /// Those in `folder`.
    pub fn at(folder: &Path) -> Result<Binaries, Error> {
        for program in ["initdb", "postgres"] {
            if !folder.join(program).is_file() {
                return Err(Error::new(format!("there is no {program} in {}", folder.display())));
            }
        }
        // A relative path would be looked up in another working folder.
        let folder =
            folder.canonicalize().map_err(|e| Error::of(format!("cannot find {}", folder.display()), e))?;
        Ok(Binaries { folder })
    }

    /// The program that makes a data folder.
    pub fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    /// The server.
    pub fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    /// The folder that holds them.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The folders worth a look, best first.
fn candidates() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Ok(said) = Command::new("pg_config").arg("--bindir").output()
        && let Ok(folder) = String::from_utf8(said.stdout)
    {
        folders.push(PathBuf::from(folder.trim()));
    }
    folders.extend(debians(Path::new("/usr/lib/postgresql")));
    // A program on the PATH may be a link into the real folder, where the other one lives.
    for folder in env::split_paths(&env::var_os("PATH").unwrap_or_default()) {
        let real = fs::canonicalize(folder.join("postgres")).ok();
        folders.extend(real.as_deref().and_then(Path::parent).map(Path::to_path_buf));
        folders.push(folder);
    }
    folders
}

/// `VERSION/bin` under Debian's folder, newest first.
fn debians(root: &Path) -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| Some((e.file_name().to_str()?.parse().ok()?, e.path().join("bin"))))
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_debians_versions_comes_first_and_other_folders_are_passed_over() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9", "15", "18", "common"] {
            fs::create_dir_all(root.path().join(version).join("bin")).unwrap();
        }
        let found: Vec<_> = debians(root.path())
            .iter()
            .map(|p| p.strip_prefix(root.path()).unwrap().display().to_string())
            .collect();
        assert_eq!(found, ["18/bin", "15/bin", "9/bin"]);
    }

    #[test]
    fn a_folder_without_a_server_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("initdb"), "").unwrap();
        let said = Binaries::at(folder.path()).unwrap_err().to_string();
        assert_eq!(said, format!("there is no postgres in {}", folder.path().display()));
    }
}
