use super::*;
use crate::pool::statements::Catalog;

fn asked() -> BTreeMap<String, String> {
    [("timezone", "Europe/Paris"), ("search_path", "a, \"b\""), ("role", "x"), ("client_encoding", "UTF8")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

#[test]
fn each_statement_is_known_by_what_it_does_whatever_stands_between_its_words() {
    let reset = |name: &str| Some(SqlCommand::Reset(name.to_owned()));
    let set = |name: &str| Some(SqlCommand::Default { name: name.to_owned(), for_transaction: false });
    let local = |name: &str| Some(SqlCommand::Default { name: name.to_owned(), for_transaction: true });
    let all = || Some(SqlCommand::GiveUp(GiveUp::All));
    let one = |name: &str| Some(SqlCommand::GiveUp(GiveUp::One(name.as_bytes().into())));
    for (sql, expected) in [
        ("DEALLOCATE ALL", all()),
        ("discard\tall ;;", all()),
        ("/* x */ deallocate/* all */prepare all -- of them", all()),
        ("DEALLOCATE Pdo_Stmt_1", one("pdo_stmt_1")),
        ("DEALLOCATE --x\n a", one("a")),
        ("deallocate prepare \"A \"\"b\"\"\";", one("A \"b\"")),
        ("deallocate \"all\"", one("all")),
        ("deallocate prepare", one("prepare")),
        ("DEALLOCATE a b", None),
        ("DEALLOCATE a; b", None),
        ("deallocate", None),
        ("DISCARD PLANS", None),
        ("deallocated x", None),
        ("RESET ALL", Some(SqlCommand::ResetAll)),
        ("/* a */ reset -- b\n all ;", Some(SqlCommand::ResetAll)),
        ("reset/**/TimeZone", reset("timezone")),
        ("RESET \"TimeZone\" -- the end", reset("timezone")),
        ("RESET TIME ZONE", reset("timezone")),
        ("reset \"app\".Tenant", reset("app.tenant")),
        ("RESET ROLE", reset("role")),
        ("RESET SESSION AUTHORIZATION", None),
        ("resets timezone", None),
        ("set search_path to default", set("search_path")),
        ("SET SESSION search_path=DEFAULT;", set("search_path")),
        ("SET LOCAL search_path TO/**/DEFAULT", local("search_path")),
        ("set local app.tenant = default", local("app.tenant")),
        ("set time zone local", set("timezone")),
        ("SET LOCAL TIME ZONE DEFAULT", local("timezone")),
        ("set names default", set("client_encoding")),
        ("set names", set("client_encoding")),
        ("set names 'latin1'", None),
        ("set time zone 'UTC'", None),
        ("set timezone default", None),
        ("set timezone to local", None),
        ("set search_path to 'default'", None),
        ("set search_path to default, public", None),
        ("set role default", None),
        ("select 'reset timezone'", None),
        ("update t set a = default", None),
    ] {
        assert_eq!(SqlCommand::read(sql.as_bytes()), expected, "{sql}");
    }
}

#[test]
fn what_is_reset_is_what_was_asked_for_wherever_that_stands() {
    const PARIS: &str = "SET \"timezone\" TO 'Europe/Paris'";
    let all = "SET \"client_encoding\" TO 'UTF8'\n;SET \"search_path\" TO 'a', 'b'\n;".to_owned() + PARIS;
    let (pass, tag) = (|| ScriptStep::Pass, || ScriptStep::Tag(b"RESET\0"));
    for (sql, expected, steps) in [
        ("/* a */ reset timezone -- b", format!("/* a */ {PARIS}"), vec![tag()]),
        ("a; reset timezone;b", format!("a; {PARIS};b"), vec![pass(), tag(), pass()]),
        ("set local timezone to default;a", PARIS.replace("SET", "SET LOCAL") + ";a", vec![pass(), pass()]),
        ("reset role", "SET \"role\" TO 'x'".to_owned(), vec![tag()]),
        (
            "reset all -- b",
            format!("reset all -- b\n;{all}"),
            vec![pass(), ScriptStep::Swallow, ScriptStep::Swallow, ScriptStep::Swallow],
        ),
    ] {
        let script = read(sql.as_bytes(), &asked(), None).unwrap();
        assert_eq!(String::from_utf8(script.sql).unwrap(), expected, "{sql}");
        assert!(script.is_changed, "{sql}");
        assert_eq!(format!("{:?}", script.steps), format!("{steps:?}"), "{sql}");
    }
}

#[test]
fn all_else_is_sent_as_it_came() {
    for sql in [
        "reset datestyle; show datestyle",
        "select 'reset timezone; reset all'; do $$ begin reset timezone; end $$",
        "-- reset timezone;\nset a to default ; ; set b to 1",
        "discard all",
    ] {
        let script = read(sql.as_bytes(), &asked(), None).unwrap();
        assert!(!script.is_changed && script.sql == sql.as_bytes(), "{sql}");
    }
    assert!(!read(b"reset all; reset timezone", &BTreeMap::new(), None).unwrap().is_changed);
}

#[test]
fn what_a_client_has_is_given_up_once_and_what_is_sql_s_is_the_servers() {
    let mut catalog = Catalog::default();
    let mut names = ClientStatements::new(catalog.budget());
    for name in [&b"a"[..], b"B \"1\""] {
        names.insert(name, catalog.intern(b"select 1\0\0\0", 0).unwrap()).unwrap();
    }
    for (sql, expected, wipes) in [
        ("deallocate a; select 1", "DEALLOCATE pgtether_d1; select 1", false),
        ("/* x */ deallocate prepare A ;", "/* x */ DEALLOCATE pgtether_d1;", false),
        (
            "deallocate a;deallocate \"B \"\"1\"\"\";deallocate a",
            "DEALLOCATE pgtether_d1;DEALLOCATE pgtether_d2;deallocate a",
            false,
        ),
        ("deallocate b; select 'deallocate a'", "deallocate b; select 'deallocate a'", false),
        ("select 1; deallocate all; deallocate a", "select 1; deallocate all; deallocate a", true),
    ] {
        let script = read(sql.as_bytes(), &BTreeMap::new(), Some(&names)).unwrap();
        assert_eq!(String::from_utf8(script.sql).unwrap(), expected, "{sql}");
        assert_eq!((script.wipes, script.is_changed), (wipes, sql != expected), "{sql}");
    }
    let mut script = read(b"deallocate a; select 1", &BTreeMap::new(), Some(&names)).unwrap();
    script.begin(&mut names);
    assert!(names.get(b"a").is_none());
    let steps = Vec::from(script.steps);
    assert!(matches!(steps[..], [ScriptStep::GivesUp(Some(_)), ScriptStep::Pass]), "{steps:?}");
}

#[test]
fn what_a_text_becomes_is_bounded() {
    assert_eq!(gives_up(";".repeat(1 << 20).as_bytes()), None);
    let asked = [("a".to_owned(), "x".repeat(1000))].into();
    assert!(read("reset all;".repeat(256).as_bytes(), &asked, None).is_none());
}

#[test]
fn a_text_that_is_prepared_stays_one_statement() {
    for (sql, expected) in [
        ("/* a */;; reset timezone;", Some("SET \"timezone\" TO 'Europe/Paris'")),
        ("set timezone to default", Some("SET \"timezone\" TO 'Europe/Paris'")),
        ("set local timezone = default", Some("SET LOCAL \"timezone\" TO 'Europe/Paris'")),
        ("reset datestyle", None),
        ("reset all", None),
        ("reset timezone; a", None),
    ] {
        let sent = read_one(sql.as_bytes(), &asked());
        assert_eq!(sent.as_deref(), expected.map(str::as_bytes), "{sql}");
    }
}
