//! The words of the web config file: Go's names, and what OpenSSL calls the same.

use openssl::ssl::{SslVerifyMode, SslVersion};

use crate::config::read::{At, Read, Reader};

/// What becomes of clients' certificates; the words are those of Go's `tls.ClientAuthType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum ClientAuth {
    #[default]
    NoClientCert,
    /// Asked for; any or none will do.
    RequestClientCert,
    /// None will do, but one that is shown must be good.
    VerifyClientCertIfGiven,
    /// Any will do.
    RequireAnyClientCert,
    RequireAndVerifyClientCert,
}

impl ClientAuth {
    pub const fn as_str(self) -> &'static str {
        match self {
            ClientAuth::NoClientCert => "NoClientCert",
            ClientAuth::RequestClientCert => "RequestClientCert",
            ClientAuth::VerifyClientCertIfGiven => "VerifyClientCertIfGiven",
            ClientAuth::RequireAnyClientCert => "RequireAnyClientCert",
            ClientAuth::RequireAndVerifyClientCert => "RequireAndVerifyClientCert",
        }
    }

    pub fn mode(self) -> SslVerifyMode {
        match self {
            ClientAuth::NoClientCert => SslVerifyMode::NONE,
            ClientAuth::RequestClientCert | ClientAuth::VerifyClientCertIfGiven => SslVerifyMode::PEER,
            ClientAuth::RequireAnyClientCert | ClientAuth::RequireAndVerifyClientCert => {
                SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT
            }
        }
    }

    /// Whether nobody gets in without a certificate.
    pub const fn demands(self) -> bool {
        matches!(self, ClientAuth::RequireAnyClientCert | ClientAuth::RequireAndVerifyClientCert)
    }

    /// Whether certificates that are shown are held against the authorities.
    pub const fn verifies(self) -> bool {
        matches!(self, ClientAuth::VerifyClientCertIfGiven | ClientAuth::RequireAndVerifyClientCert)
    }
}

impl Read for ClientAuth {
    fn read(at: &At<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        const ALL: [ClientAuth; 5] = [
            ClientAuth::NoClientCert,
            ClientAuth::RequestClientCert,
            ClientAuth::VerifyClientCertIfGiven,
            ClientAuth::RequireAnyClientCert,
            ClientAuth::RequireAndVerifyClientCert,
        ];
        let known = ALL.map(ClientAuth::as_str).join(", ");
        reader.single(at, "how clients are authenticated", |text| match text.trimmed() {
            // The toolkit's older word.
            "RequireClientCert" => Ok(ClientAuth::RequireAnyClientCert),
            word => ALL
                .into_iter()
                .find(|policy| policy.as_str() == word)
                .ok_or_else(|| format!("{} is not known: take one of {known}", text.shown())),
        })
    }
}

/// Versions that are still safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Tls12,
    Tls13,
}

impl Version {
    pub const fn openssl(self) -> SslVersion {
        match self {
            Version::Tls12 => SslVersion::TLS1_2,
            Version::Tls13 => SslVersion::TLS1_3,
        }
    }
}

impl Read for Version {
    fn read(at: &At<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.single(at, "TLS12 or TLS13", |text| match text.trimmed() {
            "TLS12" => Ok(Version::Tls12),
            "TLS13" => Ok(Version::Tls13),
            "TLS10" | "TLS11" => Err(format!("{} is broken and not served: take TLS12", text.shown())),
            _ => Err(format!("{} is not known: take TLS12 or TLS13", text.shown())),
        })
    }
}

/// A cipher suite: of those that Go offers, the ones with forward secrecy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cipher {
    name: &'static str,
    pub openssl: &'static str,
    pub version: Version,
}

const CIPHERS: [Cipher; 13] = [
    of_13("TLS_AES_128_GCM_SHA256"),
    of_13("TLS_AES_256_GCM_SHA384"),
    of_13("TLS_CHACHA20_POLY1305_SHA256"),
    of_12("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    of_12("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    of_12("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    of_12("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    of_12("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
    of_12("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
    of_12("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ECDHE-ECDSA-AES128-SHA"),
    of_12("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "ECDHE-ECDSA-AES256-SHA"),
    of_12("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA"),
    of_12("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA"),
];

const fn of_12(name: &'static str, openssl: &'static str) -> Cipher {
    Cipher { name, openssl, version: Version::Tls12 }
}

const fn of_13(name: &'static str) -> Cipher {
    Cipher { name, openssl: name, version: Version::Tls13 }
}

impl Read for Cipher {
    fn read(at: &At<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.single(at, "the name of a cipher suite", |text| {
            let name = text.trimmed();
            if let Some(cipher) = CIPHERS.into_iter().find(|cipher| cipher.name == name) {
                return Ok(cipher);
            }
            let distance = |cipher: &Cipher| strsim::damerau_levenshtein(cipher.name, name);
            let nearest = CIPHERS.iter().min_by_key(|cipher| distance(cipher)).filter(|c| distance(c) <= 3);
            let why = match nearest {
                _ if name.starts_with("TLS_RSA_") => {
                    "has no forward secrecy: take one that begins with TLS_ECDHE_".to_owned()
                }
                Some(cipher) => format!("is not known; did you mean {}?", cipher.name),
                None => {
                    "is not offered: take one of Go's secure ones, such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
                        .to_owned()
                }
            };
            Err(format!("{} {why}", text.shown()))
        })
    }
}

/// A group for the key exchange, as OpenSSL calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Curve(pub &'static str);

impl Read for Curve {
    fn read(at: &At<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.single(at, "the name of a curve", |text| match text.trimmed() {
            "CurveP256" => Ok(Curve("P-256")),
            "CurveP384" => Ok(Curve("P-384")),
            "CurveP521" => Ok(Curve("P-521")),
            "X25519" => Ok(Curve("X25519")),
            _ => {
                let known = "CurveP256, CurveP384, CurveP521 or X25519";
                Err(format!("{} is not offered: take {known}", text.shown()))
            }
        })
    }
}
