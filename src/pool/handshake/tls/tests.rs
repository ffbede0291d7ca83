use std::time::{Duration, SystemTime};

use openssl::asn1::Asn1Time;
use openssl::hash::hash as digest;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SignatureAlgorithm};

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
