//! What the command finds, how it ends, and what happens where it or pgtether cannot start.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use pgtether::demo::postgres::Setup;

use super::{NOWHERE, ended, exec, exec_sh, psql, server};
use crate::commands::Ended;
use crate::process::run;
use crate::servers::{Admin, Version, postgres};

#[tokio::test]
async fn the_command_gets_the_pool_as_its_database_and_its_exit_code_is_passed_on() {
    let cluster = server();
    let direct = format!("{}?sslmode=require&application_name=shop", cluster.superuser_url());
    let script = format!(
        "echo \"$DATABASE_URL\"; echo \"$PGTETHER_DATABASE_URL\"; echo \"$PGTETHER_WEB_URL\"; {}; exit 7",
        psql("SELECT current_user || current_setting('application_name')")
    );
    // The server has no TLS; the pool is what is asked here, so pgtether does without.
    let direct = direct.replace("sslmode=require", "sslmode=prefer");
    let done = ended(&mut exec_sh(&direct, &[], &script)).await;
    assert_eq!(done.code, 7, "{}", done.err);
    let lines: Vec<_> = done.out.lines().collect();
    let [pooled, original, web, answer] = lines[..] else { panic!("{lines:?}\n{}", done.err) };
    let user = format!("postgresql://postgres:{}@127.0.0.1:", cluster.password());
    assert!(
        pooled.starts_with(&user) && pooled.ends_with("/postgres?application_name=shop&sslmode=disable"),
        "{pooled}"
    );
    assert!(!pooled.contains(&format!(":{}/", cluster.port())), "{pooled}");
    assert_eq!((original, answer), (direct.as_str(), "postgresshop"));
    assert!(web.starts_with("http://127.0.0.1:"), "{web}");
}

#[tokio::test]
async fn code_that_insists_on_tls_is_served_and_that_of_sqlalchemy_keeps_its_scheme() {
    let cluster = server();
    let psql = Version::V15.folder().join("psql").display().to_string();
    let url = cluster.superuser_url().replace("postgresql://", "postgresql+asyncpg://");
    let script = format!(
        "case $DATABASE_URL in postgresql+asyncpg://*) ;; *) exit 3;; esac
         {psql} -XAtqw -c \"SELECT 'tls'\" \"postgresql${{DATABASE_URL#postgresql+asyncpg}}?sslmode=require\""
    );
    let done = ended(&mut exec_sh(&url, &[], &script)).await;
    assert_eq!((done.code, done.out.trim()), (0, "tls"), "{}", done.err);
}

#[tokio::test]
async fn without_a_password_the_pool_is_a_socket_that_only_this_user_reaches() {
    let cluster = postgres(Version::V15, Setup::default().hba("host all app 127.0.0.1/32 trust"));
    let admin = Admin::of(&cluster).await;
    admin.query("CREATE ROLE app LOGIN").await;
    admin.close().await;
    let url = format!("postgresql://app@127.0.0.1:{}/postgres", cluster.port());
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("tmp");
    fs::create_dir(&folder).unwrap();
    let script = format!("ls -ld \"$TMPDIR\"/*; {}", psql("SELECT current_user"));
    let done = ended(exec_sh(&url, &[], &script).env("TMPDIR", &folder)).await;
    let lines: Vec<_> = done.out.lines().collect();
    assert!(done.code == 0 && lines[0].starts_with("drwx------"), "{lines:?}\n{}", done.err);
    assert_eq!(lines[1], "app");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is left behind");
}

#[tokio::test]
async fn exit_codes_are_those_of_env() {
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = scratch.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let plain = file("plain", "#!/bin/sh\n", 0o644);
    let headless = file("headless", "true\n", 0o755);
    for (words, code, told) in [
        (&["sh", "-c", "exit 0"][..], 0, ""),
        (&["sh", "-c", "exit 255"], 255, ""),
        (&["sh", "-c", "kill -KILL $$"], 137, ""),
        (&["sh", "-c", "kill -TERM $$"], 143, ""),
        (&["no-such-command"], 127, "the command \"no-such-command\" cannot be started: not found"),
        (&[&plain], 126, "chmod +x"),
        (&[&headless], 126, "#!/bin/sh"),
    ] {
        let done = ended(&mut exec(NOWHERE, &[], words)).await;
        assert!(done.code == code && done.err.contains(told), "{words:?}: {done:?}");
    }
}

#[test]
fn what_is_missing_or_wrong_on_the_command_line_is_told_with_125() {
    for (url, args, words) in [
        (NOWHERE, &["exec"][..], "Write -- before the command"),
        (NOWHERE, &["exec", "sh"], "Write -- before the command"),
        (NOWHERE, &["exec", "--"], "required"),
        (NOWHERE, &["exec", "--pool.size=0", "--", "true"], "take 1 to 1000"),
        (
            NOWHERE,
            &["exec", "--pool.listen=0.0.0.0:6432", "--", "true"],
            "is reached from beyond this machine",
        ),
        (NOWHERE, &["exec", "--web.config.file=/nonexistent", "--", "true"], "--web.config.file"),
        ("", &["exec", "--", "true"], "DATABASE_URL is not set"),
    ] {
        let done = Ended::from(run(args, &[("DATABASE_URL", url)]));
        assert!(done.code == 125 && done.err.contains(words), "{args:?}: {done:?}");
        assert!(!done.err.contains("sesame"), "{}", done.err);
    }
}

#[tokio::test]
async fn a_pgtether_that_cannot_run_says_so_and_the_command_keeps_its_url() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("--pool.listen={}", holder.local_addr().unwrap());
    let told = "pgtether cannot run: the command connects to the database itself";
    for (url, flag, why) in [
        ("sqlite:///app.db", "--pool.size=1", "the scheme is not PostgreSQL"),
        ("postgresql://app:sesame@h/d?sslmod=x", "--pool.size=1", "did you mean `sslmode`?"),
        (NOWHERE, taken.as_str(), "another process listens there"),
        (NOWHERE, "--pool.listen=unix:/nonexistent/.s.PGSQL.1", "its folder is not there"),
    ] {
        let done = ended(&mut exec_sh(url, &[flag], "echo $DATABASE_URL; exit 3")).await;
        assert_eq!((done.code, done.out.trim()), (3, url), "{}", done.err);
        assert!(done.err.contains(told) && done.err.contains(why), "{}", done.err);
        assert_eq!(done.err.matches("level=error").count(), 1, "it is told once: {}", done.err);
        assert!(!done.err.contains("sesame"), "{}", done.err);
    }
}

#[tokio::test]
async fn a_web_port_that_is_taken_keeps_nothing_from_running() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("--web.listen-address={}", holder.local_addr().unwrap());
    let done = ended(&mut exec_sh(NOWHERE, &[&taken], "echo $DATABASE_URL $PGTETHER_WEB_URL")).await;
    assert!(done.code == 0 && done.out.starts_with("postgresql://app:sesame@127.0.0.1:"), "{done:?}");
    assert!(!done.out.contains("http://") && done.err.contains("runs without this web port"), "{done:?}");
}
