//! The files of a target, read with limits: secrets that may change at any time, certificates that get renewed.
//!
//! Everything here blocks, so it is called on blocking threads. A message names the file, never what is in it.

use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use super::facts::config;
use crate::reason::{Cause, Facts, Phase};
use crate::target::conninfo::{self, Mistake};
use crate::target::pool::ClientTls;
use crate::target::{Endpoint, PasswordSource, Secret, SecretFile, Source, Target, Tls};

/// A connection string or a password.
const MAX_SECRET: u64 = 64 << 10;
/// A bundle of certificates: a distribution's whole set stays below 300 KiB.
const MAX_CERTIFICATES: u64 = 4 << 20;

pub type Content = Zeroizing<Vec<u8>>;

/// What the files held: to use, and to hash.
#[derive(Default)]
pub struct Contents {
    url: Option<Result<Content, Cause>>,
    password: Option<Result<Content, Cause>>,
}

/// The certificate files of a connection string.
#[derive(Default)]
pub struct Certificates {
    pub roots: Option<Content>,
    pub cert: Option<Content>,
    pub key: Option<Content>,
}

impl Contents {
    pub fn read(target: &Target) -> Self {
        let url = match &target.source {
            Source::Inline(_) => None,
            Source::File(path) => Some(read_secret("url_file", path)),
        };
        let password = match &target.password {
            PasswordSource::File(path) => Some(read_secret("password_file", path)),
            PasswordSource::Url | PasswordSource::Command(_) => None,
        };
        Contents { url, password }
    }

    /// The connection string with the password that belongs to it.
    pub fn endpoint(&self, target: &Target) -> Result<Endpoint, Cause> {
        let mut endpoint = self.connection_string(target)?;
        if let Some(password) = self.password(target)? {
            endpoint.password = Some(password);
        }
        Ok(endpoint)
    }

    fn connection_string(&self, target: &Target) -> Result<Endpoint, Cause> {
        let endpoint = match (&target.source, &self.url) {
            (Source::Inline(endpoint), _) => endpoint.as_ref().clone(),
            (Source::File(path), Some(content)) => {
                parse(path.path(), content.as_ref().map_err(Cause::clone)?)?
            }
            (Source::File(_), None) => return Err(config("url_file was not read")),
        };
        if target.password.is_command() && endpoint.password.is_some() {
            return Err(config(
                "the connection string in url_file has a password, and password_command gives one, too: remove one of \
                 them",
            ));
        }
        Ok(endpoint)
    }

