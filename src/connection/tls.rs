//! TLS to a server: the question whether it has it, the handshake, and what the certificate tells.
//!
//! Knows nothing of startup packets or queries. Connectors are costly (they read the system's certificates), so one
//! is shared by all targets that want the same.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use native_tls::{Certificate, Identity, Protocol, TlsConnector, TlsConnectorBuilder};
use openssl::pkey::PKey;
use openssl::x509::X509;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::facts::{config, io_cause, server, tls_cause};
use super::files::Certificates;
use super::hello::Sniffer;
use super::shown;
use super::tap::Stream;
use crate::blocking::BlockingCalls;
use crate::protocol::frontend::{SSL_REQUEST, packet};
use crate::protocol::{self, ErrorFields};
use crate::reason::Cause;
use crate::target::{Secret, SslMode, SslNegotiation, Tls, TlsVersion};

/// After that long a connector is built anew, so that an updated trust store of the system is picked up.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// An error in answer to the request for TLS is read up to here.
const MAX_ERROR: u32 = 8192;

/// Connectors that are ready to use, each found by what went into it.
#[derive(Default)]
pub struct Connectors {
    hasher: RandomState,
    /// Held while one is built, so that a hundred targets that start at once build it once.
    built: Mutex<HashMap<u64, (TlsConnector, Instant)>>,
}

/// A stream under TLS, and what the handshake told.
pub struct Handshake {
    pub stream: Stream,
    /// The hash of the server's certificate, for SCRAM's channel binding.
    pub end_point: Option<Vec<u8>>,
    pub version: Option<String>,
    /// When the server's certificate ends.
    pub expiry: Option<SystemTime>,
}

impl Connectors {
    /// The connector for these settings; the files are read each time, so that a renewed certificate counts at once.
    pub async fn get(&self, tls: &Tls, calls: &BlockingCalls) -> Result<TlsConnector, Cause> {
        let wanted = tls.clone();
        let files = match tls.has_files() {
            true => calls.run(move || Certificates::read(&wanted)).await??,
            false => Certificates::default(),
        };
        let key = self.hasher.hash_one((tls, &files));
        let mut built = self.built.lock().await;
        built.retain(|_, (_, since)| since.elapsed() < MAX_AGE);
        if let Some((connector, _)) = built.get(&key) {
            return Ok(connector.clone());
        }
        let wanted = tls.clone();
        let connector = calls.run(move || build(&wanted, &files)).await??;
        built.insert(key, (connector.clone(), Instant::now()));
        Ok(connector)
    }
}

/// Whether the server has TLS. The one byte is read alone: whatever else came with it would be unprotected.
pub async fn request(socket: &mut Stream, password: Option<&Secret>) -> Result<bool, Cause> {
    socket.write_all(&packet(SSL_REQUEST, b"")).await.map_err(|e| io_cause(&e))?;
    match socket.read_u8().await.map_err(|e| io_cause(&e))? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        b'E' => Err(error_instead(socket, password).await),
        other => Err(Cause::Protocol {
            message: format!("the request for TLS was answered with byte 0x{other:02x}"),
        }),
    }
}

/// A server or pooler that is full says so even before TLS.
async fn error_instead(socket: &mut Stream, password: Option<&Secret>) -> Cause {
    let unreadable = Cause::Protocol {
        message: "the request for TLS was answered with an error that cannot be read".to_owned(),
    };
    let Ok(length @ 5..MAX_ERROR) = socket.read_u32().await else {
        return unreadable;
    };
    let mut body = vec![0; length as usize - 4];
    match socket.read_exact(&mut body).await {
        Ok(_) => server(ErrorFields::read(&body), password),
        Err(_) => unreadable,
    }
}

/// The handshake. `host` is what the certificate must name, where the mode verifies that, and what SNI sends.
pub async fn handshake(
    connector: TlsConnector,
    socket: Stream,
    host: &str,
    tls: &Tls,
) -> Result<Handshake, Cause> {
    let connector = tokio_native_tls::TlsConnector::from(connector);
    let mut stream = connector.connect(host, Sniffer::new(socket)).await.map_err(|e| tls_cause(&e))?;
    let session = stream.get_mut();
    let spoken = session.negotiated_alpn().ok().flatten();
    if tls.negotiation == SslNegotiation::Direct && spoken.as_deref() != Some(protocol::ALPN) {
        return Err(Cause::Tls {
            message: "the server did not agree on \"postgresql\" by ALPN, as sslnegotiation=direct demands \
                      (PostgreSQL 17 and later can)"
                .to_owned(),
        });
    }
    let certificate = session.peer_certificate().ok().flatten();
    Ok(Handshake {
        end_point: session.tls_server_end_point().ok().flatten(),
        version: session.get_mut().get_mut().version(),
        expiry: certificate.and_then(|leaf| expiry(&leaf)),
        stream: Box::new(stream),
    })
}

