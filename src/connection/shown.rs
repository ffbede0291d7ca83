//! The certificates of a server whose verification failed: looked at again without verification, to tell a person which
//! one it is. Nothing is sent on that connection but the handshake.

use std::time::{Duration, SystemTime};

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::nid::Nid;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode};
use openssl::x509::{X509NameRef, X509Ref};
use tokio_openssl::SslStream;

use super::tap::Stream;
use crate::printable;
use crate::protocol;
use crate::target::{SslNegotiation, Tls};

/// What is told of the names of a certificate; one may have hundreds.
const MAX_NAMES: usize = 8;

/// What a certificate says, as far as people are told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShownCertificate {
    pub subject: String,
    pub issuer: String,
    pub not_before: Option<SystemTime>,
    pub not_after: Option<SystemTime>,
    /// Hosts and addresses that it is for.
    pub names: Vec<String>,
}

/// The server's certificates, its own first; empty where they cannot be had. `host` is what SNI sends.
pub async fn certificates(socket: Stream, host: &str, tls: &Tls) -> Vec<ShownCertificate> {
    let Some(ssl) = unverified(host, tls) else {
        return Vec::new();
    };
    let Ok(mut stream) = SslStream::new(ssl, socket) else {
        return Vec::new();
    };
    // A server that wants a certificate of ours ends it, after it has shown its own.
    let _ = std::pin::Pin::new(&mut stream).connect().await;
    let chain = stream.ssl().peer_cert_chain();
    chain.map(|chain| chain.iter().map(ShownCertificate::of).collect()).unwrap_or_default()
}

fn unverified(host: &str, tls: &Tls) -> Option<Ssl> {
    // Not a connector: that reads the system's trust store, which takes 5 MB.
    let mut context = SslContext::builder(SslMethod::tls_client()).ok()?;
    context.set_verify(SslVerifyMode::NONE);
    if tls.negotiation == SslNegotiation::Direct {
        context.set_alpn_protos(protocol::ALPN_LIST).ok()?;
    }
    let mut ssl = Ssl::new(&context.build()).ok()?;
    if tls.sni && host.parse::<std::net::IpAddr>().is_err() {
        ssl.set_hostname(host).ok()?;
    }
    Some(ssl)
}

impl ShownCertificate {
    fn of(certificate: &X509Ref) -> Self {
        let names = certificate.subject_alt_names();
        let names = names.iter().flatten().filter_map(|name| {
            let host = name.dnsname().map(str::to_owned);
            host.or_else(|| address(name.ipaddress()?))
        });
        ShownCertificate {
            subject: name_of(certificate.subject_name()),
            issuer: name_of(certificate.issuer_name()),
            not_before: time(certificate.not_before()),
            not_after: time(certificate.not_after()),
            names: names.collect(),
        }
    }

    fn holds_at(&self, now: SystemTime) -> bool {
        self.not_before.is_none_or(|from| from <= now) && self.not_after.is_none_or(|to| now <= to)
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|octets| std::net::IpAddr::from(octets).to_string());
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|octets| std::net::IpAddr::from(octets).to_string())).ok()
}

/// The common name; else all that the name has.
fn name_of(name: &X509NameRef) -> String {
    let text = |nid: Option<Nid>| {
        let entries: Vec<String> = name
            .entries()
            .filter(|entry| nid.is_none_or(|nid| entry.object().nid() == nid))
            .filter_map(|entry| Some(entry.data().to_string().ok()?.to_string()))
            .collect();
        entries.join(", ")
    };
    match text(Some(Nid::COMMONNAME)) {
        common if !common.is_empty() => common,
        _ => text(None),
    }
}

/// Seconds since 1970; none for a date before that.
pub fn time(at: &Asn1TimeRef) -> Option<SystemTime> {
    let since = Asn1Time::from_unix(0).ok()?.diff(at).ok()?;
    let seconds = i64::from(since.days) * 86_400 + i64::from(since.secs);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}