    fn password(&self, target: &Target) -> Result<Option<Secret>, Cause> {
        match (&target.password, &self.password) {
            (PasswordSource::File(path), Some(content)) => {
                password(path.path(), content.as_ref().map_err(Cause::clone)?).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What there is to compare; a file that cannot be read differs from every one that can.
    pub fn bytes(&self) -> [Option<&[u8]>; 2] {
        [&self.url, &self.password].map(|file| file.as_ref()?.as_ref().ok().map(|content| content.as_slice()))
    }
}

impl Certificates {
    /// Only those that the mode uses.
    pub fn read(tls: &Tls) -> Result<Self, Cause> {
        let mut found = Certificates::default();
        for (parameter, path) in tls.files() {
            let slot = match parameter {
                "sslrootcert" => &mut found.roots,
                "sslcert" => &mut found.cert,
                _ => &mut found.key,
            };
            *slot = Some(Self::read_one(parameter, path)?);
        }
        Ok(found)
    }

    fn read_one(parameter: &str, path: &Path) -> Result<Content, Cause> {
        let limit = if parameter == "sslkey" { MAX_SECRET } else { MAX_CERTIFICATES };
        read(parameter, path, limit)
    }
}

impl Hash for Certificates {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for file in [&self.roots, &self.cert, &self.key] {
            file.as_ref().map(|content| content.as_slice()).hash(state);
        }
    }
}

/// What is wrong with the files of a target, read as for a login, and with those of its pool: each by the key that names the
/// file, relative to the target.
pub fn mistakes_in_files(target: &Target) -> Vec<(&'static str, String)> {
    let contents = Contents::read(target);
    let string_key = match &target.source {
        Source::Inline(_) => "url",
        Source::File(_) => "url_file",
    };
    let string = contents.connection_string(target);
    let tls = string.as_ref().ok().map(|endpoint| &endpoint.tls);
    let certificates = tls.into_iter().flat_map(Tls::files);
    let certificates = certificates.map(|(parameter, path)| Certificates::read_one(parameter, path));
    let of_string = certificates.filter_map(Result::err).chain(string.as_ref().err().cloned());
    let of_password = contents.password(target).err();
    let of_pool = match target.pool.as_deref().map(|pool| &pool.tls) {
        Some(ClientTls::Files { cert, key }) => {
            vec![(CERT_FILE, pool_file(CERT_FILE, cert)), (KEY_FILE, pool_file(KEY_FILE, key))]
        }
        Some(ClientTls::SelfSigned | ClientTls::Off) | None => Vec::new(),
    };
    let found = of_string.map(|cause| (string_key, cause));
    let found = found.chain(of_password.map(|cause| ("password_file", cause)));
    let found = found.chain(of_pool.into_iter().filter_map(|(key, file)| Some((key, file.err()?))));
    found.map(|(key, cause)| (key, Facts::new(Phase::Prepare, cause).to_string())).collect()
}

/// The keys of a pool's certificate and its key.
pub const CERT_FILE: &str = "pool.tls.cert_file";
pub const KEY_FILE: &str = "pool.tls.key_file";

/// A file of a pool's TLS.
pub fn pool_file(what: &str, path: &Path) -> Result<Content, Cause> {
    read(what, path, MAX_CERTIFICATES)
}

fn parse(path: &Path, content: &Content) -> Result<Endpoint, Cause> {
    let file = path.display();
    let Ok(text) = std::str::from_utf8(content) else {
        return Err(config(format!("url_file {file} is not UTF-8 text")));
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(config(format!("url_file {file} is empty")));
    }
    let listed = |problems: Vec<Mistake>| {
        let each: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
        config(format!("url_file {file}: {}", each.join("; ")))
    };
    Ok(conninfo::parse(text).map_err(listed)?.endpoint)
}

fn password(path: &Path, content: &Content) -> Result<Secret, Cause> {
    let file = path.display();
    let line = content.strip_suffix(b"\n").unwrap_or(content);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(config(format!("password_file {file} is empty")));
    }
    if line.contains(&0) {
        return Err(config(format!("password_file {file} holds a NUL byte, which no password can")));
    }
    Ok(Secret::new(line))
}

/// Of what is no file, and may be the secret itself in the place of a path, nothing is shown.
fn read_secret(what: &str, file: &SecretFile) -> Result<Content, Cause> {
    if file.shown().is_none() {
        return Err(config(format!("{what} {}", SecretFile::NO_FILE)));
    }
    read(what, file.path(), MAX_SECRET)
}

/// Regular files only: a pipe or a device could keep its thread for ever.
fn read(what: &str, path: &Path, limit: u64) -> Result<Content, Cause> {
    let failed = |error| config(format!("cannot read {what} {}: {error}", path.display()));
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(config(format!("{what} {} is not a regular file", path.display())));
    }
    let file = File::open(path).map_err(failed)?;
    // Room for all of it at once: a growing buffer would leave pieces of a secret behind.
    let expected = file.metadata().map_err(failed)?.len().min(limit) as usize;
    let mut content = Zeroizing::new(Vec::with_capacity(expected + 1));
    file.take(limit + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > limit {
        return Err(config(format!("{what} {} is larger than {} KiB", path.display(), limit >> 10)));
    }
    Ok(content)
}
