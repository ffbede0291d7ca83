//! Strings as providers offer them.

use super::*;

#[test]
fn neons_pooled_string_works_as_copied() {
    let parsed =
        ok("postgresql://alex:AbC123dEf@ep-cool-darkness-123456-pooler.us-east-2.aws.neon.tech/dbname?\
                     sslmode=require&channel_binding=require");
    let e = &parsed.endpoint;
    assert_eq!(e.hosts, [tcp("ep-cool-darkness-123456-pooler.us-east-2.aws.neon.tech", 5432)]);
    assert_eq!((e.user.as_str(), e.database.as_str()), ("alex", "dbname"));
    assert_eq!(e.tls.mode, SslMode::Require);
    assert_eq!(e.channel_binding, ChannelBinding::Require);
    assert_eq!(e.provider(), Provider::Neon);
    assert_eq!(parsed.notes, []);
    assert_eq!(
        e.describe(),
        "alex@ep-cool-darkness-123456-pooler.us-east-2.aws.neon.tech:5432/dbname sslmode=require"
    );
}

#[test]
fn neons_endpoint_option_is_decoded() {
    let e = endpoint("postgres://u:p@ep-x.neon.tech/db?sslmode=require&options=endpoint%3Dep-x");
    assert_eq!(e.options.as_deref(), Some("endpoint=ep-x"));
}

#[test]
fn supabases_string_works_as_copied_and_says_what_pgbouncer_does_not_do() {
    let text =
        "postgres://postgres.abc:pw@aws-0-eu-central-1.pooler.supabase.com:6543/postgres?pgbouncer=true";
    let parsed = ok(text);
    assert_eq!(parsed.endpoint.hosts, [tcp("aws-0-eu-central-1.pooler.supabase.com", 6543)]);
    assert_eq!(parsed.endpoint.user, "postgres.abc");
    assert_eq!(parsed.endpoint.tls.mode, SslMode::Require);
    assert_eq!(parsed.notes.len(), 1);
    assert_eq!(parsed.notes[0].keyword.as_deref(), Some("pgbouncer"));
    assert!(parsed.notes[0].message.contains("does nothing here"), "{:?}", parsed.notes);
}

#[test]
fn strings_of_other_platforms_work_as_copied() {
    for text in [
        "postgresql://u:p@db.abc.supabase.co:5432/postgres?connect_timeout=15&connection_limit=1&pool_timeout=0",
        "postgres://default:x@ep-a.us-east-1.postgres.vercel-storage.com/verceldb?sslmode=require&supa=base-pooler.x",
        "postgres://u:p@h.eu.aws.supabase.com:6543/postgres?sslmode=require&workaround=supabase-pooler.vercel",
        "postgresql://u:p@dpg-abc-a.oregon-postgres.render.com/db_xyz",
        "postgres://avnadmin:p@pg-x.aivencloud.com:12345/defaultdb?sslmode=require",
        "postgresql://doadmin:p@db-do-user-1.b.db.ondigitalocean.com:25060/defaultdb?sslmode=require",
        "postgresql://u:p@free-tier.cockroachlabs.cloud:26257/defaultdb?sslmode=verify-full&options=--cluster%3Dx-1",
        "postgresql://u:p@c.cluster-abc.eu-west-1.rds.amazonaws.com:5432/app?target_session_attrs=read-write",
        "postgresql://u%40srv:p@srv.postgres.database.azure.com/postgres?sslmode=require",
        "host=srv.postgres.database.azure.com port=5432 dbname=postgres user=u@srv password=p sslmode=require",
        "postgresql://u:p@localhost/db?host=/cloudsql/proj:region:instance",
        "postgres://u:p@h/db?sslmode=require&uselibpqcompat=true&prepare=false&default_query_exec_mode=exec",
        "postgres://u:p@h/db?ssl=true&pool_max_conns=4&statement_cache_capacity=0",
        "postgresql://u:p@eu.pg.psdb.cloud:5432/postgres?sslmode=verify-full&sslrootcert=system&sslnegotiation=direct",
    ] {
        ok(text);
    }
}
