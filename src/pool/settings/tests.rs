use super::*;

fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

fn session() -> SessionSettings {
    SessionSettings::new(values(&[("TimeZone", "UTC"), ("application_name", "tether")]))
}

/// A client that asks for these and was told what the session reports.
fn client(asked: &[(&str, &str)], session: &SessionSettings) -> ClientSettings {
    let asked = Arc::new(values(asked));
    ClientSettings::new(Spelled { asked, told: Arc::clone(session.reported()) })
}

/// Gives the session to the client, whose server does as it is told.
fn give(client: &mut ClientSettings, session: &mut SessionSettings) -> Vec<(String, String)> {
    client.were_given(session)
}

#[test]
fn a_session_that_has_them_already_is_not_asked() {
    let mut session = session();
    let mut client = client(&[], &session);
    assert_eq!(client.change(&session), None);
    assert_eq!(give(&mut client, &mut session), []);
    assert!(client.fit(&session));
}

#[test]
fn only_differences_are_set_and_what_the_client_never_had_is_reset() {
    let mut session = session();
    let mut first = client(&[("search_path", "a, b"), ("statement_timeout", "5s")], &session);
    assert_eq!(
        first.change(&session).unwrap(),
        "SELECT pg_catalog.set_config('search_path', 'a, b', false), \
         pg_catalog.set_config('statement_timeout', '5s', false)"
    );
    give(&mut first, &mut session);
    let second = client(&[("search_path", "it's")], &session);
    assert_eq!(
        second.change(&session).unwrap(),
        "RESET \"statement_timeout\";SELECT pg_catalog.set_config('search_path', 'it''s', false)"
    );
}

#[test]
fn what_a_client_makes_follows_it_and_is_no_other_clients() {
    let mut here = session();
    let (mut one, mut other) = (client(&[], &here), client(&[], &here));
    give(&mut one, &mut here);
    here.report("TimeZone", "Asia/Tokyo");
    let made = values(&[("timezone", "Asia/Tokyo"), ("role", "admin")]);
    one.follow(&mut here, made, false);
    assert!(one.fit(&here));
    assert_eq!(other.change(&here).unwrap(), "RESET \"role\";RESET \"timezone\"");
    let there = session();
    let sql = one.change(&there).unwrap();
    assert!(sql.contains("'Asia/Tokyo'") && sql.ends_with("set_config('role', 'admin', false)"), "{sql}");
    here.report("TimeZone", "UTC");
    assert_eq!(give(&mut other, &mut here), []);
}

#[test]
fn what_a_client_resets_is_what_it_asked_for_again() {
    let mut here = session();
    let mut one = client(&[("search_path", "tenant"), ("app.tenant", "7")], &here);
    give(&mut one, &mut here);
    // RESET ALL: the server lists nothing, and what is not its own is empty.
    one.follow(&mut here, values(&[("app.tenant", "")]), true);
    assert_eq!(here.names().count(), 0);
    let sql = one.change(&here).unwrap();
    assert!(sql.contains("'search_path', 'tenant'") && sql.contains("'app.tenant', '7'"), "{sql}");
    // One that it made empty stays so.
    give(&mut one, &mut here);
    one.follow(&mut here, values(&[("app.tenant", ""), ("search_path", "tenant")]), false);
    assert!(one.fit(&here), "{one:?} {here:?}");
}

#[test]
fn in_a_transaction_what_was_reset_is_missing_and_nothing_else() {
    let one = client(&[("a", "1"), ("b", "2")], &session());
    assert_eq!(one.missing(&values(&[("a", "3"), ("b", "2")])), None);
    let missing = one.missing(&values(&[("b", "2"), ("c", "3")]));
    assert_eq!(missing.as_deref(), Some("SELECT pg_catalog.set_config('a', '1', false)"));
}

#[test]
fn a_server_that_changes_its_own_settings_is_followed_by_who_never_made_them() {
    let mut here = session();
    let mut one = client(&[], &here);
    let mut other = one.clone();
    give(&mut one, &mut here);
    here.report("TimeZone", "Asia/Tokyo");
    assert!(here.have_changed());
    one.follow(&mut here, values(&[]), false);
    assert_eq!((other.change(&here), one.change(&here)), (None, None));
    let news = [("TimeZone".to_owned(), "Asia/Tokyo".to_owned())];
    assert_eq!(give(&mut other, &mut here), news);
    assert_eq!(give(&mut one, &mut here), []);
    assert_eq!(here.of_server().count(), 2);
    // And back again within a transaction is no change at all.
    here.report("TimeZone", "UTC");
    here.report("TimeZone", "Asia/Tokyo");
    assert!(!here.have_changed() && one.fit(&here));
}

#[test]
fn what_was_made_for_the_session_is_not_the_servers() {
    let mut here = session();
    here.are_made(Arc::new(values(&[("timezone", "UTC")])));
    assert_eq!(here.of_server().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["application_name"]);
    here.were_reset();
    assert_eq!(here.of_server().count(), 2);
}

#[test]
fn what_was_made_before_a_client_got_the_session_is_no_change_of_its_own() {
    let mut here = session();
    here.report("TimeZone", "Asia/Tokyo");
    here.are_made(Arc::new(values(&[("timezone", "Asia/Tokyo")])));
    assert!(!here.have_changed());
    here.report("TimeZone", "UTC");
    here.were_reset();
    assert!(!here.have_changed());
    here.report("TimeZone", "Asia/Tokyo");
    assert!(here.have_changed());
}

#[test]
fn another_time_zone_gives_a_text_another_meaning_and_another_application_name_does_not() {
    let mut here = session();
    let mut one = client(&[], &here);
    let meaning = one.meaning();
    here.report("application_name", "another");
    one.are_told(&here);
    assert_eq!(one.meaning(), meaning);
    here.report("TimeZone", "Asia/Tokyo");
    one.are_told(&here);
    assert_ne!(one.meaning(), meaning);
    // Who asked for what the server has anyway understands the same.
    let asked = client(&[("timezone", "Asia/Tokyo")], &here);
    assert_eq!(asked.meaning(), one.meaning());
    assert_ne!(client(&[("search_path", "a")], &here).meaning(), one.meaning());
}

#[test]
fn only_what_was_asked_for_and_is_the_servers_again_is_to_be_restored() {
    let server = session();
    let client = client(&[("timezone", "Europe/Paris"), ("search_path", "a")], &server);
    let restored = |zone: &str, name: &str| {
        let mut here = session();
        here.report("TimeZone", zone);
        here.report("application_name", name);
        let found = client.to_be_restored(&here, server.reported());
        found.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(restored("UTC", "tether"), ["TimeZone=Europe/Paris"]);
    // It has it; or its own SET came behind the reset; or it has asked for nothing there.
    for (zone, name) in [("Europe/Paris", "tether"), ("Asia/Tokyo", "tether"), ("Asia/Tokyo", "x")] {
        assert_eq!(restored(zone, name), [""; 0], "{zone} {name}");
    }
}
