//! Certificates for one test: made when asked for, trusted by nobody else.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pgtether::demo::postgres::Setup;
use postgres_native_tls::MakeTlsConnector;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

/// An authority, in PEM.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
pub struct Leaf {
    pub cert: String,
    pub key: String,
}

/// When a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// From yesterday, for that long.
    For(Duration),
    /// It ended an hour ago.
    Expired,
}

pub const DAY: Duration = Duration::from_secs(24 * 3600);

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, Validity::For(DAY * 30));
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Authority { issuer }
    }

    /// An authority below this one, for that long.
    pub fn intermediate(&self, name: &str, long: Duration) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, Validity::For(long));
        let issuer = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.issuer).unwrap();
        Authority { issuer }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// TLS of a client that demands a certificate of this authority.
    pub fn demanded(&self) -> MakeTlsConnector {
        let root = native_tls::Certificate::from_pem(self.pem().as_bytes()).unwrap();
        let connector = native_tls::TlsConnector::builder()
            .disable_built_in_roots(true)
            .add_root_certificate(root)
            .build()
            .unwrap();
        MakeTlsConnector::new(connector)
    }

    /// A server's certificate for `localhost`, `127.0.0.1` and `::1`.
    pub fn server(&self) -> Leaf {
        self.server_for(&["localhost", "127.0.0.1", "::1"], Validity::For(DAY * 10))
    }

    /// A server's certificate for these names and addresses.
    pub fn server_for(&self, names: &[&str], validity: Validity) -> Leaf {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "server");
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth, validity)
    }

    /// A server's certificate for whoever has this common name and these hosts, whatever is in them.
    pub fn server_named(&self, common_name: &str, hosts: &[String]) -> Leaf {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let hosts = hosts.iter().map(|host| SanType::DnsName(host.as_str().try_into().unwrap()));
        params.subject_alt_names = hosts.collect();
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth, Validity::For(DAY * 10))
    }

    /// A client's certificate; PostgreSQL's `cert` method takes its common name as the user.
    pub fn client(&self, user: &str) -> Leaf {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth, Validity::For(DAY * 10))
    }

    /// A client's certificate with one alternative name: a host, an address, an e-mail address or a URI.
    pub fn client_for(&self, name: &str) -> Leaf {
        let mut params = CertificateParams::default();
        let text = || name.try_into().unwrap();
        params.subject_alt_names = vec![match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) if name.contains("://") => SanType::URI(text()),
            Err(_) if name.contains('@') => SanType::Rfc822Name(text()),
            Err(_) => SanType::DnsName(text()),
        }];
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth, Validity::For(DAY * 10))
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
        validity: Validity,
    ) -> Leaf {
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, validity);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Leaf { cert: cert.pem(), key: key.serialize_pem() }
    }
}

impl Leaf {
    /// A certificate for `localhost` that is its own authority, signed by RSA-PSS with SHA-384.
    pub fn signed_by_rsa_pss() -> Leaf {
        use openssl::{asn1::Asn1Time, hash::MessageDigest, pkey::Id, pkey_ctx::PkeyCtx, x509};
        let mut keys = PkeyCtx::new_id(Id::RSA_PSS).unwrap();
        keys.keygen_init().unwrap();
        keys.set_rsa_keygen_bits(2048).unwrap();
        let key = keys.keygen().unwrap();
        let mut name = x509::X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", "localhost").unwrap();
        let name = name.build();
        let mut cert = x509::X509::builder().unwrap();
        cert.set_version(2).unwrap();
        cert.set_subject_name(&name).unwrap();
        cert.set_issuer_name(&name).unwrap();
        cert.set_pubkey(&key).unwrap();
        cert.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        cert.set_not_after(&Asn1Time::days_from_now(30).unwrap()).unwrap();
        let names = x509::extension::SubjectAlternativeName::new()
            .dns("localhost")
            .build(&cert.x509v3_context(None, None));
        cert.append_extension(names.unwrap()).unwrap();
        cert.sign(&key, MessageDigest::sha384()).unwrap();
        let pem = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Leaf { cert: pem(cert.build().to_pem().unwrap()), key: pem(key.private_key_to_pem_pkcs8().unwrap()) }
    }

    /// Writes `NAME.crt` and `NAME.key`, the key for our eyes only.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        use std::os::unix::fs::PermissionsExt;
        let cert = folder.join(format!("{name}.crt"));
        let key = folder.join(format!("{name}.key"));
        std::fs::write(&cert, &self.cert).unwrap();
        std::fs::write(&key, &self.key).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        (cert, key)
    }
}

/// A setup that answers TLS with `server`'s certificate and trusts clients that `authority` signed.
pub fn with_tls(setup: Setup, authority: &Authority, server: &Leaf) -> Setup {
    setup
        .file("server.crt", &server.cert)
        .file("server.key", &server.key)
        .file("ca.crt", &authority.pem())
        .set("ssl", "on")
        .set("ssl_cert_file", "server.crt")
        .set("ssl_key_file", "server.key")
        .set("ssl_ca_file", "ca.crt")
}

fn set_validity(params: &mut CertificateParams, validity: Validity) {
    let now = SystemTime::now();
    let (from, to) = match validity {
        Validity::For(long) => (now - DAY, now + long),
        Validity::Expired => (now - DAY * 2, now - Duration::from_secs(3600)),
    };
    params.not_before = from.into();
    params.not_after = to.into();
}
