//! The certificates that pools show, read from their files. That may last, so it is done on a blocking thread and never
//! on the pools' own.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::handshake::Acceptor;
use crate::target::pool::ClientTls;

/// A chain of certificates stays far below.
const LONGEST: u64 = 1 << 20;

/// What a pool's files say; nothing where it names none. The error names the file.
pub type Certificate = Result<Option<Arc<Acceptor>>, String>;

/// Blocks for as long as the disk does.
pub fn read(tls: &ClientTls) -> Certificate {
    let ClientTls::Files { cert, key } = tls else {
        return Ok(None);
    };
    let acceptor = Acceptor::from_pem(&content(cert)?, &content(key)?);
    acceptor.map(|acceptor| Some(Arc::new(acceptor))).map_err(|error| format!("{}: {error}", cert.display()))
}

fn content(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let told = |error| format!("{}: {error}", path.display());
    let mut content = Zeroizing::new(Vec::new());
    File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut content))
        .map_err(|e| told(e.to_string()))?;
    if content.len() as u64 > LONGEST {
        return Err(told(format!("more than {LONGEST} bytes are no certificate and no key")));
    }
    Ok(content)
}
