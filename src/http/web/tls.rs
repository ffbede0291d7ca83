//! TLS of the web port: what the keys make of a certificate, a key and authorities, and the handshake.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{self, SslAcceptor, SslAcceptorBuilder, SslMethod, SslOptions, SslSessionCacheMode};
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509Ref, X509StoreContextRef};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_openssl::SslStream;

use super::words::{Cipher, ClientAuth, Curve, Version};

/// What a client is told that speaks plain HTTP here.
const NOT_PLAINLY: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
    This port speaks HTTPS: ask with https://\n";

/// More than that is not read of a plain request.
const UNREAD_LIMIT: u64 = 16 * 1024;

/// What a context is made of, valid each for itself.
#[derive(Debug)]
pub struct Parts {
    /// The leaf first.
    pub chain: Vec<X509>,
    pub key: PKey<Private>,
    pub client_auth: ClientAuth,
    pub client_ca: Vec<X509>,
    /// Of these a client's certificate must name one; empty for any.
    pub allowed_sans: Vec<String>,
    pub versions: (Version, Version),
    pub ciphers: Vec<Cipher>,
    pub server_decides: bool,
    pub curves: Vec<Curve>,
}

/// TLS, ready to shake hands.
#[derive(Clone)]
pub struct WebTls {
    acceptor: SslAcceptor,
    pub client_auth: ClientAuth,
    /// Whether not every client will do whose certificate is good.
    pub is_choosy: bool,
}

impl fmt::Debug for WebTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("client_auth", &self.client_auth).finish_non_exhaustive()
    }
}

impl WebTls {
    pub fn new(parts: Parts) -> Result<Self, ErrorStack> {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        let (least, greatest) = parts.versions;
        builder.set_min_proto_version(Some(least.openssl()))?;
        builder.set_max_proto_version(Some(greatest.openssl()))?;
        builder.set_options(SslOptions::NO_RENEGOTIATION);
        if parts.server_decides {
            builder.set_options(SslOptions::CIPHER_SERVER_PREFERENCE);
        }
        // Every handshake is a whole one: a resumed session would go on with certificates that are no longer good.
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        builder.set_options(SslOptions::NO_TICKET);
        builder.set_num_tickets(0)?;
        set_algorithms(&mut builder, &parts)?;
        let mut chain = parts.chain.iter();
        if let Some(leaf) = chain.next() {
            builder.set_certificate(leaf)?;
        }
        for issuer in chain {
            builder.add_extra_chain_cert(issuer.clone())?;
        }
        builder.set_private_key(&parts.key)?;
        builder.check_private_key()?;
        let (client_auth, is_choosy) = (parts.client_auth, !parts.allowed_sans.is_empty());
        set_client_auth(&mut builder, parts)?;
        Ok(WebTls { acceptor: builder.build(), client_auth, is_choosy })
    }

    /// Shakes hands. Whoever speaks plain HTTP is told so in the same way. The error is for the log.
    pub async fn accept<S>(&self, stream: S) -> Result<SslStream<S>, String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let ssl = ssl::Ssl::new(self.acceptor.context()).map_err(|error| why(&error))?;
        let mut stream = SslStream::new(ssl, stream).map_err(|error| why(&error))?;
        let Err(error) = Pin::new(&mut stream).accept().await else {
            return Ok(stream);
        };
        let stack = error.ssl_error().map(why);
        if stack.as_deref() == Some("http request") {
            // Nobody may be reading.
            let _: io::Result<()> = refuse_plainly(stream.get_mut()).await;
        }
        Err(stack
            .or_else(|| Some(error.io_error()?.to_string()))
            .unwrap_or_else(|| "it broke off".to_owned()))
    }
}

/// What else was sent is read: a close before that would be a reset, which can take the answer with it.
async fn refuse_plainly(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    stream.write_all(NOT_PLAINLY).await?;
    stream.shutdown().await?;
    let mut rest = stream.take(UNREAD_LIMIT);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(())
}

fn set_algorithms(builder: &mut SslAcceptorBuilder, parts: &Parts) -> Result<(), ErrorStack> {
    let of = |version: Version| -> Vec<&str> {
        parts.ciphers.iter().filter(|cipher| cipher.version == version).map(|cipher| cipher.openssl).collect()
    };
    let (old, new) = (of(Version::Tls12), of(Version::Tls13));
    if !old.is_empty() {
        builder.set_cipher_list(&old.join(":"))?;
    }
    if !new.is_empty() {
        builder.set_ciphersuites(&new.join(":"))?;
    }
    if !parts.curves.is_empty() {
        let names: Vec<&str> = parts.curves.iter().map(|curve| curve.0).collect();
        builder.set_groups_list(&names.join(":"))?;
    }
    Ok(())
}

fn set_client_auth(builder: &mut SslAcceptorBuilder, parts: Parts) -> Result<(), ErrorStack> {
    let (policy, allowed) = (parts.client_auth, parts.allowed_sans);
    if policy.verifies() {
        let mut store = X509StoreBuilder::new()?;
        let mut names = Stack::new()?;
        for authority in parts.client_ca {
            names.push(authority.subject_name().to_owned()?)?;
            store.add_cert(authority)?;
        }
        builder.set_cert_store(store.build());
        builder.set_client_ca_list(names);
    }
    builder.set_verify_callback(policy.mode(), move |good, context| {
        (good || !policy.verifies()) && (context.error_depth() > 0 || is_allowed(context, &allowed))
    });
    Ok(())
}

fn is_allowed(context: &X509StoreContextRef, allowed: &[String]) -> bool {
    allowed.is_empty()
        || context.current_cert().is_some_and(|leaf| names_of(leaf).iter().any(|name| allowed.contains(name)))
}

/// The alternative names of a certificate, as the file spells them.
fn names_of(certificate: &X509Ref) -> Vec<String> {
    let names = certificate.subject_alt_names();
    let spelled = names.iter().flatten().filter_map(|name| {
        let text = name.dnsname().or_else(|| name.email()).or_else(|| name.uri()).map(str::to_owned);
        text.or_else(|| {
            let bytes = name.ipaddress()?;
            let v4 = || <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
            v4().or_else(|_| v6()).ok().map(|address| address.to_string())
        })
    });
    spelled.collect()
}

/// Whether a certificate is good at that time; else what is the matter.
pub fn validity(certificate: &X509Ref, now: SystemTime) -> Result<(), &'static str> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let Ok(now) = Asn1Time::from_unix(i64::try_from(now).unwrap_or(i64::MAX)) else {
        return Ok(());
    };
    if certificate.not_after() < now {
        return Err("has expired: clients that verify it turn away");
    }
    if certificate.not_before() > now {
        return Err("is not valid yet: clients that verify it turn away");
    }
    Ok(())
}

/// OpenSSL's reason, in a few words without places in its source.
pub fn why(error: &ErrorStack) -> String {
    let reason = error.errors().iter().rev().find_map(|error| error.reason());
    reason.unwrap_or("OpenSSL gives no reason").to_owned()
}
