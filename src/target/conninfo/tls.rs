//! What the `ssl*` keywords ask for together.

use super::Report;
use super::hosts::is_remote;
use super::table::Key;
use super::values::Values;
use super::words::{NEGOTIATIONS, SSL_MODES, SWITCH, TLS_VERSIONS, Words, word};
use crate::target::{Host, Identity, RootCerts, SslMode, SslNegotiation, Tls, TlsVersion};

/// `sslcertmode`.
#[derive(Clone, Copy, PartialEq)]
enum CertMode {
    Disable,
    Allow,
    Require,
}

const CERT_MODES: &Words<CertMode> =
    &[("disable", CertMode::Disable), ("allow", CertMode::Allow), ("require", CertMode::Require)];

pub(super) fn tls(hosts: &[Host], values: &Values, report: &mut Report) -> Tls {
    let roots = match values.filled(Key::SslRootCert) {
        None | Some("system") => RootCerts::System,
        Some(file) => RootCerts::File(file.into()),
    };
    let mode = mode(hosts, &roots, values, report);
    let tls = Tls {
        mode,
        negotiation: word(Key::SslNegotiation, NEGOTIATIONS, values, report).unwrap_or_default(),
        roots,
        identity: identity(values, report),
        sni: word(Key::SslSni, SWITCH, values, report).unwrap_or(true),
        min_version: version(Key::SslMinVersion, values, report).unwrap_or_default(),
        max_version: version(Key::SslMaxVersion, values, report),
    };
    check_together(&tls, report);
    tls
}

fn mode(hosts: &[Host], roots: &RootCerts, values: &Values, report: &mut Report) -> SslMode {
    let written = word(Key::SslMode, SSL_MODES, values, report);
    let system = values.get(Key::SslRootCert) == Some("system");
    // Without hosts their lists were wrong, which is problem enough.
    let remote = hosts.is_empty() || hosts.iter().any(is_remote);
    match written {
        Some(mode) if system && mode != SslMode::VerifyFull => {
            report.problem(Some("sslrootcert"), "`sslrootcert` system needs sslmode=verify-full");
            mode
        }
        // libpq: whoever names authorities wants them checked.
        Some(SslMode::Require) if *roots != RootCerts::System => {
            let message =
                "`sslmode` require together with `sslrootcert` verifies the certificate: it is verify-ca";
            report.note("sslmode", message);
            SslMode::VerifyCa
        }
        Some(mode) => mode,
        None if system => SslMode::VerifyFull,
        None if remote && *roots != RootCerts::System => {
            report.note(
                "sslrootcert",
                "`sslrootcert` without `sslmode` verifies the certificate: it is verify-ca",
            );
            SslMode::VerifyCa
        }
        None if remote => SslMode::Require,
        None => SslMode::Prefer,
    }
}

fn identity(values: &Values, report: &mut Report) -> Option<Identity> {
    let mode = word(Key::SslCertMode, CERT_MODES, values, report).unwrap_or(CertMode::Allow);
    if mode == CertMode::Require {
        let message =
            "`sslcertmode` require is not supported: demand the certificate at the server, in pg_hba.conf";
        report.problem(Some("sslcertmode"), message);
    }
    match (values.filled(Key::SslCertFile), values.filled(Key::SslKeyFile)) {
        (Some(_), Some(_)) if mode == CertMode::Disable => {
            report.note("sslcertmode", "`sslcertmode` disable: `sslcert` and `sslkey` are not used");
            None
        }
        (Some(cert), Some(key)) => Some(Identity { cert: cert.into(), key: key.into() }),
        (None, None) => None,
        (Some(_), None) => {
            report.problem(Some("sslcert"), "`sslcert` needs `sslkey`, the file of its key");
            None
        }
        (None, Some(_)) => {
            report.problem(Some("sslkey"), "`sslkey` needs `sslcert`, the file of its certificate");
            None
        }
    }
}

/// As in libpq, upper and lower case are one, and an empty value is no limit.
fn version(key: Key, values: &Values, report: &mut Report) -> Option<TlsVersion> {
    let written = values.filled(key)?;
    let same = TLS_VERSIONS.iter().find(|(word, _)| word.eq_ignore_ascii_case(written));
    same.map(|(_, version)| *version).or_else(|| word(key, TLS_VERSIONS, values, report))
}

/// What is right alone and wrong together.
fn check_together(tls: &Tls, report: &mut Report) {
    let weak = matches!(tls.mode, SslMode::Disable | SslMode::Allow | SslMode::Prefer);
    if tls.negotiation == SslNegotiation::Direct && weak {
        let message = "`sslnegotiation` direct needs sslmode=require, verify-ca or verify-full";
        report.problem(Some("sslnegotiation"), message);
    }
    if tls.max_version.is_some_and(|max| max < tls.min_version) {
        report.problem(
            Some("ssl_max_protocol_version"),
            "`ssl_max_protocol_version` is below `ssl_min_protocol_version`, which is TLSv1.2 if missing",
        );
    }
    if weak && tls.roots != RootCerts::System {
        report
            .note("sslrootcert", "`sslrootcert` is not used: only sslmode=verify-ca and verify-full verify");
    }
    if tls.mode == SslMode::Disable && tls.identity.is_some() {
        report.note("sslcert", "`sslcert` and `sslkey` are not used: sslmode=disable");
    }
}
