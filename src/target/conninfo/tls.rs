//! What the `ssl*` keywords ask for together.

use super::Findings;
use super::hosts::is_remote;
use super::table::Keyword;
use super::values::Values;
use super::words::{Choices, NEGOTIATIONS, SSL_MODES, SWITCH, TLS_VERSIONS, word};
use crate::target::{Host, Identity, RootCerts, SslMode, SslNegotiation, Tls, TlsVersion, is_no_path};

/// `sslcertmode`.
#[derive(Clone, Copy, PartialEq)]
enum CertMode {
    Disable,
    Allow,
    Require,
}

const CERT_MODES: &Choices<CertMode> =
    &[("disable", CertMode::Disable), ("allow", CertMode::Allow), ("require", CertMode::Require)];

pub(super) fn tls(hosts: &[Host], values: &Values, findings: &mut Findings) -> Tls {
    let roots = match values.filled(Keyword::SslRootCert) {
        None | Some("system") => RootCerts::System,
        Some(file) => RootCerts::File(file.into()),
    };
    let mode = mode(hosts, &roots, values, findings);
    let tls = Tls {
        mode,
        negotiation: word(Keyword::SslNegotiation, NEGOTIATIONS, values, findings).unwrap_or_default(),
        roots,
        identity: identity(values, findings),
        sni: word(Keyword::SslSni, SWITCH, values, findings).unwrap_or(true),
        min_version: version(Keyword::SslMinVersion, values, findings).unwrap_or_default(),
        max_version: version(Keyword::SslMaxVersion, values, findings),
    };
    check_together(&tls, findings);
    for key in [Keyword::SslRootCert, Keyword::SslCertFile, Keyword::SslKeyFile] {
        if values.filled(key).is_some_and(is_no_path) {
            let keyword = key.keyword();
            let message =
                format!("`{keyword}` takes the path of a file: write the PEM to a file, and name that");
            findings.problem(Some(keyword), message);
        }
    }
    tls
}

fn mode(hosts: &[Host], roots: &RootCerts, values: &Values, findings: &mut Findings) -> SslMode {
    let written = word(Keyword::SslMode, SSL_MODES, values, findings);
    let system = values.get(Keyword::SslRootCert) == Some("system");
    // Without hosts their lists were wrong, which is problem enough.
    let remote = hosts.is_empty() || hosts.iter().any(is_remote);
    match written {
        Some(mode) if system && mode != SslMode::VerifyFull => {
            findings.problem(Some("sslrootcert"), "`sslrootcert` system needs sslmode=verify-full");
            mode
        }
        // libpq: whoever names authorities wants them checked.
        Some(SslMode::Require) if *roots != RootCerts::System => {
            let message =
                "`sslmode` require together with `sslrootcert` verifies the certificate: it is verify-ca";
            findings.note("sslmode", message);
            SslMode::VerifyCa
        }
        Some(mode) => mode,
        None if system => SslMode::VerifyFull,
        None if remote && *roots != RootCerts::System => {
            findings.note(
                "sslrootcert",
                "`sslrootcert` without `sslmode` verifies the certificate: it is verify-ca",
            );
            SslMode::VerifyCa
        }
        None if remote => SslMode::Require,
        None => SslMode::Prefer,
    }
}

fn identity(values: &Values, findings: &mut Findings) -> Option<Identity> {
    let mode = word(Keyword::SslCertMode, CERT_MODES, values, findings).unwrap_or(CertMode::Allow);
    if mode == CertMode::Require {
        let message =
            "`sslcertmode` require is not supported: demand the certificate at the server, in pg_hba.conf";
        findings.problem(Some("sslcertmode"), message);
    }
    match (values.filled(Keyword::SslCertFile), values.filled(Keyword::SslKeyFile)) {
        (Some(_), Some(_)) if mode == CertMode::Disable => {
            findings.note("sslcertmode", "`sslcertmode` disable: `sslcert` and `sslkey` are not used");
            None
        }
        (Some(cert), Some(key)) => Some(Identity { cert: cert.into(), key: key.into() }),
        (None, None) => None,
        (Some(_), None) => {
            findings.problem(Some("sslcert"), "`sslcert` needs `sslkey`, the file of its key");
            None
        }
        (None, Some(_)) => {
            findings.problem(Some("sslkey"), "`sslkey` needs `sslcert`, the file of its certificate");
            None
        }
    }
}

/// As in libpq, upper and lower case are one, and an empty value is no limit.
fn version(key: Keyword, values: &Values, findings: &mut Findings) -> Option<TlsVersion> {
    let written = values.filled(key)?;
    let same = TLS_VERSIONS.iter().find(|(word, _)| word.eq_ignore_ascii_case(written));
    same.map(|(_, version)| *version).or_else(|| word(key, TLS_VERSIONS, values, findings))
}

/// What is right alone and wrong together.
fn check_together(tls: &Tls, findings: &mut Findings) {
    let weak = matches!(tls.mode, SslMode::Disable | SslMode::Allow | SslMode::Prefer);
    if tls.negotiation == SslNegotiation::Direct && weak {
        let message = "`sslnegotiation` direct needs sslmode=require, verify-ca or verify-full";
        findings.problem(Some("sslnegotiation"), message);
    }
    if tls.max_version.is_some_and(|max| max < tls.min_version) {
        findings.problem(
            Some("ssl_max_protocol_version"),
            "`ssl_max_protocol_version` is below `ssl_min_protocol_version`, which is TLSv1.2 if missing",
        );
    }
    if weak && tls.roots != RootCerts::System {
        findings
            .note("sslrootcert", "`sslrootcert` is not used: only sslmode=verify-ca and verify-full verify");
    }
    if tls.mode == SslMode::Disable && tls.identity.is_some() {
        findings.note("sslcert", "`sslcert` and `sslkey` are not used: sslmode=disable");
    }
}
