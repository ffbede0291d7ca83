//! TLS to a server: the question whether it has it, the handshake, and what the certificate tells.
//!
//! Knows nothing of startup packets or queries. Connectors are costly (they read the system's certificates), so one
//! is shared by all targets that want the same.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslConnector, SslConnectorBuilder, SslMethod, SslRef, SslVerifyMode, SslVersion};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_openssl::SslStream;

use super::binding;
use super::facts::{config, io_cause, server, tls_cause};
use super::files::Certificates;
use super::shown::{self, CertificateRefusal};
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
    built: Mutex<HashMap<u64, (SslConnector, Instant)>>,
}

/// A stream under TLS, and what the handshake told.
pub struct Handshake {
    pub stream: Stream,
    /// The hash of the server's certificate, for SCRAM's channel binding.
    pub end_point: Option<Vec<u8>>,
    pub version: &'static str,
    /// When the first of the server's certificates ends.
    pub expiry: Option<SystemTime>,
}

impl Connectors {
    /// The connector for these settings; the files are read each time, so that a renewed certificate counts at once.
    pub async fn get(&self, tls: &Tls, calls: &BlockingCalls) -> Result<SslConnector, Cause> {
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
    connector: SslConnector,
    socket: Stream,
    host: &str,
    tls: &Tls,
) -> Result<Handshake, Cause> {
    let unusable = |error: ErrorStack| config(format!("TLS cannot be begun: {error}"));
    let refusal = CertificateRefusal::default();
    let ssl = client(&connector, host, tls, &refusal).map_err(unusable)?;
    let mut stream = SslStream::new(ssl, socket).map_err(unusable)?;
    if let Err(error) = Pin::new(&mut stream).connect().await {
        return Err(refusal.explain(tls_cause(&error), host));
    }
    let session = stream.ssl();
    if tls.negotiation == SslNegotiation::Direct && session.selected_alpn_protocol() != Some(protocol::ALPN) {
        return Err(Cause::tls(
            "the server did not agree on \"postgresql\" by ALPN, as sslnegotiation=direct demands \
             (PostgreSQL 17 and later can)",
        ));
    }
    Ok(Handshake {
        end_point: session.peer_certificate().and_then(|leaf| binding::end_point(&leaf)),
        version: session.version_str(),
        expiry: first_expiry(session),
        stream: Box::new(stream),
    })
}

/// The settings of one connection; why its verification failed is noted in `refusal`.
fn client(
    connector: &SslConnector,
    host: &str,
    tls: &Tls,
    refusal: &CertificateRefusal,
) -> Result<Ssl, ErrorStack> {
    let mut settings = connector
        .configure()?
        .use_server_name_indication(tls.sni)
        .verify_hostname(tls.mode == SslMode::VerifyFull);
    match verifies(tls) {
        true => settings.set_verify_callback(SslVerifyMode::PEER, refusal.noting()),
        false => settings.set_verify(SslVerifyMode::NONE),
    }
    settings.into_ssl(host)
}

fn verifies(tls: &Tls) -> bool {
    matches!(tls.mode, SslMode::VerifyCa | SslMode::VerifyFull)
}

/// When the first certificate of the chain that the server showed ends.
fn first_expiry(session: &SslRef) -> Option<SystemTime> {
    let ends = session.peer_cert_chain()?.iter().filter_map(|one| shown::time(one.not_after()));
    ends.min()
}

fn build(tls: &Tls, files: &Certificates) -> Result<SslConnector, Cause> {
    let refused = |e: ErrorStack| config(format!("these TLS settings cannot be used: {e}"));
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(refused)?;
    builder.set_min_proto_version(Some(version(tls.min_version))).map_err(refused)?;
    builder.set_max_proto_version(tls.max_version.map(version)).map_err(refused)?;
    match &files.roots {
        None if verifies(tls) => add_system_roots(&mut builder),
        // The system's roots take 5 MB: nobody pays for them who does not use them.
        _ => builder.set_cert_store(X509StoreBuilder::new().map_err(refused)?.build()),
    }
    if let Some(pem) = &files.roots {
        add_roots(&mut builder, pem)?;
    }
    if let (Some(cert), Some(key)) = (&files.cert, &files.key) {
        identify(&mut builder, cert, key)?;
    }
    if tls.negotiation == SslNegotiation::Direct {
        builder.set_alpn_protos(protocol::ALPN_LIST).map_err(refused)?;
    }
    Ok(builder.build())
}

/// Where the system keeps them: OpenSSL that is linked in does not know. What cannot be read is left out.
fn add_system_roots(builder: &mut SslConnectorBuilder) {
    let found = openssl_probe::probe();
    if let Some(file) = &found.cert_file {
        let _ = builder.load_verify_locations(Some(file), None);
    }
    for dir in &found.cert_dir {
        let _ = builder.load_verify_locations(None, Some(dir));
    }
}

fn add_roots(builder: &mut SslConnectorBuilder, pem: &[u8]) -> Result<(), Cause> {
    let roots = X509::stack_from_pem(pem).unwrap_or_default();
    if roots.is_empty() {
        return Err(config("sslrootcert holds no certificate in PEM form"));
    }
    for root in roots {
        // One that is there twice is no mistake.
        let _ = builder.cert_store_mut().add_cert(root);
    }
    Ok(())
}

fn identify(builder: &mut SslConnectorBuilder, cert: &[u8], key: &[u8]) -> Result<(), Cause> {
    let no_certificate = || config("sslcert holds no certificate in PEM form");
    let mut chain = X509::stack_from_pem(cert).map_err(|_| no_certificate())?.into_iter();
    let leaf = chain.next().ok_or_else(no_certificate)?;
    // An empty passphrase, because OpenSSL would ask for one on the terminal.
    let key = PKey::private_key_from_pem_passphrase(key, b"")
        .map_err(|_| config("sslkey holds no private key in PEM form that opens without a passphrase"))?;
    let belongs = leaf.public_key().is_ok_and(|public| public.public_eq(&key));
    if !belongs {
        return Err(config("sslkey is not the key of the certificate in sslcert"));
    }
    let mut show = || {
        builder.set_certificate(&leaf)?;
        builder.set_private_key(&key)?;
        chain.try_for_each(|above| builder.add_extra_chain_cert(above))
    };
    show().map_err(|e| config(format!("sslcert and sslkey cannot be used: {e}")))
}

const fn version(version: TlsVersion) -> SslVersion {
    match version {
        TlsVersion::V1_0 => SslVersion::TLS1,
        TlsVersion::V1_1 => SslVersion::TLS1_1,
        TlsVersion::V1_2 => SslVersion::TLS1_2,
        TlsVersion::V1_3 => SslVersion::TLS1_3,
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
