//! The configuration of the pgtether that runs beside a command: one target, and a pool that nobody else gets at.

use std::fs::Permissions;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::config::{Config, PoolFlags, Problems};
use crate::target::conninfo;
use crate::target::pool::{Auth, Listen};

/// Where files are kept that nobody needs later: the second is writable where the root file system is not.
const FOLDERS: [&str; 2] = ["/tmp", "/dev/shm"];

/// What pgtether runs with.
#[derive(Debug)]
pub struct DaemonSetup {
    pub config: Config,
    /// What the configuration was made of.
    pub flags: PoolFlags,
    /// The folder of the pool's socket, removed at the end.
    pub folder: Option<TempDir>,
}

/// Why there is nothing to run with.
#[derive(Debug)]
pub enum Unprepared {
    /// The flags are wrong: nothing is to run.
    Flags(String),
    /// pgtether does not understand the URL; the command may.
    Url(String),
}

/// Where the pool listens if nobody says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On loopback, where a password keeps others out.
    Loopback,
    /// On a Unix socket in a folder that only this user may enter: there is no password to ask for.
    PrivateFolder,
    /// Where the flag says.
    AsTold,
}

/// Decides it.
pub fn place(flags: &PoolFlags, has_password: bool) -> Place {
    match (&flags.listen, has_password) {
        (Some(_), _) => Place::AsTold,
        (None, true) => Place::Loopback,
        (None, false) => Place::PrivateFolder,
    }
}

impl Place {
    /// The pool's flags for this place; `folder` is the private one.
    pub fn flags(self, flags: PoolFlags, has_password: bool, folder: &Path) -> PoolFlags {
        let listen = match self {
            Place::Loopback => Some(Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))),
            Place::PrivateFolder => Some(Listen::Unix(folder.join(".s.PGSQL.5432"))),
            Place::AsTold => flags.listen,
        };
        // Whom a socket's file lets in: its owner and group.
        let trusts = !has_password && matches!(listen, Some(Listen::Unix(_)));
        PoolFlags { listen, auth: trusts.then_some(Auth::Trust), ..flags }
    }
}

/// Makes the configuration of `DATABASE_URL` and the flags.
pub fn prepare(url: &str, flags: PoolFlags) -> Result<DaemonSetup, Unprepared> {
    let plain = conninfo::without_driver(url);
    let parsed = conninfo::parse(&plain);
    let has_password = parsed.is_ok_and(|parsed| parsed.endpoint.password.is_some());
    let place = place(&flags, has_password);
    let folder = (place == Place::PrivateFolder).then(private_folder).transpose().map_err(|error| {
        Unprepared::Url(format!(
            "there is no password in DATABASE_URL to protect a pool with, and no folder for a private socket: {error}"
        ))
    })?;
    let path = folder.as_ref().map(TempDir::path).unwrap_or(Path::new(""));
    let flags = place.flags(flags, has_password, path);
    match Config::from_database_url(&plain, &flags) {
        Ok(config) => Ok(DaemonSetup { config, flags, folder }),
        Err(problems) if is_about_flags(&problems) => Err(Unprepared::Flags(problems.to_string())),
        Err(problems) => Err(Unprepared::Url(problems.to_string())),
    }
}

fn is_about_flags(problems: &Problems) -> bool {
    problems.iter().any(|problem| problem.origin.starts_with("--"))
}

