use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use openssl::asn1::Asn1Time;
use openssl::hash::hash as digest;
use openssl::ssl::{SslConnector, SslVerifyMode};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SignatureAlgorithm};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex,
};
use tokio_openssl::SslStream;

use super::*;

impl Acceptor {
    /// For clients in tests that trust nobody else.
    pub fn certificate_pem(&self) -> Vec<u8> {
        self.context.context().certificate().unwrap().to_pem().unwrap()
    }
}

/// A certificate and its key, in PEM.
fn made(algorithm: &'static SignatureAlgorithm) -> (String, String) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn a_certificate_of_our_own_names_this_machine_and_lasts_ten_years() {
    let pem = Acceptor::self_signed().unwrap().certificate_pem();
    let certificate = X509::from_pem(&pem).unwrap();
    let names = certificate.subject_alt_names().unwrap();
    assert_eq!(names.iter().filter_map(|name| name.dnsname()).collect::<Vec<_>>(), ["localhost"]);
    let addresses: Vec<Vec<u8>> = names.iter().filter_map(|name| Some(name.ipaddress()?.to_vec())).collect();
    let six = std::net::Ipv6Addr::LOCALHOST.octets().to_vec();
    assert_eq!(addresses, [vec![127, 0, 0, 1], six]);
    let years = Duration::from_secs(3649 * 86_400);
    let later = (SystemTime::now() + years).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!(certificate.not_after() > Asn1Time::from_unix(later.try_into().unwrap()).unwrap());
    assert!(certificate.not_before() <= Asn1Time::days_from_now(0).unwrap());
    assert_ne!(pem, Acceptor::self_signed().unwrap().certificate_pem(), "each start has its own");
}

#[test]
fn a_login_is_bound_by_the_hash_of_the_signature() {
    let ours = Acceptor::self_signed().unwrap();
    let der = X509::from_pem(&ours.certificate_pem()).unwrap().to_der().unwrap();
    assert_eq!(ours.end_point(), Some(&*digest(MessageDigest::sha256(), &der).unwrap()));

    let (cert, key) = made(&PKCS_ECDSA_P384_SHA384);
    let acceptor = Acceptor::from_pem(cert.as_bytes(), key.as_bytes()).unwrap();
    let der = X509::from_pem(cert.as_bytes()).unwrap().to_der().unwrap();
    assert_eq!(acceptor.end_point(), Some(&*digest(MessageDigest::sha384(), &der).unwrap()));

    let key = PKey::generate_ed25519().unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_pubkey(&key).unwrap();
    // Its own: the algorithm has one inside.
    builder.sign(&key, MessageDigest::null()).unwrap();
    let acceptor = Acceptor::new(&[builder.build()], &key).unwrap();
    assert_eq!(acceptor.end_point(), None, "Ed25519 names no hash");
}

#[test]
fn files_that_do_not_serve_are_refused_in_words() {
    let (cert, key) = made(&PKCS_ECDSA_P256_SHA256);
    let (_, other) = made(&PKCS_ECDSA_P256_SHA256);
    let locked = PKey::private_key_from_pem(key.as_bytes())
        .unwrap()
        .private_key_to_pem_pkcs8_passphrase(openssl::symm::Cipher::aes_128_cbc(), b"secret")
        .unwrap();
    let locked = String::from_utf8(locked).unwrap();
    for (cert, key, words) in [
        ("", key.as_str(), "there is no certificate in PEM"),
        (&key, &key, "there is no certificate in PEM"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &key,
            "a certificate cannot be read",
        ),
        (&cert, "", "there is no private key in PEM"),
        (&cert, &cert, "there is no private key in PEM"),
        (&cert, &other, "the key is not the one of the certificate"),
        (&cert, &locked, "the key is locked by a passphrase: `openssl pkey` writes it without"),
    ] {
        assert_eq!(Acceptor::from_pem(cert.as_bytes(), key.as_bytes()).unwrap_err(), words);
    }
}