/// What to add to a failed verification: which certificate it is about, and what is wrong with that one. `failure` is what
/// the TLS library said; `host` is what the certificate had to name.
pub fn explain(chain: &[ShownCertificate], failure: &str, host: &str, now: SystemTime) -> Option<String> {
    let failure = failure.to_ascii_lowercase();
    let own = chain.first()?;
    if failure.contains("mismatch") {
        return Some(match own.names.as_slice() {
            [] => {
                format!("the certificate {} names no host, and must name \"{host}\"", quoted(&own.subject))
            }
            names => format!("the certificate is for {}, not for \"{host}\"", listed(names)),
        });
    }
    if failure.contains("expired") || failure.contains("not yet valid") {
        let bad = chain.iter().find(|certificate| !certificate.holds_at(now)).unwrap_or(own);
        let (subject, issuer) = (quoted(&bad.subject), quoted(&bad.issuer));
        return match (bad.not_before.filter(|from| *from > now), bad.not_after) {
            (Some(from), _) => Some(format!("the certificate {subject} is valid from {}", date(from))),
            (None, Some(to)) => {
                Some(format!("the certificate {subject}, issued by {issuer}, ended {}", date(to)))
            }
            (None, None) => None,
        };
    }
    // An authority that is not trusted: the one above the last certificate that came.
    let last = chain.last().unwrap_or(own);
    Some(format!("the certificate {} is issued by {}", quoted(&own.subject), quoted(&last.issuer)))
}

fn listed(names: &[String]) -> String {
    let mut shown: Vec<String> = names.iter().take(MAX_NAMES).map(|name| quoted(name)).collect();
    if let Some(more) = names.len().checked_sub(MAX_NAMES).filter(|more| *more > 0) {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", printable::word(text))
}

fn date(at: SystemTime) -> String {
    let stamp = jiff::Timestamp::try_from(at).map(|stamp| stamp.strftime("%Y-%m-%d %H:%M UTC").to_string());
    stamp.unwrap_or_else(|_| "at a time that no calendar has".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400)
    }

    fn certificate(subject: &str, issuer: &str, to: u64) -> ShownCertificate {
        ShownCertificate {
            subject: subject.to_owned(),
            issuer: issuer.to_owned(),
            not_before: Some(at(10)),
            not_after: Some(at(to)),
            names: vec!["db.example".to_owned(), "10.0.0.1".to_owned()],
        }
    }

    #[test]
    fn the_certificate_that_is_out_of_its_time_is_named_with_the_date() {
        let chain = [certificate("db.example", "Intermediate", 40), certificate("Intermediate", "Root", 20)];
        let of = |failure: &str, now: u64| explain(&chain, failure, "db.example", at(now)).unwrap();
        let expired = "certificate verify failed (certificate has expired)";
        assert_eq!(
            of(expired, 30),
            "the certificate \"Intermediate\", issued by \"Root\", ended 1970-01-21 00:00 UTC"
        );
        assert_eq!(
            of(expired, 41),
            "the certificate \"db.example\", issued by \"Intermediate\", ended 1970-02-10 00:00 UTC"
        );
        assert_eq!(
            of("certificate verify failed (certificate is not yet valid)", 5),
            "the certificate \"db.example\" is valid from 1970-01-11 00:00 UTC"
        );
    }

    #[test]
    fn a_host_that_does_not_match_is_told_the_names_that_there_are() {
        let of = |chain: &[ShownCertificate]| {
            explain(chain, "certificate verify failed (hostname mismatch)", "localhost", at(15)).unwrap()
        };
        let one = certificate("db.example", "Root", 20);
        assert_eq!(
            of(std::slice::from_ref(&one)),
            "the certificate is for \"db.example\", \"10.0.0.1\", not for \"localhost\""
        );
        let many = (0..30).map(|n| format!("host-{n}")).collect();
        let many = of(&[ShownCertificate { names: many, ..one.clone() }]);
        assert!(many.contains("\"host-7\", 22 more, not for"), "{many}");
        let none = of(&[ShownCertificate { names: Vec::new(), ..one }]);
        assert_eq!(none, "the certificate \"db.example\" names no host, and must name \"localhost\"");
    }

    #[test]
    fn an_authority_that_is_not_trusted_is_named_and_what_a_server_writes_is_bounded() {
        let chain = [
            certificate("db\r\n.example", "Intermediate", 40),
            certificate("Intermediate", &"x".repeat(500), 20),
        ];
        let failure = "certificate verify failed (unable to get local issuer certificate)";
        let told = explain(&chain, failure, "db.example", at(15)).unwrap();
        let start = "the certificate \"db .example\" is issued by \"xxx";
        assert!(told.starts_with(start) && told.len() < 200, "{told}");
        assert_eq!(explain(&[], failure, "db.example", at(15)), None);
    }
}