fn expiry(certificate: &Certificate) -> Option<SystemTime> {
    let leaf = X509::from_der(&certificate.to_der().ok()?).ok()?;
    shown::time(leaf.not_after())
}

fn build(tls: &Tls, files: &Certificates) -> Result<TlsConnector, Cause> {
    let mut builder = TlsConnector::builder();
    let verifies = matches!(tls.mode, SslMode::VerifyCa | SslMode::VerifyFull);
    builder
        .danger_accept_invalid_certs(!verifies)
        // The system's roots take 5 MB: nobody pays for them who does not use them.
        .disable_built_in_roots(!verifies || files.roots.is_some())
        .danger_accept_invalid_hostnames(tls.mode != SslMode::VerifyFull)
        .use_sni(tls.sni)
        .min_protocol_version(Some(protocol(tls.min_version)))
        .max_protocol_version(tls.max_version.map(protocol));
    if let Some(pem) = &files.roots {
        add_roots(&mut builder, pem)?;
    }
    if let (Some(cert), Some(key)) = (&files.cert, &files.key) {
        builder.identity(identity(cert, key)?);
    }
    if tls.negotiation == SslNegotiation::Direct {
        postgres_native_tls::set_postgresql_alpn(&mut builder);
    }
    let refused = |e| config(format!("these TLS settings cannot be used: {e}"));
    builder.build().map_err(refused)
}

fn add_roots(builder: &mut TlsConnectorBuilder, pem: &[u8]) -> Result<(), Cause> {
    let roots = Certificate::stack_from_pem(pem).unwrap_or_default();
    if roots.is_empty() {
        return Err(config("sslrootcert holds no certificate in PEM form"));
    }
    for root in roots {
        builder.add_root_certificate(root);
    }
    Ok(())
}

/// native-tls takes keys in PKCS#8 only; people have all kinds.
fn identity(cert: &[u8], key: &[u8]) -> Result<Identity, Cause> {
    let leaf = X509::from_pem(cert).map_err(|_| config("sslcert holds no certificate in PEM form"))?;
    // An empty passphrase, because OpenSSL would ask for one on the terminal.
    let key = PKey::private_key_from_pem_passphrase(key, b"")
        .map_err(|_| config("sslkey holds no private key in PEM form that opens without a passphrase"))?;
    let belongs = leaf.public_key().is_ok_and(|public| public.public_eq(&key));
    if !belongs {
        return Err(config("sslkey is not the key of the certificate in sslcert"));
    }
    let pem = key.private_key_to_pem_pkcs8().map_err(|e| config(format!("sslkey cannot be used: {e}")))?;
    let pem = zeroize::Zeroizing::new(pem);
    Identity::from_pkcs8(cert, &pem).map_err(|e| config(format!("sslcert and sslkey cannot be used: {e}")))
}

fn protocol(version: TlsVersion) -> Protocol {
    match version {
        TlsVersion::V1_0 => Protocol::Tlsv10,
        TlsVersion::V1_1 => Protocol::Tlsv11,
        TlsVersion::V1_2 => Protocol::Tlsv12,
        TlsVersion::V1_3 => Protocol::Tlsv13,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::conninfo;

    fn tls(query: &str) -> Tls {
        conninfo::parse(&format!("postgresql://u@db.example/d?{query}")).unwrap().endpoint.tls
    }

    #[tokio::test]
    async fn one_connector_serves_all_that_want_the_same() {
        let (connectors, calls) = (Connectors::default(), BlockingCalls::new(4));
        let wanted = tls("sslmode=require");
        let all = (0..20).map(|_| connectors.get(&wanted, &calls));
        let got = futures_util::future::join_all(all).await;
        assert!(got.iter().all(Result::is_ok));
        assert_eq!(connectors.built.lock().await.len(), 1);
        connectors.get(&tls("sslmode=require&sslsni=0"), &calls).await.unwrap();
        assert_eq!(connectors.built.lock().await.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connector_of_yesterday_is_forgotten() {
        let (connectors, calls) = (Connectors::default(), BlockingCalls::new(4));
        connectors.get(&tls("sslmode=require"), &calls).await.unwrap();
        tokio::time::advance(MAX_AGE).await;
        connectors.get(&tls("sslmode=require&sslsni=0"), &calls).await.unwrap();
        assert_eq!(connectors.built.lock().await.len(), 1);
    }
}