/// A client of these versions and ciphers, at the other end of our side.
async fn connected(
    version: SslVersion,
    ciphers: &str,
    ours: impl FnOnce(DuplexStream) -> Stream,
) -> Result<(SslStream<DuplexStream>, Stream), String> {
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_verify(SslVerifyMode::NONE);
    connector.set_min_proto_version(Some(version)).unwrap();
    connector.set_max_proto_version(Some(version)).unwrap();
    match version {
        SslVersion::TLS1_3 => connector.set_ciphersuites(ciphers).unwrap(),
        _ => connector.set_cipher_list(ciphers).unwrap(),
    }
    let session = connector.build().configure().unwrap().into_ssl("localhost").unwrap();
    let (client, server) = duplex(1 << 16);
    let mut client = SslStream::new(session, client).unwrap();
    let acceptor = Acceptor::self_signed().unwrap();
    let accept = acceptor.accept(Vec::new(), ours(server));
    let (accepted, connected) = tokio::join!(accept, Pin::new(&mut client).connect());
    let stream = accepted?.stream;
    connected.map_err(|error| error.to_string())?;
    Ok((client, stream))
}

#[tokio::test]
async fn a_client_gets_the_cheapest_good_cipher_whatever_it_prefers() {
    let both = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";
    for (version, offered, taken) in [
        (SslVersion::TLS1_3, both, "TLS_AES_128_GCM_SHA256"),
        (SslVersion::TLS1_3, "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
        (SslVersion::TLS1_3, "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
        (SslVersion::TLS1_2, "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ] {
        let (client, _) = connected(version, offered, |stream| Box::new(stream)).await.unwrap();
        assert_eq!(client.ssl().current_cipher().unwrap().name(), taken, "{offered}");
    }
}

#[tokio::test]
async fn keys_that_are_not_ephemeral_and_ciphers_that_are_weak_are_not_taken() {
    for offered in ["DHE-RSA-AES128-GCM-SHA256", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA"] {
        let refused = connected(SslVersion::TLS1_2, offered, |stream| Box::new(stream)).await;
        assert_eq!(refused.map(drop).unwrap_err(), "no shared cipher", "{offered}");
    }
}

/// Counts the reads that brought something.
struct Counted(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.0).poll_read(cx, buf);
        self.1.fetch_add(usize::from(buf.filled().len() > before), Relaxed);
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_record_is_read_at_once_and_two_that_have_come_together_too() {
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = |stream| -> Stream { Box::new(Counted(stream, Arc::clone(&reads))) };
    let (mut client, mut server) = connected(SslVersion::TLS1_3, TLS_1_3, counted).await.unwrap();
    let mut buffer = [0; 64];
    for (pieces, wanted) in [(&[b"one".as_slice()][..], 1), (&[b"two".as_slice(), b"three"], 1)] {
        reads.store(0, Relaxed);
        for piece in pieces {
            client.write_all(piece).await.unwrap();
        }
        for piece in pieces {
            let read = server.read(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..read], *piece);
        }
        assert_eq!(reads.load(Relaxed), wanted, "{} records", pieces.len());
    }
}

#[tokio::test]
async fn what_is_left_of_a_read_stays_with_its_stream_while_others_read() {
    let plain = |stream| -> Stream { Box::new(stream) };
    let mut ends = Vec::new();
    for _ in 0..3 {
        ends.push(connected(SslVersion::TLS1_3, TLS_1_3, plain).await.unwrap());
    }
    let text = |of: usize| [b'a' + u8::try_from(of).unwrap(); 3000];
    for (of, (client, _)) in ends.iter_mut().enumerate() {
        for part in text(of).chunks(1000) {
            client.write_all(part).await.unwrap();
        }
    }
    let mut had = vec![Vec::new(); ends.len()];
    while had.iter().any(|had| had.len() < text(0).len()) {
        for (had, (_, server)) in had.iter_mut().zip(&mut ends) {
            let mut few = [0; 300];
            if had.len() < text(0).len() {
                let read = server.read(&mut few).await.unwrap();
                had.extend_from_slice(&few[..read]);
            }
        }
    }
    assert_eq!(had, [0, 1, 2].map(|of| text(of).to_vec()));
    // The end of one is an end.
    let (mut client, mut server) = ends.pop().unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
}
