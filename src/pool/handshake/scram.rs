//! SCRAM-SHA-256 as its server speaks it (RFC 5802, RFC 7677), with channel binding to the certificate (RFC 5929).
//!
//! Pure: messages in, messages out; the nonce is an argument. Knows no user: whose password it is, and what becomes of
//! whoever lacks it, is settled elsewhere.

use std::fmt;

use openssl::base64::{decode_block, encode_block};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::memcmp;
use openssl::pkcs5::pbkdf2_hmac;
use openssl::pkey::PKey;
use openssl::rand::rand_bytes;
use openssl::sha::sha256;
use openssl::sign::Signer;
use zeroize::Zeroizing;

use crate::protocol::ErrorFields;
use crate::target::Secret;

/// PostgreSQL's own number.
const ITERATIONS: usize = 4096;
const PLAIN: &str = "SCRAM-SHA-256";
const PLUS: &str = "SCRAM-SHA-256-PLUS";
/// The one kind of channel binding that PostgreSQL knows.
const END_POINT: &str = "p=tls-server-end-point";

type Key = [u8; 32];

/// What a password is checked by. Made once, so that a login costs no more than some hashes.
pub struct Verifier {
    /// In Base64. Every client is shown the same one, whatever its user: it tells nobody who exists.
    salt: String,
    stored: Key,
    server: Key,
}

/// What the server asks after the client's first message, and all that is needed to judge the answer.
#[derive(Debug)]
pub struct Challenge<'a> {
    verifier: &'a Verifier,
    /// The client's first message, without what is said of channel binding.
    bare: String,
    /// What is sent.
    message: String,
    /// The answer has to repeat these two.
    binding: String,
    nonce: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// The client knows the password; this proves that we know it too.
    Right {
        outcome: String,
    },
    Wrong,
}

/// What a client may choose from. `end_point` is the hash of the certificate that the connection is protected by.
pub fn mechanisms(end_point: Option<&[u8]>) -> &'static [&'static str] {
    match end_point {
        Some(_) => &[PLUS, PLAIN],
        None => &[PLAIN],
    }
}

/// Our half of the nonce.
pub fn nonce() -> Result<String, ErrorStack> {
    let mut bytes = [0; 18];
    rand_bytes(&mut bytes)?;
    Ok(encode_block(&bytes))
}

impl Verifier {
    pub fn new(password: &Secret) -> Result<Self, ErrorStack> {
        let mut salt = [0; 16];
        rand_bytes(&mut salt)?;
        Self::salted(password, &salt)
    }

    fn salted(password: &Secret, salt: &[u8]) -> Result<Self, ErrorStack> {
        let prepared = prepare(password);
        let mut salted = Zeroizing::new([0; 32]);
        pbkdf2_hmac(&prepared, salt, ITERATIONS, MessageDigest::sha256(), &mut *salted)?;
        let client = Zeroizing::new(hmac(&*salted, b"Client Key")?);
        Ok(Verifier {
            salt: encode_block(salt),
            stored: sha256(&*client),
            server: hmac(&*salted, b"Server Key")?,
        })
    }

    /// Reads SASLInitialResponse and answers it. `nonce` is our half of it.
    pub fn challenge(
        &self,
        initial: &[u8],
        end_point: Option<&[u8]>,
        nonce: &str,
    ) -> Result<Challenge<'_>, ErrorFields<'static>> {
        let (mechanism, first) = split_initial(initial)?;
        let (header, bare) = split_header(first)?;
        let bound: &[u8] = match (mechanism, header.flag, end_point) {
            (PLAIN, "n", _) | (PLAIN, "y", None) => b"",
            (PLUS, END_POINT, Some(hash)) => hash,
            (PLAIN, "y", Some(_)) => return Err(downgraded()),
            (PLAIN, _, _) | (PLUS, _, Some(_)) => {
                return Err(malformed("what it says of channel binding does not go with its mechanism"));
            }
            _ => return Err(malformed("it has chosen a mechanism that was not offered")),
        };
        let client = client_nonce(bare)?;
        let nonce = format!("{client}{nonce}");
        Ok(Challenge {
            verifier: self,
            bare: bare.to_owned(),
            message: format!("r={nonce},s={},i={ITERATIONS}", self.salt),
            binding: encode_block(&[header.text.as_bytes(), bound].concat()),
            nonce,
        })
    }
}

