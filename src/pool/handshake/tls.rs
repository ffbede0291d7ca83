//! TLS towards clients: certificate, handshake, and the hash that binds a login to the certificate.
//!
//! Knows nothing of PostgreSQL's messages, only the name of its protocol in ALPN.

mod records;

use std::fmt;
use std::io;

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    self, AlpnError, Ssl, SslAcceptor, SslMethod, SslOptions, SslSessionCacheMode, SslVersion,
    select_next_proto,
};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder, X509Ref};

use self::records::TlsStream;
use crate::connection::Stream;
use crate::protocol;

/// A record of a TLS handshake begins with it. No startup packet does: it would be 352 MiB long.
pub const HANDSHAKE: u8 = 0x16;
/// The best first.
const TLS_1_3: &str = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
/// With ephemeral keys only: what was recorded cannot be read by whoever gets the certificate's key later.
const TLS_1_2: &str = "ECDHE+AESGCM:ECDHE+CHACHA20";
const TEN_YEARS: u32 = 3650;
/// X.509's version 3 is written so.
const VERSION_3: i32 = 2;

/// TLS, ready to shake hands.
#[derive(Clone)]
pub struct Acceptor {
    context: SslAcceptor,
    end_point: Option<Vec<u8>>,
}

/// A stream under TLS.
pub struct Secured {
    pub stream: Stream,
    /// Whether both sides agreed on PostgreSQL's name by ALPN.
    pub is_named: bool,
}

impl Acceptor {
    /// With a certificate for this machine under its local names, made on the spot. Nobody can verify it; what it gives
    /// is encryption, for clients that insist on it.
    pub fn self_signed() -> Result<Self, ErrorStack> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
        Self::new(&[certificate(&key)?], &key)
    }

    /// With a certificate, the issuers behind it, and its key. The error says what is the matter, and never shows what
    /// was read.
    pub fn from_pem(cert: &[u8], key: &[u8]) -> Result<Self, String> {
        let chain = X509::stack_from_pem(cert).map_err(|_| "a certificate cannot be read")?;
        let leaf = chain.first().ok_or("there is no certificate in PEM")?;
        let key = private_key(key)?;
        if !leaf.public_key().is_ok_and(|public| public.public_eq(&key)) {
            return Err("the key is not the one of the certificate".to_owned());
        }
        Self::new(&chain, &key).map_err(|error| format!("TLS cannot use them: {}", reason(&error)))
    }

    fn new(chain: &[X509], key: &PKey<Private>) -> Result<Self, ErrorStack> {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        // libpq's first choice is AES-256, which costs a third more and is not what breaks first.
        builder.set_ciphersuites(TLS_1_3)?;
        builder.set_cipher_list(TLS_1_2)?;
        // No client of PostgreSQL resumes a session, and none needs to renegotiate.
        builder.set_options(
            SslOptions::CIPHER_SERVER_PREFERENCE | SslOptions::NO_RENEGOTIATION | SslOptions::NO_TICKET,
        );
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        builder.set_num_tickets(0)?;
        // Whoever speaks another protocol is meant for another port.
        builder.set_alpn_select_callback(|_, offered| {
            select_next_proto(protocol::ALPN_LIST, offered).ok_or(AlpnError::ALERT_FATAL)
        });
        let mut end_point = None;
        for (index, certificate) in chain.iter().enumerate() {
            if index == 0 {
                builder.set_certificate(certificate)?;
                end_point = hash(certificate)?;
            } else {
                builder.add_extra_chain_cert(certificate.clone())?;
            }
        }
        builder.set_private_key(key)?;
        builder.check_private_key()?;
        Ok(Acceptor { context: builder.build(), end_point })
    }

    /// What `tls-server-end-point` binds a login to; `None` for a certificate whose signature names no hash, such as
    /// Ed25519.
    pub fn end_point(&self) -> Option<&[u8]> {
        self.end_point.as_deref()
    }

    /// Shakes hands. `head` are bytes of the handshake that have been read already. The error is for the log.
    pub(super) async fn accept(&self, head: Vec<u8>, stream: Stream) -> Result<Secured, String> {
        let session = Ssl::new(self.context.context()).map_err(|error| reason(&error))?;
        let mut stream = TlsStream::new(session, head, stream).map_err(|error| reason(&error))?;
        match stream.accept().await {
            Ok(()) => {
                let is_named = stream.ssl().selected_alpn_protocol() == Some(protocol::ALPN);
                Ok(Secured { stream: Box::new(stream), is_named })
            }
            Err(error) => Err(said(&error)),
        }
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

/// What went wrong, in a few words, where it is TLS that failed and not what is below it.
pub fn why(error: &io::Error) -> Option<String> {
    inner(error).map(said)
}

/// Whether the client just hung up, without TLS's goodbye: many do.
pub fn is_end(error: &io::Error) -> bool {
    inner(error).is_some_and(|error| said(error).contains("unexpected eof"))
}

fn inner(error: &io::Error) -> Option<&ssl::Error> {
    error.get_ref()?.downcast_ref()
}

fn said(error: &ssl::Error) -> String {
    match (error.ssl_error(), error.io_error()) {
        (Some(stack), _) => reason(stack),
        (None, Some(error)) => error.to_string(),
        (None, None) => "it broke off".to_owned(),
    }
}

/// OpenSSL's reason, without places in its source.
fn reason(stack: &ErrorStack) -> String {
    let reason = stack.errors().iter().rev().find_map(|error| error.reason());
    reason.unwrap_or("OpenSSL gives no reason").to_owned()
}

/// RFC 5929: the hash of the signature, or SHA-256 where that is a weak one.
fn hash(certificate: &X509Ref) -> Result<Option<Vec<u8>>, ErrorStack> {
    let signature = certificate.signature_algorithm().object().nid().signature_algorithms();
    let digest = match signature.map(|algorithms| algorithms.digest) {
        Some(Nid::MD5 | Nid::SHA1) => Some(MessageDigest::sha256()),
        Some(other) => MessageDigest::from_nid(other),
        None => None,
    };
    digest.map(|digest| Ok(certificate.digest(digest)?.to_vec())).transpose()
}

fn private_key(pem: &[u8]) -> Result<PKey<Private>, &'static str> {
    let mut is_locked = false;
    // Without the callback OpenSSL would ask at the terminal.
    let key = PKey::private_key_from_pem_callback(pem, |_| {
        is_locked = true;
        Ok(0)
    });
    key.map_err(|_| match is_locked {
        true => "the key is locked by a passphrase: `openssl pkey` writes it without",
        false => "there is no private key in PEM",
    })
}

fn certificate(key: &PKey<Private>) -> Result<X509, ErrorStack> {
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_nid(Nid::COMMONNAME, "localhost")?;
    let name = name.build();
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509::builder()?;
    builder.set_version(VERSION_3)?;
    builder.set_serial_number(&*Asn1Integer::from_bn(&serial)?)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_pubkey(key)?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(TEN_YEARS)?)?;
    let mut names = SubjectAlternativeName::new();
    names.dns("localhost").ip("127.0.0.1").ip("::1");
    let names = names.build(&builder.x509v3_context(None, None))?;
    builder.append_extension(names)?;
    builder.append_extension(BasicConstraints::new().critical().build()?)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}

#[cfg(test)]
pub(super) mod tests;
