use super::*;
use crate::config::flags::{password_command, pool_listen, pool_mode, pool_size};
use crate::target::pool::{Auth, Listen, Mode};

const URL: &str = "postgresql://app:hunter2@localhost/shop";

fn flags(listen: &str, mode: &str, size: &str) -> PoolFlags {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    PoolFlags {
        listen: given(listen).map(|text| pool_listen(&text).unwrap()),
        mode: given(mode).map(|text| pool_mode(&text).unwrap()),
        size: given(size).map(|text| pool_size(&text).unwrap()),
        auth: None,
        password_command: None,
    }
}

fn with_command(command: &str) -> PoolFlags {
    PoolFlags { password_command: Some(password_command(command).unwrap()), ..PoolFlags::default() }
}

#[test]
fn a_flag_gives_the_command_that_a_file_with_the_same_key_gives() {
    let list = "[aws, rds, \"a b\", -c, 'echo $X ${Y}', 5432]";
    let url = "postgresql://app@localhost/shop";
    let by_flag = Config::from_database_url(url, &with_command(list)).unwrap();
    let file = format!(
        "targets: [{{name: default, url: \"{url}\", password_command: {}}}]",
        list.replace("${", "$${")
    );
    assert_eq!(by_flag.targets[0].password, good(&file).targets[0].password);
    let shown = show(&by_flag).unwrap();
    assert!(shown.contains("  - aws\n") && shown.contains("5432"), "{shown}");
    let origins = Origins::of_database_url().annotate(&shown, &by_flag);
    assert!(origins.contains("password_command:  # --target.password-command\n"), "{origins}");
    for (wrong, words) in [
        ("aws rds", "expected a list, the program first"),
        ("[]", "has 0 entries"),
        ("[aws", "not valid YAML"),
        ("", "it is empty"),
        ("[[aws]]", "a word of the command"),
    ] {
        let told = password_command(wrong).unwrap_err();
        assert!(told.contains(words), "{wrong}: {told}");
    }
}

#[test]
fn a_command_beside_a_password_or_a_file_is_refused_by_its_flag() {
    let text = refused(URL, &with_command("[a]"));
    assert!(text.starts_with("--target.password-command: DATABASE_URL has a password"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let text = find(Some(Path::new("/nowhere")), &with_command("[a]"), &env).unwrap_err().to_string();
    assert!(text.contains("write `password_command:` into the file"), "{text}");
}

fn refused(url: &str, flags: &PoolFlags) -> String {
    Config::from_database_url(url, flags).unwrap_err().to_string()
}

#[test]
fn flags_make_the_pool_that_a_file_with_the_same_keys_makes() {
    let by_flags = Config::from_database_url(URL, &flags("127.0.0.1:6432", "session", "3")).unwrap().targets
        [0]
    .pool
    .clone();
    let file = format!(
        "targets: [{{name: default, url: \"{URL}\", pool: {{listen: 127.0.0.1:6432, mode: session, size: 3}}}}]"
    );
    assert_eq!(by_flags, good(&file).targets[0].pool);
    let pool = by_flags.unwrap();
    assert_eq!((pool.mode, pool.size, pool.auth), (Mode::Session, 3, Auth::Scram));
    let alone = Config::from_database_url(URL, &flags("unix:/run/p/.s.PGSQL.6432", "", "")).unwrap();
    let alone = alone.targets[0].pool.clone().unwrap();
    assert_eq!(alone.listen, Listen::Unix("/run/p/.s.PGSQL.6432".into()));
    assert_eq!((alone.mode, alone.size), (Mode::Transaction, 10));
    assert_eq!(from_database_url(URL).unwrap().targets[0].pool, None);
}

#[test]
fn values_of_flags_have_the_limits_of_the_file() {
    for (wrong, words) in [
        (pool_listen("6432").unwrap_err(), "there is no address: write 127.0.0.1:6432"),
        (pool_listen("/run/p/.s.PGSQL.6432").unwrap_err(), "is written with unix:"),
        (pool_listen("127.0.0.1:0").unwrap_err(), "take 1 to 65535"),
        (pool_listen(" ").unwrap_err(), "it is empty"),
        (pool_mode("statement").unwrap_err(), "take transaction or session"),
        (pool_size("0").unwrap_err(), "take 1 to 1000"),
        (pool_size("many").unwrap_err(), "is not a whole number"),
    ] {
        assert!(wrong.contains(words), "no {words:?} in {wrong:?}");
    }
}

#[test]
fn a_problem_of_the_pool_names_the_flag() {
    let text = refused(URL, &flags("0.0.0.0:6432", "", ""));
    assert!(text.starts_with("--pool.listen: ") && text.contains("cert_file"), "{text}");
    let text = refused("postgresql://app@localhost/shop", &flags("127.0.0.1:6432", "", ""));
    assert!(text.starts_with("--pool.listen: scram asks clients for the target's password"), "{text}");
    for flags in [flags("", "session", ""), flags("", "", "3")] {
        let text = refused(URL, &flags);
        assert!(text.starts_with("--pool.") && text.contains("add --pool.listen=127.0.0.1:6432"), "{text}");
    }
    let warnings = Config::from_database_url(URL, &flags("unix:/run/p/socket", "", "")).unwrap().warnings;
    assert!(
        warnings[0].to_string().starts_with("--pool.listen: libpq finds only sockets named"),
        "{warnings:?}"
    );
}

#[test]
fn flags_of_the_pool_beside_a_file_are_refused() {
    for given in [flags("127.0.0.1:6432", "", ""), flags("", "session", ""), flags("", "", "3")] {
        let text = find(Some(Path::new("/nowhere")), &given, &env).unwrap_err().to_string();
        assert!(text.starts_with("--pool.") && text.contains("write `pool:` into the file"), "{text}");
    }
}
