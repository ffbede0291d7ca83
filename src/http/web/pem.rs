//! Certificates and keys in PEM, of a file or of the web config file itself. A message never shows what was read.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

use crate::target::{Secret, is_no_path};

/// A bundle of every public authority is a third of it.
const MAX_BYTES: u64 = 1 << 20;

/// PEM, and where it came from.
#[derive(Debug)]
pub struct PemSource {
    /// The key of the web config file that has it, or names it.
    pub at: String,
    /// The file's name, if it is one.
    name: Option<String>,
    pem: Secret,
}

impl PemSource {
    pub fn inline(at: String, pem: Secret) -> Self {
        PemSource { at, name: None, pem }
    }

    /// Reads a file, which blocks.
    pub fn file(at: String, path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        if is_no_path(&name) {
            return Err(
                "takes the path of a file, and this is what belongs in it (not shown, it may hold a secret)"
                    .to_owned(),
            );
        }
        match read(path) {
            Ok(pem) => Ok(PemSource { at, name: Some(name), pem }),
            Err(message) => Err(format!("{name} {message}")),
        }
    }

    /// A message about it.
    pub fn says(&self, message: &str) -> String {
        match &self.name {
            Some(name) => format!("{name} {message}"),
            None => message.to_owned(),
        }
    }

    /// At least one.
    pub fn certificates(&self) -> Result<Vec<X509>, String> {
        match X509::stack_from_pem(self.pem.expose()) {
            Ok(found) if found.is_empty() => Err(self.says("holds no certificate in PEM")),
            Ok(found) => Ok(found),
            Err(_) => Err(self.says("holds a certificate that cannot be read")),
        }
    }

    pub fn key(&self) -> Result<PKey<Private>, String> {
        let mut asked = false;
        // Without the callback OpenSSL would ask at the terminal.
        let key = PKey::private_key_from_pem_callback(self.pem.expose(), |_| {
            asked = true;
            Ok(0)
        });
        key.map_err(|_| match asked {
            true => self.says("is locked by a passphrase: `openssl pkey` writes it without"),
            false => self.says("holds no private key in PEM"),
        })
    }
}

fn read(path: &Path) -> Result<Secret, String> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    let pem = Secret::new(bytes);
    match read {
        Ok(_) if pem.expose().len() as u64 > MAX_BYTES => {
            Err(format!("is larger than {} MiB: is this the right file?", MAX_BYTES >> 20))
        }
        Ok(_) => Ok(pem),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound => "is not there".to_owned(),
            io::ErrorKind::PermissionDenied => "cannot be read: permission denied".to_owned(),
            io::ErrorKind::IsADirectory => "is a folder".to_owned(),
            _ => format!("cannot be read: {error}"),
        }),
    }
}
