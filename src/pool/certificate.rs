//! The certificates that pools show, read from their files. That may last, so it is done on a blocking thread and never
//! on the pools' own.

use std::sync::Arc;

use super::handshake::Acceptor;
use crate::connection::{CERT_FILE, KEY_FILE, pool_file};
use crate::reason::{Facts, Phase};
use crate::target::pool::ClientTls;

/// What a pool's files say; nothing where it names none. The error names the file.
pub type Certificate = Result<Option<Arc<Acceptor>>, String>;

/// Blocks for as long as the disk does.
pub fn read(tls: &ClientTls) -> Certificate {
    let ClientTls::Files { cert, key } = tls else {
        return Ok(None);
    };
    let read =
        |what, path| pool_file(what, path).map_err(|cause| Facts::new(Phase::Prepare, cause).to_string());
    let acceptor = Acceptor::from_pem(&read(CERT_FILE, cert)?, &read(KEY_FILE, key)?);
    acceptor.map(|acceptor| Some(Arc::new(acceptor))).map_err(|error| format!("{}: {error}", cert.display()))
}