/// Only this user may enter it.
fn private_folder() -> io::Result<TempDir> {
    let folders = [std::env::temp_dir()].into_iter().chain(FOLDERS.map(PathBuf::from));
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for folder in folders {
        let only_ours = Permissions::from_mode(0o700);
        match tempfile::Builder::new().prefix("pgtether-").permissions(only_ours).tempdir_in(folder) {
            Ok(made) => return Ok(made),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::target::PasswordSource;

    #[test]
    fn a_url_without_a_password_gets_a_socket_in_a_folder_that_only_this_user_enters() {
        let DaemonSetup { config, folder, .. } =
            prepare("postgresql://app@127.0.0.1:1/db", PoolFlags::default()).unwrap();
        let folder = folder.unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
        let pool = config.targets[0].pool.clone().unwrap();
        assert_eq!(
            (pool.auth, pool.listen.clone()),
            (Auth::Trust, Listen::Unix(folder.path().join(".s.PGSQL.5432")))
        );
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }

    #[test]
    fn a_url_with_a_password_gets_a_free_port_of_loopback_whatever_the_drivers_name() {
        for scheme in ["postgresql", "postgres", "postgresql+asyncpg"] {
            let url = format!("{scheme}://app:sesame@127.0.0.1:1/db");
            let DaemonSetup { config, folder, .. } = prepare(&url, PoolFlags::default()).unwrap();
            let pool = config.targets[0].pool.clone().unwrap();
            assert_eq!((pool.auth, pool.listen.to_string().as_str()), (Auth::Scram, "127.0.0.1:0"));
            assert!(folder.is_none());
        }
    }

    #[test]
    fn a_wrong_flag_ends_it_and_a_url_that_is_not_understood_does_not() {
        let listen = |address: [u8; 4]| PoolFlags {
            listen: Some(Listen::Tcp((address, 6432).into())),
            ..PoolFlags::default()
        };
        for (url, flags) in [
            ("postgresql://app:hunter2@h/db", listen([0, 0, 0, 0])),
            ("postgresql://app@h/db", listen([127, 0, 0, 1])),
        ] {
            let Err(Unprepared::Flags(told)) = prepare(url, flags) else { panic!("{url}") };
            assert!(told.starts_with("--pool.listen: "), "{told}");
        }
        for url in ["sqlite:///app.db", "postgresql://app:hunter2@h/db?sslmod=x"] {
            let Err(Unprepared::Url(told)) = prepare(url, PoolFlags::default()) else { panic!("{url}") };
            assert!(told.starts_with("DATABASE_URL: ") && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn a_pool_listens_where_a_password_or_a_folder_keeps_others_out() {
        let folder = Path::new("/tmp/pgtether-x");
        let told =
            PoolFlags { listen: Some(Listen::Tcp(([127, 0, 0, 1], 6432).into())), ..PoolFlags::default() };
        let socket =
            PoolFlags { listen: Some(Listen::Unix("/run/.s.PGSQL.1".into())), ..PoolFlags::default() };
        let none = PoolFlags { size: Some(3), ..PoolFlags::default() };
        for (flags, has_password, wanted, listen, auth) in [
            (&none, true, Place::Loopback, "127.0.0.1:0", None),
            (&none, false, Place::PrivateFolder, "unix:/tmp/pgtether-x/.s.PGSQL.5432", Some(Auth::Trust)),
            (&told, true, Place::AsTold, "127.0.0.1:6432", None),
            (&told, false, Place::AsTold, "127.0.0.1:6432", None),
            (&socket, true, Place::AsTold, "unix:/run/.s.PGSQL.1", None),
            (&socket, false, Place::AsTold, "unix:/run/.s.PGSQL.1", Some(Auth::Trust)),
        ] {
            let place = place(flags, has_password);
            assert_eq!(place, wanted);
            let made = place.flags(flags.clone(), has_password, folder);
            assert_eq!((made.listen.unwrap().to_string().as_str(), made.auth), (listen, auth));
            assert_eq!(made.size, flags.size);
        }
    }

    #[test]
    fn a_command_that_prints_the_password_gets_the_private_socket_and_none_beside_a_password() {
        let command = crate::config::flags::password_command("[token, --for, app]").unwrap();
        let flags = PoolFlags { password_command: Some(command.clone()), ..PoolFlags::default() };
        let made = prepare("postgresql://app@127.0.0.1:1/db", flags.clone()).unwrap();
        assert_eq!(made.config.targets[0].password, PasswordSource::Command(Arc::new(command)));
        assert_eq!(made.config.targets[0].pool.as_ref().map(|pool| pool.auth), Some(Auth::Trust));
        assert!(made.folder.is_some());
        let Err(Unprepared::Flags(told)) = prepare("postgresql://app:sesame@h/db", flags) else { panic!() };
        assert!(told.starts_with("--target.password-command: ") && !told.contains("sesame"), "{told}");
    }
}
