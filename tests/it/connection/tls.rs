//! TLS: what each mode asks for and verifies, who shows which certificate, what is told of it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use pgtether::connection::{Login, Postgres};
use pgtether::demo::postgres::{Cluster, Setup};
use pgtether::reason::{Cause, Facts, Phase};
use tempfile::TempDir;

use super::{LIMIT, enter, is_config, open, pong, refused, sqlstate, target};
use crate::certs::{Authority, DAY, Leaf, Validity, with_tls};
use crate::servers::{Admin, Version, postgres, postgres15};

/// A server with TLS, the authority behind its certificate, and a folder for the client's files.
struct Stage {
    cluster: Cluster,
    authority: Authority,
    folder: TempDir,
}

impl Stage {
    fn new(setup: Setup, server: impl Fn(&Authority) -> Leaf) -> Stage {
        Self::on(Version::V15, setup, server)
    }

    fn on(version: Version, setup: Setup, server: impl Fn(&Authority) -> Leaf) -> Stage {
        let authority = Authority::new("the server's authority");
        let cluster = postgres(version, with_tls(setup, &authority, &server(&authority)));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        std::fs::write(folder.path().join("other.pem"), Authority::new("another").pem()).unwrap();
        Stage { cluster, authority, folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn url(&self, host: &str, query: &str) -> String {
        format!(
            "postgresql://postgres:{}@{host}:{}/postgres?hostaddr=127.0.0.1&{query}",
            self.cluster.password(),
            self.cluster.port()
        )
    }

    async fn open(&self, query: &str) -> Result<Login, Facts> {
        open(&self.url("localhost", query)).await.map(|(_, login)| login)
    }

    async fn login(&self, query: &str) -> Login {
        self.open(query).await.unwrap_or_else(|facts| panic!("{query}: {facts:?}"))
    }

    async fn refused(&self, query: &str) -> Facts {
        refused(&self.url("localhost", query)).await
    }
}

fn is_tls(facts: &Facts, about: &str) -> bool {
    facts.phase == Phase::Tls && matches!(&facts.cause, Cause::Tls { message, .. } if message.contains(about))
}

#[tokio::test]
async fn each_mode_verifies_what_it_says() {
    let stage = Stage::new(Setup::default(), Authority::server);
    let (ca, other) = (stage.path("ca.pem"), stage.path("other.pem"));
    for (mode, roots, host, refused) in [
        ("require", None, "wrong.example", None),
        ("verify-ca", Some(&ca), "wrong.example", None),
        ("verify-ca", Some(&other), "localhost", Some("certificate verify failed")),
        ("verify-ca", None, "localhost", Some("certificate verify failed")),
        ("verify-full", Some(&ca), "localhost", None),
        ("verify-full", Some(&ca), "127.0.0.1", None),
        ("verify-full", Some(&ca), "wrong.example", Some("ostname mismatch")),
        ("verify-full", Some(&other), "localhost", Some("certificate verify failed")),
        ("verify-full", None, "localhost", Some("certificate verify failed")),
    ] {
        let roots = roots.map(|file| format!("&sslrootcert={file}")).unwrap_or_default();
        for binding in ["disable", "require"] {
            let url = stage.url(host, &format!("sslmode={mode}{roots}&channel_binding={binding}"));
            match (open(&url).await, refused) {
                (Ok((_, login)), None) => assert!(login.tls.is_some(), "{url}"),
                (Err(facts), Some(why)) => assert!(is_tls(&facts, why), "{url}: {facts:?}"),
                (result, _) => panic!("{url}: {result:?}"),
            }
        }
    }
}

#[tokio::test]
async fn the_weak_modes_take_what_the_server_offers() {
    let with = Stage::new(Setup::default(), Authority::server);
    assert!(with.login("sslmode=prefer").await.tls.is_some());
    assert!(with.login("sslmode=allow").await.tls.is_none());
    assert!(with.login("sslmode=disable").await.tls.is_none());

    let without = postgres15();
    for mode in ["prefer", "allow", "disable"] {
        let (_, login) = open(&format!("{}?sslmode={mode}", without.superuser_url())).await.unwrap();
        assert!(login.tls.is_none(), "{mode}");
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        let facts = refused(&format!("{}?sslmode={mode}", without.superuser_url())).await;
        assert_eq!(facts, Facts::new(Phase::Tls, Cause::TlsRefused), "{mode}");
    }
}

#[tokio::test]
async fn the_weak_modes_try_the_other_way_where_the_server_demands_it() {
    let only_tls =
        Stage::new(Setup::default().hba("hostssl all all 127.0.0.1/32 scram-sha-256"), Authority::server);
    assert!(only_tls.login("sslmode=allow").await.tls.is_some());
    assert_eq!(sqlstate(&only_tls.refused("sslmode=disable").await), "28000");

    let only_plain =
        Stage::new(Setup::default().hba("hostnossl all all 127.0.0.1/32 scram-sha-256"), Authority::server);
    assert!(only_plain.login("sslmode=prefer").await.tls.is_none());
    assert_eq!(sqlstate(&only_plain.refused("sslmode=require").await), "28000");
}

#[tokio::test]
async fn a_rejected_password_is_not_tried_the_other_way() {
    let stage = Stage::new(Setup::default(), Authority::server);
    for mode in ["prefer", "allow"] {
        let before = stage.cluster.log().matches("password authentication failed").count();
        let url = format!("{}?sslmode={mode}", stage.cluster.url("postgres", "wrong", "postgres"));
        assert_eq!(sqlstate(&refused(&url).await), "28P01");
        let after = stage.cluster.log().matches("password authentication failed").count();
        assert_eq!(after, before + 1, "{mode}");
    }
}

#[tokio::test]
async fn both_versions_are_told_by_name() {
    let stage = Stage::new(Setup::default(), Authority::server);
    for version in ["TLSv1.2", "TLSv1.3"] {
        let query =
            format!("sslmode=require&ssl_min_protocol_version={version}&ssl_max_protocol_version={version}");
        let login = stage.login(&query).await;
        assert_eq!(login.facts.tls_version.as_deref(), Some(version));
    }
}

#[tokio::test]
async fn a_version_that_the_server_does_not_speak_fails_the_handshake() {
    let setup = Setup::default().set("ssl_min_protocol_version", "TLSv1.3");
    let stage = Stage::new(setup, Authority::server);
    let facts = stage.refused("sslmode=require&ssl_max_protocol_version=TLSv1.2").await;
    assert!(is_tls(&facts, "version"), "{facts:?}");
    let fallback = stage.login("sslmode=prefer&ssl_max_protocol_version=TLSv1.2").await;
    assert!(fallback.tls.is_none());
}

#[tokio::test]
async fn the_certificates_end_is_told() {
    let good = Stage::new(Setup::default(), |a| a.server_for(&["localhost"], Validity::For(DAY * 3)));
    let expiry = good.login("sslmode=require").await.facts.certificate_expiry.unwrap();
    let left = expiry.duration_since(SystemTime::now()).unwrap();
    assert!(left < DAY * 3 && left > DAY * 3 - Duration::from_secs(600), "{left:?}");

    let ended = Stage::new(Setup::default(), |a| a.server_for(&["localhost"], Validity::Expired));
    let expiry = ended.login("sslmode=require").await.facts.certificate_expiry.unwrap();
    assert!(expiry < SystemTime::now());
    let facts = ended.refused(&format!("sslmode=verify-ca&sslrootcert={}", ended.path("ca.pem"))).await;
    assert!(is_tls(&facts, "expired"), "{facts:?}");
    let shown = "): the certificate \"server\", issued by \"the server's authority\", ended ";
    assert!(is_tls(&facts, shown), "{facts:?}");
}

#[tokio::test]
async fn a_refused_certificate_is_told_by_its_names_and_its_authority() {
    for (version, negotiation) in [(Version::V15, "postgres"), (Version::V18, "direct")] {
        let stage = Stage::on(version, Setup::default(), Authority::server);
        let (ca, other) = (stage.path("ca.pem"), stage.path("other.pem"));
        let refused = async |host: &str, roots: &str| {
            let query = format!("sslmode=verify-full&sslrootcert={roots}&sslnegotiation={negotiation}");
            refused(&stage.url(host, &query)).await
        };
        let facts = refused("wrong.example", &ca).await;
        let names = "ostname mismatch): the certificate is for \"localhost\", \"127.0.0.1\", \"::1\", not for \"wrong.example\"";
        assert!(is_tls(&facts, names), "{facts:?}");
        let facts = refused("localhost", &other).await;
        assert!(
            is_tls(&facts, "the certificate \"server\" is issued by \"the server's authority\""),
            "{facts:?}"
        );
    }
}

#[tokio::test]
async fn channel_binding_needs_tls_and_scram() {
    let stage =
        Stage::new(Setup::default().hba("host all all 127.0.0.1/32 scram-sha-256"), Authority::server);
    stage.login("sslmode=require&channel_binding=require").await;
    stage.login("sslmode=require&channel_binding=disable").await;
    stage.login("sslmode=disable&channel_binding=prefer").await;

    let open = Stage::new(Setup::default().hba("host all all 127.0.0.1/32 trust"), Authority::server);
    let facts = open.refused("sslmode=require&channel_binding=require").await;
    assert!(
        matches!(&facts.cause, Cause::Tls { message, .. } if message.contains("channel_binding")),
        "{facts:?}"
    );
}

#[tokio::test]
async fn a_login_is_bound_to_a_certificate_that_is_signed_by_rsa_pss() {
    let scram = Setup::default().hba("host all all 127.0.0.1/32 scram-sha-256");
    let own = Leaf::signed_by_rsa_pss();
    let stage = Stage::new(scram, |_| Leaf { cert: own.cert.clone(), key: own.key.clone() });
    std::fs::write(stage.path("own.pem"), &own.cert).unwrap();
    let roots = stage.path("own.pem");
    stage.login(&format!("sslmode=verify-full&sslrootcert={roots}&channel_binding=require")).await;
}

#[tokio::test]
async fn the_first_certificate_of_the_chain_to_end_is_told_whether_or_not_it_is_the_servers_own() {
    for (intermediate, own, first) in [(3, 20, 3), (20, 3, 3)] {
        let stage = Stage::new(Setup::default(), |root| {
            let between = root.intermediate("between", DAY * intermediate);
            let leaf = between.server_for(&["localhost"], Validity::For(DAY * own));
            Leaf { cert: leaf.cert + &between.pem(), key: leaf.key }
        });
        let roots = stage.path("ca.pem");
        let login = stage.login(&format!("sslmode=verify-full&sslrootcert={roots}")).await;
        let left = login.facts.certificate_expiry.unwrap().duration_since(SystemTime::now()).unwrap();
        let expected = DAY * first;
        assert!(left <= expected && left + DAY / 24 > expected, "{left:?}");
    }
}

#[tokio::test]
async fn a_client_certificate_logs_in() {
    let setup = Setup::default().hba("hostssl all all 127.0.0.1/32 cert");
    let stage = Stage::new(setup, Authority::server);
    let admin = Admin::of(&stage.cluster).await;
    admin.query("CREATE ROLE carol LOGIN").await;
    let carol = stage.authority.client("carol");
    let (cert, key) = carol.write(stage.folder.path(), "carol");
    let url = |identity: &str| {
        format!("postgresql://carol@127.0.0.1:{}/postgres?sslmode=require{identity}", stage.cluster.port())
    };
    let with =
        |cert: &Path, key: &Path| url(&format!("&sslcert={}&sslkey={}", cert.display(), key.display()));

    let (mut session, _) = open(&with(&cert, &key)).await.unwrap();
    pong(&mut session).await;

    // Keys come in more than one format.
    let ec = openssl::ec::EcKey::private_key_from_pem(carol.key.as_bytes()).unwrap();
    let sec1 = stage.folder.path().join("sec1.key");
    std::fs::write(&sec1, ec.private_key_to_pem().unwrap()).unwrap();
    assert!(std::fs::read_to_string(&sec1).unwrap().contains("BEGIN EC PRIVATE KEY"));
    open(&with(&cert, &sec1)).await.unwrap();

    assert_eq!(sqlstate(&refused(&url("")).await), "28000");

    let (unknown, unknown_key) =
        Authority::new("an unknown authority").client("carol").write(stage.folder.path(), "unknown");
    let facts = refused(&with(&unknown, &unknown_key)).await;
    assert!(
        matches!(&facts.cause, Cause::Tls { message, .. } if message.contains("unknown ca")),
        "{facts:?}"
    );

    for (cert, key, why) in [
        (cert.as_path(), unknown_key.as_path(), "not the key of the certificate"),
        (key.as_path(), key.as_path(), "no certificate"),
        (cert.as_path(), cert.as_path(), "no private key"),
        (Path::new("/nonexistent/c"), key.as_path(), "sslcert /nonexistent/c"),
    ] {
        let facts = refused(&with(cert, key)).await;
        assert_eq!(facts.phase, Phase::Prepare);
        assert!(is_config(&facts, why), "{facts:?}");
    }
}

#[tokio::test]
async fn a_locked_key_is_refused_without_asking_on_a_terminal() {
    let stage = Stage::new(Setup::default(), Authority::server);
    let leaf = stage.authority.client("carol");
    let (cert, _) = leaf.write(stage.folder.path(), "carol");
    let key = openssl::pkey::PKey::private_key_from_pem(leaf.key.as_bytes()).unwrap();
    let cipher = openssl::symm::Cipher::aes_256_cbc();
    let locked = key.private_key_to_pem_pkcs8_passphrase(cipher, b"open sesame").unwrap();
    let path = stage.path("locked.key");
    std::fs::write(&path, locked).unwrap();
    let facts = stage.refused(&format!("sslmode=require&sslcert={}&sslkey={path}", cert.display())).await;
    assert!(is_config(&facts, "without a passphrase"), "{facts:?}");
}

#[tokio::test]
async fn a_renewed_file_counts_at_the_next_attempt() {
    let stage = Stage::new(Setup::default(), Authority::server);
    let roots = stage.path("roots.pem");
    let target = target(&stage.url("localhost", &format!("sslmode=verify-full&sslrootcert={roots}")));
    let postgres = Postgres::new();
    for (content, works) in [("other.pem", false), ("ca.pem", true), ("other.pem", false)] {
        std::fs::copy(stage.path(content), &roots).unwrap();
        let result = enter(&postgres, target.clone(), LIMIT).await;
        assert_eq!(result.is_ok(), works, "{result:?}");
    }
    std::fs::write(&roots, "nothing of the kind").unwrap();
    let facts = enter(&postgres, target, LIMIT).await.unwrap_err();
    assert!(is_config(&facts, "sslrootcert holds no certificate"), "{facts:?}");
}

#[tokio::test]
async fn direct_negotiation_works_where_the_server_knows_it() {
    let new = Stage::on(Version::V18, Setup::default(), Authority::server);
    let query = format!("sslmode=verify-full&sslrootcert={}&sslnegotiation=direct", new.path("ca.pem"));
    let login = new.login(&query).await;
    assert_eq!(login.facts.tls_version.as_deref(), Some("TLSv1.3"));
    new.login(&format!("{query}&channel_binding=require")).await;

    let old = Stage::new(Setup::default(), Authority::server);
    let facts = old.refused("sslmode=require&sslnegotiation=direct").await;
    assert_eq!(facts.phase, Phase::Tls, "{facts:?}");
}
