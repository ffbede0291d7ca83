//! What SCRAM binds a login to: the hash of the server's certificate (`tls-server-end-point` of RFC 5929).

use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::x509::X509Ref;

const SEQUENCE: u8 = 0x30;
const OBJECT: u8 = 0x06;
/// The first optional part of a sequence.
const FIRST_PART: u8 = 0xa0;

/// The certificate hashed by the digest of its own signature; none where the signature has no digest, such as Ed25519's.
pub fn end_point(certificate: &X509Ref) -> Option<Vec<u8>> {
    let digest = match certificate.signature_algorithm().object().nid() {
        // Its name tells no digest: the parameters do.
        Nid::RSASSAPSS => pss_digest(&certificate.to_der().ok()?)?,
        other => other.signature_algorithms()?.digest,
    };
    // What is too weak is replaced, says the RFC.
    let digest = if [Nid::MD5, Nid::SHA1].contains(&digest) { Nid::SHA256 } else { digest };
    Some(certificate.digest(MessageDigest::from_nid(digest)?).ok()?.to_vec())
}

/// The digest that the parameters of an RSA-PSS signature name. `certificate` is in DER.
fn pss_digest(certificate: &[u8]) -> Option<Nid> {
    let (certificate, _) = element(SEQUENCE, certificate)?;
    let (_, rest) = element(SEQUENCE, certificate)?;
    let (algorithm, _) = element(SEQUENCE, rest)?;
    let (_, parameters) = element(OBJECT, algorithm)?;
    let (parameters, _) = element(SEQUENCE, parameters)?;
    let Some((hash, _)) = element(FIRST_PART, parameters) else {
        return Some(Nid::SHA1);
    };
    let (hash, _) = element(SEQUENCE, hash)?;
    let (name, _) = element(OBJECT, hash)?;
    digest_named(name)
}

/// The digest that an object identifier in DER names.
fn digest_named(name: &[u8]) -> Option<Nid> {
    const NIST_HASHES: [u8; 8] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
    match name.strip_prefix(&NIST_HASHES)? {
        [1] => Some(Nid::SHA256),
        [2] => Some(Nid::SHA384),
        [3] => Some(Nid::SHA512),
        [4] => Some(Nid::SHA224),
        _ => None,
    }
}

/// The content of the first element, if it is of that kind, and what follows it.
fn element(kind: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    (found == kind).then_some(rest.split_at_checked(length)?)
}

#[cfg(test)]
mod tests {
    use openssl::x509::X509;
    use proptest::prelude::*;

    use super::*;

    /// Self-signed, by `openssl req -x509 -sigopt rsa_padding_mode:pss`.
    const PSS_SHA256: &[u8] = include_bytes!("binding/pss-sha256.pem");
    const PSS_SHA384: &[u8] = include_bytes!("binding/pss-sha384.pem");
    const RSA_SHA512: &[u8] = include_bytes!("binding/rsa-sha512.pem");
    const RSA_SHA1: &[u8] = include_bytes!("binding/rsa-sha1.pem");
    const ED25519: &[u8] = include_bytes!("binding/ed25519.pem");

    #[test]
    fn a_certificate_is_hashed_by_the_digest_of_its_signature() {
        let rows = [
            (PSS_SHA256, MessageDigest::sha256()),
            (PSS_SHA384, MessageDigest::sha384()),
            (RSA_SHA512, MessageDigest::sha512()),
            (RSA_SHA1, MessageDigest::sha256()),
        ];
        for (pem, digest) in rows {
            let certificate = X509::from_pem(pem).unwrap();
            let expected = certificate.digest(digest).unwrap().to_vec();
            assert_eq!(end_point(&certificate), Some(expected), "{:?}", digest.type_());
        }
        assert_eq!(end_point(&X509::from_pem(ED25519).unwrap()), None);
    }

    #[test]
    fn half_a_certificate_has_no_digest() {
        let whole = X509::from_pem(PSS_SHA384).unwrap().to_der().unwrap();
        assert_eq!(pss_digest(&whole), Some(Nid::SHA384));
        for cut in 0..whole.len() {
            assert_eq!(pss_digest(&whole[..cut]), None, "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = pss_digest(&bytes);
        }
    }
}
