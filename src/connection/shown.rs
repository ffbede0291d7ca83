//! The certificates of a server whose verification failed, noted while they are verified: to tell a person which one it is,
//! and what is wrong with it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::nid::Nid;
use openssl::x509::{X509NameRef, X509Ref, X509StoreContextRef};

use crate::printable;
use crate::reason::Cause;

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

/// What a failed verification was about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RefusedChain {
    /// What the TLS library calls the failure.
    verdict: String,
    /// As far as it could be built, the server's own first.
    chain: Vec<ShownCertificate>,
    /// The position of the one that was refused.
    depth: usize,
}

/// Where a verification notes that it failed; the clones share it.
#[derive(Debug, Clone, Default)]
pub struct CertificateRefusal(Arc<Mutex<Option<RefusedChain>>>);

impl CertificateRefusal {
    /// What the TLS library asks about each certificate. The library's own verdict is kept.
    pub fn noting(&self) -> impl Fn(bool, &mut X509StoreContextRef) -> bool + Send + Sync + 'static {
        let CertificateRefusal(noted) = self.clone();
        move |is_right, context| {
            if !is_right {
                *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(RefusedChain::of(context));
            }
            is_right
        }
    }

    /// The failure of a handshake, with what was noted of it. `host` is what the certificate had to name.
    pub fn explain(&self, failure: Cause, host: &str) -> Cause {
        let refused = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (failure, refused) {
            (Cause::Tls { message, .. }, Some(refused)) => {
                let verdict = &refused.verdict;
                let more = refused.explanation(host).map(|more| format!(": {more}")).unwrap_or_default();
                Cause::Tls {
                    message: printable::message(&format!("{message} ({verdict}){more}")),
                    certificate_expiry: refused.chain.iter().filter_map(|one| one.not_after).min(),
                }
            }
            (failure, _) => failure,
        }
    }
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

impl RefusedChain {
    fn of(context: &X509StoreContextRef) -> Self {
        let chain: Vec<_> = context.chain().into_iter().flatten().map(ShownCertificate::of).collect();
        RefusedChain {
            verdict: context.error().error_string().to_owned(),
            chain,
            depth: context.error_depth() as usize,
        }
    }

    /// Which certificate it is about, and what is wrong with that one.
    fn explanation(&self, host: &str) -> Option<String> {
        let verdict = self.verdict.to_ascii_lowercase();
        let own = self.chain.first()?;
        if verdict.contains("mismatch") {
            return Some(match own.names.as_slice() {
                [] => {
                    format!(
                        "the certificate {} names no host, and must name \"{host}\"",
                        quoted(&own.subject)
                    )
                }
                names => format!("the certificate is for {}, not for \"{host}\"", listed(names)),
            });
        }
        let refused = self.chain.get(self.depth).unwrap_or(own);
        let (subject, issuer) = (quoted(&refused.subject), quoted(&refused.issuer));
        if verdict.contains("expired") {
            let ended = refused.not_after?;
            return Some(format!("the certificate {subject}, issued by {issuer}, ended {}", date(ended)));
        }
        if verdict.contains("not yet valid") {
            return Some(format!("the certificate {subject} is valid from {}", date(refused.not_before?)));
        }
        // An authority that is not trusted: the one above the last certificate that came.
        let last = self.chain.last().unwrap_or(own);
        Some(format!("the certificate {} is issued by {}", quoted(&own.subject), quoted(&last.issuer)))
    }
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

    fn refused(verdict: &str, chain: &[ShownCertificate], depth: usize) -> RefusedChain {
        RefusedChain { verdict: verdict.to_owned(), chain: chain.to_vec(), depth }
    }

    #[test]
    fn the_certificate_that_is_out_of_its_time_is_named_with_the_date() {
        let chain = [certificate("db.example", "Intermediate", 40), certificate("Intermediate", "Root", 20)];
        let of =
            |verdict: &str, depth: usize| refused(verdict, &chain, depth).explanation("db.example").unwrap();
        let expired = "certificate has expired";
        assert_eq!(
            of(expired, 1),
            "the certificate \"Intermediate\", issued by \"Root\", ended 1970-01-21 00:00 UTC"
        );
        assert_eq!(
            of(expired, 0),
            "the certificate \"db.example\", issued by \"Intermediate\", ended 1970-02-10 00:00 UTC"
        );
        assert_eq!(
            of("certificate is not yet valid", 0),
            "the certificate \"db.example\" is valid from 1970-01-11 00:00 UTC"
        );
    }

    #[test]
    fn a_host_that_does_not_match_is_told_the_names_that_there_are() {
        let of =
            |own: ShownCertificate| refused("hostname mismatch", &[own], 0).explanation("localhost").unwrap();
        let one = certificate("db.example", "Root", 20);
        assert_eq!(
            of(one.clone()),
            "the certificate is for \"db.example\", \"10.0.0.1\", not for \"localhost\""
        );
        let many = (0..30).map(|n| format!("host-{n}")).collect();
        let many = of(ShownCertificate { names: many, ..one.clone() });
        assert!(many.contains("\"host-7\", 22 more, not for"), "{many}");
        let none = of(ShownCertificate { names: Vec::new(), ..one });
        assert_eq!(none, "the certificate \"db.example\" names no host, and must name \"localhost\"");
    }

    #[test]
    fn an_authority_that_is_not_trusted_is_named_and_what_a_server_writes_is_bounded() {
        let chain = [
            certificate("db\r\n.example", "Intermediate", 40),
            certificate("Intermediate", &"x".repeat(500), 20),
        ];
        let verdict = "unable to get local issuer certificate";
        let told = refused(verdict, &chain, 1).explanation("db.example").unwrap();
        let start = "the certificate \"db .example\" is issued by \"xxx";
        assert!(told.starts_with(start) && told.len() < 200, "{told}");
        assert_eq!(refused(verdict, &[], 0).explanation("db.example"), None);
    }

    #[test]
    fn a_failed_handshake_is_told_with_what_was_noted_and_when_the_first_certificate_ends() {
        let chain = [certificate("db.example", "Intermediate", 40), certificate("Intermediate", "Root", 20)];
        let refusal = CertificateRefusal::default();
        let failed = || Cause::tls("certificate verify failed");
        assert_eq!(refusal.explain(failed(), "h"), failed());
        *refusal.0.lock().unwrap() = Some(refused("certificate has expired", &chain, 1));
        let Cause::Tls { message, certificate_expiry } = refusal.explain(failed(), "h") else { panic!() };
        let start = "certificate verify failed (certificate has expired): the certificate \"Intermediate\"";
        assert!(message.starts_with(start), "{message}");
        assert_eq!(certificate_expiry, Some(at(20)));
        *refusal.0.lock().unwrap() = Some(refused("certificate has expired", &chain, 1));
        assert_eq!(refusal.explain(Cause::Closed, "h"), Cause::Closed);
    }
}
