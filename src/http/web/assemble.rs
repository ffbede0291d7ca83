//! From the keys of the web config file to [`Rules`]: files are read, certificate and key belong together, values fit.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hyper::header::{HeaderName, HeaderValue};
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

use super::Rules;
use super::file::{self, HEADERS, Headers, HttpKeys, Pem, RateKeys, TlsKeys, WebDocument};
use super::limit::RateLimit;
use super::pem::PemSource;
use super::tls::{Parts, WebTls, validity, why};
use super::users::KnownUsers;
use super::words::{ClientAuth, Version};
use crate::config::read::{At, Items, Read, Reader};
use crate::config::values::Flag;
use crate::config::{Env, Problem, Problems, text_of, tree};

const TLS: &str = "tls_server_config";

/// What reading the file gave, and which files were a part of it, whether or not they could be read.
#[derive(Debug)]
pub struct ReadRules {
    pub rules: Result<Rules, Problems>,
    pub files: Vec<PathBuf>,
}

/// Reads the file and what it names. Blocks on the file system.
pub fn read(path: &Path, env: Env<'_>, now: SystemTime) -> ReadRules {
    let origin = path.display().to_string();
    let mut assembly = RulesBuilder {
        reader: Reader::new(&origin, env),
        folder: path.parent().unwrap_or(Path::new("")),
        files: vec![path.to_owned()],
        warnings: Vec::new(),
        now,
    };
    let rules = match text_of(path, "--web.config.file") {
        Ok(text) => assembly.rules(&text),
        Err(problems) => return ReadRules { rules: Err(problems), files: assembly.files },
    };
    let RulesBuilder { reader, files, warnings, .. } = assembly;
    let rules = match reader.problems.is_empty() {
        true => Ok(Rules { warnings, ..rules }),
        false => Err(Problems::new(reader.problems)),
    };
    ReadRules { rules, files }
}

struct RulesBuilder<'a> {
    reader: Reader<'a>,
    folder: &'a Path,
    files: Vec<PathBuf>,
    warnings: Vec<Problem>,
    now: SystemTime,
}

