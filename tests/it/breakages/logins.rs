//! Breakages that a login is refused by.

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use pgtether::demo::postgres::{Cluster, Setup};
use tempfile::TempDir;

use super::{Breakage, Told};
use crate::certs::{Authority, Validity, with_tls};
use crate::process::Daemon;
use crate::servers::{Admin, Version, postgres, postgres15};

/// A role and a database of an application.
async fn application(cluster: &Cluster) -> (Admin, String) {
    let admin = Admin::of(cluster).await;
    admin.query("CREATE ROLE app LOGIN PASSWORD 'sesame'").await;
    admin.query("CREATE DATABASE app").await;
    (admin, cluster.url("app", "sesame", "app"))
}

/// Is told what these statements break.
async fn by_statements(breakage: &'static Breakage, statements: &[&str]) -> Told {
    let cluster = postgres15();
    let (admin, url) = application(&cluster).await;
    let daemon = breakage.healthy(&url, &[]).await;
    for statement in statements {
        admin.query(statement).await;
    }
    breakage.told(&daemon).await
}

pub fn password(breakage: &'static Breakage) -> LocalBoxFuture<'static, Option<Told>> {
    by_statements(breakage, &["ALTER ROLE app PASSWORD 'changed'"]).map(Some).boxed_local()
}

pub fn no_login(breakage: &'static Breakage) -> LocalBoxFuture<'static, Option<Told>> {
    by_statements(breakage, &["ALTER ROLE app NOLOGIN"]).map(Some).boxed_local()
}

pub fn dropped(breakage: &'static Breakage) -> LocalBoxFuture<'static, Option<Told>> {
    by_statements(breakage, &["DROP DATABASE app WITH (FORCE)"]).map(Some).boxed_local()
}

pub fn full(breakage: &'static Breakage) -> LocalBoxFuture<'static, Option<Told>> {
    async move {
        let setup = Setup::default().set("max_connections", 8).set("superuser_reserved_connections", 4);
        let cluster = postgres(Version::V15, setup);
        let (_admin, url) = application(&cluster).await;
        let daemon = breakage.healthy(&url, &[]).await;
        // The refresh holds the last slot for moments: it is taken as soon as it is free.
        let mut held = Vec::new();
        while held.len() < 2 {
            if let Ok((client, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
                tokio::spawn(connection);
                held.push(client);
            }
        }
        let told = breakage.told(&daemon).await;
        drop(held);
        Some(told)
    }
    .boxed_local()
}

/// A server under TLS whose certificate the target verifies.
async fn verified(breakage: &'static Breakage, authority: &Authority) -> (Cluster, Daemon, TempDir) {
    let cluster = postgres(Version::V15, with_tls(Setup::default(), authority, &authority.server()));
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("ca.pem");
    std::fs::write(&roots, authority.pem()).unwrap();
    let url = format!(
        "postgresql://postgres:{}@localhost:{}/postgres?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={}",
        cluster.password(),
        cluster.port(),
        roots.display()
    );
    let daemon = breakage.healthy(&url, &[]).await;
    (cluster, daemon, folder)
}

pub fn expired(breakage: &'static Breakage) -> LocalBoxFuture<'static, Option<Told>> {
    async move {
        let authority = Authority::new("Example CA");
        let (mut cluster, daemon, _folder) = verified(breakage, &authority).await;
        let expired = authority.server_for(&["localhost"], Validity::Expired);
        cluster.write(&cluster.data_folder().join("server.key"), &expired.key).unwrap();
        cluster.write(&cluster.data_folder().join("server.crt"), &expired.cert).unwrap();
        cluster.reconfigure(&[]).unwrap();
        let told = breakage.told(&daemon).await;
        let (before, _) = told.detail.split_once(", ended ").expect("it tells when the certificate ended");
        let detail = format!("{before}, ended DATE");
        Some(Told { detail, ..told })
    }
    .boxed_local()
}

pub fn no_tls(breakage: &'static Breakage) -> LocalBoxFuture<'static, Option<Told>> {
    async move {
        let (mut cluster, daemon, _folder) = verified(breakage, &Authority::new("Example CA")).await;
        cluster.reconfigure(&[("ssl", "off")]).unwrap();
        Some(breakage.told(&daemon).await)
    }
    .boxed_local()
}
