//! Whole files in, problems or rules out. Every bad file of `tests/web_config` has the expected messages beside it.

mod passwords;

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use openssl::symm::Cipher;
use rcgen::generate_simple_self_signed;
use tempfile::TempDir;

use super::assemble::{self, ReadRules};
use super::words::ClientAuth;
use super::*;
use crate::config::Problems;
use crate::config::tests::compare_gallery;

const GALLERY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/web_config");
const PASSWORD: &str = "hunter2";
/// As the toolkit's documentation has it.
const HASH: &str = "$2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze";

/// A folder with the files that the gallery names.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key =
        openssl::pkey::PKey::private_key_from_pem(other.signing_key.serialize_pem().as_bytes()).unwrap();
    write("server.crt", made.cert.pem().as_bytes());
    write("server.key", made.signing_key.serialize_pem().as_bytes());
    write("other.key", other.signing_key.serialize_pem().as_bytes());
    let locked = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), PASSWORD.as_bytes());
    write("locked.key", &locked.unwrap());
    write("text", b"nothing in PEM\n");
    write("broken.crt", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    folder
}

fn read_in(folder: &Path, name: &str, text: &str, now: SystemTime) -> ReadRules {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    let env = |name: &str| (name == "HASH").then(|| OsString::from(HASH));
    assemble::read(&path, &env, now)
}

/// Of a good file, with `server.crt` and `server.key` beside it.
pub fn live(text: &str) -> Live {
    Live::new(read(text).unwrap_or_else(|problems| panic!("{problems}")))
}

fn read(text: &str) -> Result<Rules, Problems> {
    let folder = folder();
    read_in(folder.path(), "web.yml", text, SystemTime::now()).rules
}

fn warnings(rules: &Rules) -> Vec<String> {
    rules.warnings().iter().map(|warning| format!("{}: {}", warning.path, warning.message)).collect()
}

#[test]
fn every_bad_file_gives_exactly_the_messages_beside_it() {
    let folder = folder();
    compare_gallery(GALLERY, |name, text| {
        let outcome = read_in(folder.path(), name, text, SystemTime::now());
        let found = outcome.rules.expect_err(name).to_string();
        assert!(!found.contains("mDwo"), "{found}");
        found.replace(&format!("{}/", folder.path().display()), "")
    });
}

#[test]
fn the_toolkits_own_sample_is_good() {
    let sample = format!(
        "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\nbasic_auth_users:\n  alice: {HASH}\n  \
         bob: $2y$10$hLqFl9jSjoAAy95Z/zw8Ye8wkdMBM8c5Bn1ptYqP/AXyV0.oy0S8m\nrate_limit:\n  interval: \"1s\"\n  burst: 20\n"
    );
    let rules = read(&sample).unwrap();
    assert!(rules.tls().is_some() && rules.users.is_some() && rules.rate.is_some());
    assert_eq!(warnings(&rules), [""; 0]);
    assert!(!format!("{rules:?}").contains("mDwo"), "{rules:?}");
}

#[test]
fn every_key_of_the_format_is_taken() {
    let rules = read(
        "tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: RequireClientCert
  client_allowed_sans: [a.example, 192.0.2.1]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, TLS_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [CurveP256, CurveP384, CurveP521, X25519]
http_server_config:
  http2: false
  headers:
    Content-Security-Policy: default-src 'self'
    X-Frame-Options: DENY
    X-Content-Type-Options: nosniff
    X-XSS-Protection: ''
    Strict-Transport-Security: max-age=31536000
basic_auth_users: {alice: '${HASH}'}
rate_limit: {interval: 0, burst: 5}
"
    );
    let rules = rules.unwrap();
    assert_eq!(rules.tls().map(|tls| tls.client_auth), Some(ClientAuth::RequireAnyClientCert));
    assert_eq!(rules.headers.len(), 4, "one is blank");
    assert!(rules.rate.is_none(), "0 is no limit");
    assert_eq!(
        warnings(&rules),
        [
            "tls_server_config.client_auth_type: RequireAnyClientCert lets in any certificate, and anybody can make one: \
          RequireAndVerifyClientCert protects"
        ]
    );
}