/// A verifier serves an attacker who wants to try passwords at home.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl Challenge<'_> {
    /// What is sent in AuthenticationSASLContinue.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Judges the SASLResponse.
    pub fn judge(&self, response: &[u8]) -> Result<Proof, ErrorFields<'static>> {
        let text = str::from_utf8(response).map_err(|_| malformed("it is no UTF-8"))?;
        let (unproven, proof) = text.rsplit_once(",p=").ok_or_else(|| malformed("it proves nothing"))?;
        let mut attributes = unproven.split(',');
        if attributes.next().and_then(|first| first.strip_prefix("c=")) != Some(&self.binding) {
            return Err(ErrorFields::fatal("28000", "SCRAM channel binding check failed"));
        }
        if attributes.next().and_then(|second| second.strip_prefix("r=")) != Some(&self.nonce) {
            return Err(malformed("its nonce is another one"));
        }
        let proof = decode_block(proof).ok().and_then(|proof| Key::try_from(proof).ok());
        let proof = proof.ok_or_else(|| malformed("its proof is none"))?;
        let exchange = format!("{},{},{unproven}", self.bare, self.message);
        self.compare(&proof, exchange.as_bytes())
            .map_err(|_| ErrorFields::fatal("XX000", "the password cannot be checked: OpenSSL fails"))
    }

    fn compare(&self, proof: &Key, exchange: &[u8]) -> Result<Proof, ErrorStack> {
        let Verifier { stored, server, .. } = self.verifier;
        let mut client = Zeroizing::new(hmac(stored, exchange)?);
        client.iter_mut().zip(proof).for_each(|(byte, proof)| *byte ^= proof);
        if !memcmp::eq(&sha256(&*client), stored) {
            return Ok(Proof::Wrong);
        }
        Ok(Proof::Right { outcome: format!("v={}", encode_block(&hmac(server, exchange)?)) })
    }
}

/// What a first message says before the message proper: `n,,`, `y,,` or `p=…,,`.
struct Header<'a> {
    text: &'a str,
    flag: &'a str,
}

/// The mechanism's name, the length of the message, and the message.
fn split_initial(initial: &[u8]) -> Result<(&str, &str), ErrorFields<'static>> {
    let split = || {
        let end = initial.iter().position(|&byte| byte == 0)?;
        let (length, message) = initial[end + 1..].split_first_chunk()?;
        let is_whole = usize::try_from(u32::from_be_bytes(*length)) == Ok(message.len());
        is_whole.then_some((&initial[..end], message))
    };
    let (mechanism, message) = split().ok_or_else(|| malformed("its length is another one"))?;
    let no_utf8 = |_| malformed("it is no UTF-8");
    Ok((str::from_utf8(mechanism).map_err(no_utf8)?, str::from_utf8(message).map_err(no_utf8)?))
}

fn split_header(message: &str) -> Result<(Header<'_>, &str), ErrorFields<'static>> {
    let mut parts = message.splitn(3, ',');
    let (Some(flag), Some(identity), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(malformed("it breaks off"));
    };
    if !identity.is_empty() {
        return Err(ErrorFields::fatal("0A000", "SCRAM's authorization identity is not supported"));
    }
    Ok((Header { text: &message[..message.len() - bare.len()], flag }, bare))
}

/// The user's name in it is ignored, as in PostgreSQL: the startup packet has said it.
fn client_nonce(bare: &str) -> Result<&str, ErrorFields<'static>> {
    let mut attributes = bare.split(',');
    let user = attributes.next().unwrap_or_default();
    if user.starts_with("m=") {
        return Err(ErrorFields::fatal("0A000", "SCRAM extensions are not supported"));
    }
    let nonce = attributes.next().and_then(|second| second.strip_prefix("r="));
    match nonce {
        Some(nonce) if user.starts_with("n=") && !nonce.is_empty() && nonce.bytes().all(is_printable) => {
            Ok(nonce)
        }
        _ => Err(malformed("it has no name or no nonce")),
    }
}

fn is_printable(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

/// As PostgreSQL's clients do: what cannot be normalised is taken as it is.
fn prepare(password: &Secret) -> Zeroizing<Vec<u8>> {
    let raw = password.expose();
    let text = str::from_utf8(raw).ok().and_then(|text| stringprep::saslprep(text).ok());
    Zeroizing::new(text.map_or_else(|| raw.to_vec(), |text| text.into_owned().into_bytes()))
}

fn hmac(key: &[u8], message: &[u8]) -> Result<Key, ErrorStack> {
    let key = PKey::hmac(key)?;
    let mut out = [0; 32];
    Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot(&mut out, message)?;
    Ok(out)
}

fn malformed(detail: &'static str) -> ErrorFields<'static> {
    ErrorFields::fatal("08P01", "malformed SCRAM message")
        .detail(format!("The client's message cannot be used: {detail}."))
}

/// Somebody between client and server may have taken the better mechanism from the list.
fn downgraded() -> ErrorFields<'static> {
    ErrorFields::fatal("28000", "SCRAM channel binding negotiation error").detail(
        "The client supports channel binding and was told that the server does not, but it does: \
         somebody may stand between them.",
    )
}

#[cfg(test)]
mod tests;
