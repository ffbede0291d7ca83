//! Looks at a pool before it runs: could it listen there, can its certificate be read?

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use socket2::{Domain, Protocol, Socket, Type};

use super::CheckReport;
use crate::connection::{CERT_FILE, KEY_FILE, pool_file};
use crate::reason::{Facts, Phase};
use crate::target::pool::{ClientTls, Listen, Pool};

/// Asks this machine only, and leaves it as it was.
pub(super) fn examine(pool: &Pool, report: &mut CheckReport) {
    match &pool.listen {
        Listen::Tcp(address) => match bind(*address) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                report.note(format!(
                    "pool: {address} is in use, by a pgtether that runs or by another program"
                ));
            }
            Err(error) => report.warn(format!("pool: it cannot listen on {address}: {error}")),
        },
        Listen::Unix(path) => socket(path, report),
    }
    if let ClientTls::Files { cert, key } = &pool.tls {
        for file in [pool_file(CERT_FILE, cert), pool_file(KEY_FILE, key)] {
            if let Err(cause) = file {
                report.warn(format!("pool: {}", Facts::new(Phase::Prepare, cause)));
            }
        }
    }
    let size = pool.size;
    report.note(format!(
        "pool: its size is {size}: the server must allow that many sessions beside pgtether's own"
    ));
}

/// Bound, but never listening: nobody who starts meanwhile finds the address taken.
fn bind(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

fn socket(path: &Path, report: &mut CheckReport) {
    let folder = path.parent().unwrap_or(path);
    if !folder.is_dir() {
        let folder = folder.display();
        report.warn(format!(
            "pool: there is no folder {folder}: create it, and let pgtether's user write there"
        ));
    }
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            report.warn(format!("pool: {} is there already and is no socket", path.display()));
        }
        Ok(_) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::check::{CheckFinding, Verdict};
    use crate::config::Config;
    use crate::status::sample;

    /// What is found of a pool, beside the number of its sessions.
    fn found(pool: &Pool) -> (Verdict, Vec<String>) {
        let config = Config::from_url("argument", "default", "postgresql://app@localhost/shop").unwrap();
        let mut report = CheckReport::new(&config.targets[0]);
        examine(pool, &mut report);
        let Some(CheckFinding::Note(last)) = report.findings.pop() else { panic!("{report:?}") };
        assert_eq!(
            last,
            "pool: its size is 10: the server must allow that many sessions beside pgtether's own"
        );
        let text = |finding| match finding {
            CheckFinding::Note(text) | CheckFinding::Warning(text) => text,
        };
        (report.verdict, report.findings.into_iter().map(text).collect())
    }

    #[test]
    fn an_address_of_this_machine_is_free_or_in_use_and_no_other_can_be_had() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = |address: SocketAddr| found(&Pool { listen: Listen::Tcp(address), ..sample::pool() });
        let address = listener.local_addr().unwrap();
        let in_use = format!("pool: {address} is in use, by a pgtether that runs or by another program");
        assert_eq!(at(address), (Verdict::Ok, vec![in_use.clone()]));
        let everywhere = SocketAddr::from(([0, 0, 0, 0], address.port()));
        let everywhere_in_use = in_use.replace("127.0.0.1", "0.0.0.0");
        assert_eq!(at(everywhere), (Verdict::Ok, vec![everywhere_in_use]));
        drop(listener);
        assert_eq!(at(address), (Verdict::Ok, vec![]));
        let (verdict, texts) = at("192.0.2.7:6432".parse().unwrap());
        assert_eq!(verdict, Verdict::Warning);
        assert!(texts[0].starts_with("pool: it cannot listen on 192.0.2.7:6432: "), "{texts:?}");
    }

    #[test]
    fn a_socket_needs_its_folder_and_replaces_nothing_but_sockets() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &Path| found(&Pool { listen: Listen::Unix(path.to_owned()), ..sample::pool() });
        let path = folder.path().join("sub/.s.PGSQL.6432");
        let (verdict, texts) = at(&path);
        assert_eq!(verdict, Verdict::Warning);
        assert!(
            texts[0].starts_with("pool: there is no folder ") && texts[0].contains("/sub: "),
            "{texts:?}"
        );
        fs::create_dir(folder.path().join("sub")).unwrap();
        assert_eq!(at(&path), (Verdict::Ok, vec![]));
        let _listener = UnixListener::bind(&path).unwrap();
        assert_eq!(at(&path), (Verdict::Ok, vec![]), "one that was left behind, or a pgtether that runs");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        let (verdict, texts) = at(&path);
        assert_eq!(verdict, Verdict::Warning);
        assert!(texts[0].ends_with("is there already and is no socket"), "{texts:?}");
    }

    #[test]
    fn a_certificate_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        fs::write(&cert, "").unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let tls = ClientTls::Files { cert, key: key.clone() };
        let (verdict, texts) = found(&Pool { tls, listen: Listen::Tcp(free), ..sample::pool() });
        let expected = format!(
            "pool: cannot read pool.tls.key_file {}: No such file or directory (os error 2)",
            key.display()
        );
        assert_eq!((verdict, texts), (Verdict::Warning, vec![expected]));
    }
}