#[test]
fn certificate_and_key_may_stand_in_the_file_itself() {
    let folder = folder();
    let indented = |name: &str| {
        fs::read_to_string(folder.path().join(name))
            .unwrap()
            .lines()
            .map(|line| format!("    {line}\n"))
            .collect()
    };
    let (cert, key): (String, String) = (indented("server.crt"), indented("server.key"));
    let text = format!(
        "tls_server_config:\n  client_auth_type: RequireAndVerifyClientCert\n  cert: |\n{cert}  key: |\n{key}  client_ca: |\n{cert}"
    );
    let outcome = read_in(folder.path(), "web.yml", &text, SystemTime::now());
    let rules = outcome.rules.unwrap();
    assert!(rules.demand_certificates());
    assert_eq!(outcome.files, [folder.path().join("web.yml")]);
}

#[test]
fn the_files_that_it_names_are_a_part_of_it_even_where_they_are_bad() {
    let folder = folder();
    let text =
        "tls_server_config: {cert_file: missing.crt, key_file: server.key, client_ca_file: /etc/none.crt}\n";
    let outcome = read_in(folder.path(), "web.yml", text, SystemTime::now());
    assert!(outcome.rules.is_err());
    let files: Vec<_> =
        ["web.yml", "missing.crt", "server.key", "/etc/none.crt"].map(|name| folder.path().join(name)).into();
    assert_eq!(outcome.files, files);
}

#[test]
fn a_key_in_the_place_of_its_path_is_not_shown() {
    let text = "tls_server_config: {cert_file: server.crt, key_file: \"-----BEGIN PRIVATE KEY-----\\nMIIEsesame\"}\n";
    let problems = read(text).unwrap_err().to_string();
    assert!(problems.contains("key_file: takes the path of a file"), "{problems}");
    assert!(!problems.contains("sesame"), "{problems}");
}

#[test]
fn what_protects_less_than_it_seems_is_warned_of() {
    let cases: [(&str, &[&str]); 5] = [
        ("", &[": asks for nothing: no TLS, no users, no headers, no limit"]),
        (
            "tls_server_config: {}\nbasic_auth_users:\n",
            &[": asks for nothing: no TLS, no users, no headers, no limit"],
        ),
        (
            "rate_limit: {burst: 5}",
            &[
                "rate_limit.burst: limits nothing without interval",
                ": asks for nothing: no TLS, no users, no headers, no limit",
            ],
        ),
        (
            "basic_auth_users: {a: '${HASH}'}",
            &["basic_auth_users: without tls_server_config passwords cross the network readably"],
        ),
        (
            "http_server_config: {http2: true, headers: {Strict-Transport-Security: max-age=1}}",
            &[
                "http_server_config.http2: changes nothing: HTTP/1.1 is what is served",
                "http_server_config.headers.Strict-Transport-Security: browsers ignore it without TLS",
            ],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(warnings(&read(text).unwrap()), expected, "{text}");
    }
}

#[test]
fn a_certificate_out_of_its_time_is_served_with_a_warning() {
    let folder = folder();
    let text = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n";
    let at = |now: SystemTime| {
        let said = warnings(&read_in(folder.path(), "web.yml", text, now).rules.unwrap());
        said.join("").replace(&folder.path().display().to_string(), "F")
    };
    let century = Duration::from_secs(100 * 365 * 24 * 3600);
    assert_eq!(at(SystemTime::now()), "");
    let expired = "tls_server_config.cert_file: F/server.crt has expired: clients that verify it turn away";
    assert_eq!(at(SystemTime::UNIX_EPOCH + century * 60), expired);
    let early =
        "tls_server_config.cert_file: F/server.crt is not valid yet: clients that verify it turn away";
    assert_eq!(at(SystemTime::UNIX_EPOCH), early);
}

#[test]
fn rules_that_protect_less_than_those_before_are_noticed() {
    let tls = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
    let verified = format!("{tls}  client_ca_file: server.crt\n  client_auth_type: ");
    let all = [
        String::new(),
        tls.to_owned(),
        format!("{verified}VerifyClientCertIfGiven\n"),
        format!("{verified}RequireAndVerifyClientCert\n"),
        format!("{verified}RequireAndVerifyClientCert\n  client_allowed_sans: [a]\n"),
        format!(
            "{verified}RequireAndVerifyClientCert\n  client_allowed_sans: [b]\nbasic_auth_users: {{a: '{HASH}'}}\n"
        ),
    ];
    let all = all.map(|text| read(&text).unwrap());
    for (i, before) in all.iter().enumerate() {
        for (j, after) in all.iter().enumerate() {
            assert_eq!(after.gives_up(before).is_some(), j < i, "{i} to {j}");
        }
    }
}