impl RulesBuilder<'_> {
    /// Good for nothing where there are problems.
    fn rules(&mut self, text: &str) -> Rules {
        let (root, wrong) = tree::parse(text);
        for wrong in wrong {
            self.reader.wrong_yaml(wrong);
        }
        let document = match &root {
            Some(node) if !node.is_null() => WebDocument::read(&At::root(node), &mut self.reader),
            _ => None,
        };
        let WebDocument { tls_server_config, http_server_config, basic_auth_users, rate_limit } =
            document.unwrap_or_default();
        let tls =
            tls_server_config.filter(|keys| *keys != TlsKeys::default()).and_then(|keys| self.tls(keys));
        let headers = http_server_config.map(|keys| self.http(keys, tls.is_some())).unwrap_or_default();
        let users = basic_auth_users.map(|users| users.0).filter(|users| !users.is_empty());
        if users.is_some() && tls.is_none() {
            self.warn("basic_auth_users", "without tls_server_config passwords cross the network readably");
        }
        let users = users.and_then(|users| match KnownUsers::new(users) {
            Ok(users) => Some(users),
            Err(error) => {
                self.error("basic_auth_users", format!("OpenSSL has no randomness: {}", why(&error)))
            }
        });
        let rate = rate_limit.and_then(|keys| self.rate(&keys));
        let open = tls.is_none() && users.is_none() && headers.is_empty() && rate.is_none();
        if open && self.reader.problems.is_empty() {
            self.warn("", "asks for nothing: no TLS, no users, no headers, no limit");
        }
        Rules { tls, users, headers, rate, warnings: Vec::new() }
    }

    /// Always `None`, which stands for what is wrong.
    fn error<T>(&mut self, path: &str, message: impl Into<String>) -> Option<T> {
        let problem = self.reader.places.at_path(path, message);
        self.reader.problems.push(problem);
        None
    }

    fn warn(&mut self, path: &str, message: impl Into<String>) {
        let problem = self.reader.places.at_path(path, message);
        self.warnings.push(problem);
    }

    fn tls(&mut self, keys: TlsKeys) -> Option<WebTls> {
        let client_auth = keys.client_auth_type.unwrap_or_default();
        let chain = self.pem("cert", keys.cert, keys.cert_file, true).and_then(|pem| self.chain(&pem));
        let key = self.pem("key", keys.key, keys.key_file, true);
        let key = key.and_then(|pem| self.good(&pem, pem.key()));
        let client_ca = self.pem("client_ca", keys.client_ca, keys.client_ca_file, false);
        let client_ca = client_ca.map(|pem| self.good(&pem, pem.certificates()).unwrap_or_default());
        let allowed_sans = values(keys.client_allowed_sans).map(|line| line.0).collect::<Vec<_>>();
        self.check_clients(client_auth, client_ca.is_some(), !allowed_sans.is_empty());
        let versions =
            (keys.min_version.unwrap_or(Version::Tls12), keys.max_version.unwrap_or(Version::Tls13));
        if versions.0 > versions.1 {
            self.error::<()>(&at("min_version"), "is above max_version");
        }
        let ciphers = values(keys.cipher_suites).collect::<Vec<_>>();
        if versions.0 == Version::Tls12
            && !ciphers.is_empty()
            && ciphers.iter().all(|cipher| cipher.version == Version::Tls13)
        {
            let message = "holds no suite of TLS 1.2: add one, or write min_version: TLS13";
            self.error::<()>(&at("cipher_suites"), message);
        }
        let (chain, key) = (chain?, key?);
        self.check_pair(chain.first()?, &key)?;
        let parts = Parts {
            chain,
            key,
            client_auth,
            client_ca: client_ca.unwrap_or_default(),
            allowed_sans,
            versions,
            ciphers,
            server_decides: keys.prefer_server_cipher_suites != Some(Flag(false)),
            curves: values(keys.curve_preferences).collect(),
        };
        let built = WebTls::new(parts);
        built.map_err(|error| self.error::<()>(TLS, format!("OpenSSL refuses it: {}", why(&error)))).ok()
    }

    fn check_clients(&mut self, policy: ClientAuth, with_ca: bool, with_sans: bool) {
        let word = policy.as_str();
        let named_ca =
            if self.reader.places.names(&at("client_ca")) { "client_ca" } else { "client_ca_file" };
        if policy.verifies() && !with_ca && !self.reader.places.names(&at(named_ca)) {
            let message =
                format!("{word} needs client_ca_file: the authorities to hold certificates against");
            self.error::<()>(&at("client_auth_type"), message);
        }
        if policy == ClientAuth::NoClientCert && with_ca && !self.wrong("client_auth_type") {
            let message =
                "nobody is asked for a certificate: write client_auth_type: RequireAndVerifyClientCert";
            self.error::<()>(&at(named_ca), message);
        }
        if with_sans && !policy.demands() && !self.wrong("client_auth_type") {
            let message = format!(
                "with {word} clients come in without a certificate: write client_auth_type: RequireAndVerifyClientCert"
            );
            self.error::<()>(&at("client_allowed_sans"), message);
        }
        let advice = match policy {
            ClientAuth::NoClientCert | ClientAuth::RequireAndVerifyClientCert => return,
            ClientAuth::VerifyClientCertIfGiven => "lets in who shows no certificate",
            ClientAuth::RequestClientCert => "lets in everybody",
            ClientAuth::RequireAnyClientCert => "lets in any certificate, and anybody can make one",
        };
        let message = format!("{word} {advice}: RequireAndVerifyClientCert protects");
        self.warn(&at("client_auth_type"), message);
    }

    /// Whether a key of TLS is there and has its problem already.
    fn wrong(&self, key: &str) -> bool {
        self.reader.problems.iter().any(|problem| problem.path == at(key))
    }

    /// What stands in the file itself or in one that it names.
    fn pem(
        &mut self,
        key: &str,
        inline: Option<Pem>,
        file: Option<file::Path>,
        required: bool,
    ) -> Option<PemSource> {
        let file_key = format!("{key}_file");
        match (inline, file) {
            (Some(_), Some(_)) => self.error(&at(&file_key), format!("{key} is there too: take one of them")),
            (Some(Pem(pem)), None) => Some(PemSource::inline(at(key), pem)),
            (None, Some(file::Path(path))) => {
                let path = self.folder.join(path);
                let source = PemSource::file(at(&file_key), &path);
                self.files.push(path);
                match source {
                    Ok(source) => Some(source),
                    Err(message) => self.error(&at(&file_key), message),
                }
            }
            (None, None) => {
                if required
                    && !self.reader.places.names(&at(key))
                    && !self.reader.places.names(&at(&file_key))
                {
                    let what = if key == "key" { "key" } else { "certificate" };
                    self.error::<()>(TLS, format!("has no {what}: write `{file_key}: …`"));
                }
                None
            }
        }
    }

    fn good<T>(&mut self, source: &PemSource, parsed: Result<T, String>) -> Option<T> {
        match parsed {
            Ok(parsed) => Some(parsed),
            Err(message) => self.error(&source.at, message),
        }
    }

    fn chain(&mut self, source: &PemSource) -> Option<Vec<X509>> {
        let chain = self.good(source, source.certificates())?;
        if let Err(matter) = validity(chain.first()?, self.now) {
            self.warn(&source.at, source.says(matter));
        }
        Some(chain)
    }

    fn check_pair(&mut self, leaf: &X509, key: &PKey<Private>) -> Option<()> {
        match leaf.public_key() {
            Ok(public) if public.public_eq(key) => Some(()),
            _ => {
                let path = if self.reader.places.names(&at("key")) { at("key") } else { at("key_file") };
                self.error(&path, "is not the key of the certificate")
            }
        }
    }

    fn http(&mut self, keys: HttpKeys, with_tls: bool) -> Vec<(HeaderName, HeaderValue)> {
        if keys.http2 == Some(Flag(true)) {
            self.warn("http_server_config.http2", "changes nothing: HTTP/1.1 is what is served");
        }
        let mut headers = Vec::new();
        for (name, text) in keys.headers.map(|Headers(headers)| headers).unwrap_or_default() {
            let path = format!("http_server_config.headers.{name}");
            let allowed = HEADERS.iter().find(|(known, _)| *known == name).map_or(&[][..], |known| known.1);
            if !allowed.is_empty() && !allowed.contains(&text.to_ascii_lowercase().as_str()) {
                self.error::<()>(&path, format!("takes {} only", allowed.join(" or ")));
                continue;
            }
            if name == "Strict-Transport-Security" && !with_tls {
                self.warn(&path, "browsers ignore it without TLS");
            }
            match (HeaderName::try_from(name), HeaderValue::try_from(text)) {
                (Ok(name), Ok(value)) => headers.push((name, value)),
                _ => self.error(&path, "takes one line of printable characters").unwrap_or_default(),
            }
        }
        headers
    }

    fn rate(&mut self, keys: &RateKeys) -> Option<RateLimit> {
        match (keys.interval.as_ref().map(|interval| interval.0), keys.burst) {
            (Some(interval), _) if interval.is_zero() => None,
            (Some(interval), Some(burst)) => Some(RateLimit::new(interval, burst.0)),
            (Some(_), None) if !self.reader.places.names("rate_limit.burst") => self
                .error("rate_limit", "has no burst: write how many requests may come at once, `burst: 20`"),
            (None, Some(_)) if !self.reader.places.names("rate_limit.interval") => {
                self.warn("rate_limit.burst", "limits nothing without interval");
                None
            }
            _ => None,
        }
    }
}

fn at(key: &str) -> String {
    tree::join(TLS, key)
}

/// What could be read of a list.
fn values<T>(items: Option<Items<T>>) -> impl Iterator<Item = T> {
    items.into_iter().flat_map(|items| items.0).flatten()
}
