//! Files with secrets that every user of this machine can read. Told, not refused: whoever runs pgtether may know better.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};

use super::{Config, Problem};
use crate::target::{PasswordSource, Source, Target};

/// Where systemd keeps credentials.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SecretKind {
    /// `sslkey`, which libpq refuses where others can read it.
    Key,
    Password,
    Config,
}

/// What the file system says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileFacts {
    mode: u32,
    owner: u32,
    /// Every user may enter all folders above it.
    is_reachable: bool,
    /// It is in memory, where container platforms put secrets: for one container, and often for all users in it.
    is_in_memory: bool,
}

/// One line for each such file. Blocks on the file system.
pub fn readable_by_others(config: &Config) -> Vec<Problem> {
    let mut files: Vec<(SecretKind, PathBuf)> = Vec::new();
    files.extend(config.file_with_password.iter().map(|file| (SecretKind::Config, file.clone())));
    for (kind, path) in config.targets.iter().flat_map(|target| secrets(target)) {
        if !files.iter().any(|(_, known)| *known == path) {
            files.push((kind, path));
        }
    }
    let problems = files.into_iter().filter_map(|(kind, path)| {
        let facts = facts(&path)?;
        let message = complaint(kind, facts, &path)?;
        Some(Problem { origin: path.display().to_string(), at: None, path: String::new(), message })
    });
    problems.collect()
}

fn secrets(target: &Target) -> Vec<(SecretKind, PathBuf)> {
    let mut found = Vec::new();
    match &target.source {
        Source::File(file) => found.push((SecretKind::Password, file.path().to_owned())),
        Source::Inline(endpoint) => {
            found.extend(endpoint.tls.identity.iter().map(|pair| (SecretKind::Key, pair.key.clone())));
        }
    }
    if let PasswordSource::File(file) = &target.password {
        found.push((SecretKind::Password, file.path().to_owned()));
    }
    found
}

/// `None` where there is no such file, or something else in its place: reading it tells that.
fn facts(path: &Path) -> Option<FileFacts> {
    let path = fs::canonicalize(path).ok()?;
    let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
    let enters = |folder: &Path| fs::metadata(folder).is_ok_and(|folder| folder.mode() & 0o001 != 0);
    let kind = statfs(&path).ok()?.filesystem_type();
    Some(FileFacts {
        mode: metadata.mode() & 0o777,
        owner: metadata.uid(),
        is_reachable: path.ancestors().skip(1).all(enters),
        is_in_memory: kind == TMPFS_MAGIC || kind == RAMFS_MAGIC,
    })
}

/// What to say of it. A key is held to libpq's rule: its owner alone may read it; of root's also a group.
fn complaint(kind: SecretKind, facts: FileFacts, path: &Path) -> Option<String> {
    let FileFacts { mode, owner, is_reachable, is_in_memory } = facts;
    let open_to_all = mode & 0o004 != 0 && is_reachable;
    let (told, mend) = match kind {
        SecretKind::Key if owner == 0 && mode & 0o027 != 0 => ("is a key that others can read", "640"),
        SecretKind::Key if owner != 0 && mode & 0o077 != 0 => ("is a key that others can read", "600"),
        SecretKind::Password if open_to_all && !is_in_memory => {
            ("contains a password, and every user of this machine can read it", "640")
        }
        SecretKind::Config if open_to_all && !is_in_memory => {
            ("contains a password, and every user of this machine can read it", "640")
        }
        SecretKind::Key | SecretKind::Password | SecretKind::Config => return None,
    };
    let path = path.display();
    let advice = match kind {
        SecretKind::Key => format!(
            "run chmod {mend} {path}; with Kubernetes set defaultMode: 0440 (libpq and its programs refuse the key as it is)"
        ),
        SecretKind::Password => format!("run chmod {mend} {path}, and let pgtether's user or group own it"),
        SecretKind::Config => {
            format!(
                "run chmod {mend} {path}, or write the password into a file of its own and name it with password_file"
            )
        }
    };
    Some(format!("{told} (mode {mode:04o}): {advice}"))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const OPEN: FileFacts = FileFacts { mode: 0o644, owner: 1000, is_reachable: true, is_in_memory: false };

    fn told(kind: SecretKind, facts: FileFacts) -> String {
        complaint(kind, facts, Path::new("/secret")).unwrap_or_default()
    }

    #[test]
    fn a_password_that_every_user_can_read_is_told_unless_nobody_could_mend_it() {
        for kind in [SecretKind::Password, SecretKind::Config] {
            let all = told(kind, OPEN);
            assert!(
                all.contains("every user") && all.contains("mode 0644") && all.contains("chmod 640"),
                "{all}"
            );
            for facts in [
                FileFacts { mode: 0o640, ..OPEN },
                FileFacts { mode: 0o660, ..OPEN },
                FileFacts { is_reachable: false, ..OPEN },
                // As Kubernetes and Docker mount secrets.
                FileFacts { is_in_memory: true, owner: 0, mode: 0o444, ..OPEN },
            ] {
                assert_eq!(told(kind, facts), "", "{facts:?}");
            }
        }
    }

    /// Those of libpq.
    #[test]
    fn a_key_may_be_read_by_its_owner_and_one_of_root_s_by_a_group() {
        for (owner, mode, is_told) in [
            (1000, 0o600, false),
            (1000, 0o400, false),
            (1000, 0o640, true),
            (1000, 0o604, true),
            (0, 0o640, false),
            (0, 0o440, false),
            (0, 0o644, true),
            (0, 0o660, true),
        ] {
            let told = told(SecretKind::Key, FileFacts { mode, owner, ..OPEN });
            assert_eq!(!told.is_empty(), is_told, "{owner} {mode:o}: {told}");
        }
        assert!(told(SecretKind::Key, FileFacts { owner: 0, is_in_memory: true, ..OPEN }).contains("0440"));
    }

    #[test]
    fn a_file_is_looked_at_through_its_links_and_a_closed_folder_protects_it() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("secret"), folder.path().join("link"));
        fs::write(&file, "sesame").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink("secret", &link).unwrap();
        // A temporary folder is its owner's.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        let seen = facts(&link).unwrap();
        assert_eq!((seen.mode, seen.is_reachable), (0o644, false));
        fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
        let above = folder.path().parent().unwrap();
        let above = above.ancestors().all(|folder| fs::metadata(folder).unwrap().mode() & 0o001 != 0);
        assert_eq!(facts(&link).unwrap().is_reachable, above);
        assert_eq!(facts(&folder.path().join("none")), None);
    }
}
