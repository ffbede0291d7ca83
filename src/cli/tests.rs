use super::*;

fn words(words: &str) -> Result<Command, UsageText> {
    parse(std::iter::once("pgtether").chain(words.split_whitespace()).map(OsString::from))
}

fn run(args: &str) -> RunArgs {
    match words(args) {
        Ok(Command::Run(run)) => run,
        other => panic!("{other:?}"),
    }
}

fn refused(args: &str) -> (u8, String) {
    let usage = words(args).expect_err(args);
    (usage.code, usage.text)
}

#[test]
fn without_a_command_it_runs_with_defaults() {
    let args = run("");
    assert_eq!(args, run("run"));
    assert_eq!((args.config.file, args.config_check), (None, false));
    assert_eq!(args.web.port.listen_addresses, [ListenAddress::All { port: 10432 }]);
    assert_eq!(args.web.telemetry_path.as_str(), "/metrics");
    assert!(!args.web.enable_lifecycle);
    assert_eq!((args.log.level, args.log.format), (LogLevel::Info, LogFormat::Logfmt));
}

#[test]
fn every_flag_of_run_is_taken_with_and_without_the_command() {
    let flags = "--config.file=/etc/p.yaml --config.check --web.listen-address=:1,127.0.0.1:2 --web.listen-address=[::1]:3 \
                 --web.telemetry-path=/m --web.enable-lifecycle --web.config.file=web.yaml \
                 --web.health-listen-address=:4 --pool.listen=127.0.0.1:6432 --pool.mode=session --pool.size=3 --target.password-command=[a,b] --log.level=debug --log.format=json";
    let args = run(flags);
    assert_eq!(args, run(&format!("run {flags}")));
    let addresses: Vec<_> = args.web.port.listen_addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, [":1", "127.0.0.1:2", "[::1]:3"]);
    assert_eq!(args.config.file, Some("/etc/p.yaml".into()));
    let pool = args.config.pool.flags();
    assert_eq!(pool.listen.map(|listen| listen.to_string()).as_deref(), Some("127.0.0.1:6432"));
    assert_eq!((pool.mode, pool.size, pool.auth), (Some(Mode::Session), Some(3), None));
    let command = pool.password_command.unwrap();
    assert_eq!((command.program, command.arguments.len()), ("a".into(), 1));
    assert!(args.config_check && args.web.enable_lifecycle);
    assert_eq!(args.web.port.config_file, Some("web.yaml".into()));
    assert_eq!(args.web.port.health_listen_address, Some(ListenAddress::All { port: 4 }));
    assert_eq!((args.log.level, args.log.format), (LogLevel::Debug, LogFormat::Json));
}

#[test]
fn every_dotted_flag_has_an_environment_twin_by_rule() {
    let command = <Cli as clap::CommandFactory>::command();
    for command in std::iter::once(&command).chain(command.get_subcommands()) {
        for arg in command.get_arguments() {
            let long = arg.get_long().unwrap_or_default();
            if !long.contains('.') || long == "config.check" {
                continue;
            }
            let twin = format!("PGTETHER_{}", long.to_uppercase().replace(['.', '-'], "_"));
            assert_eq!(arg.get_env(), Some(std::ffi::OsStr::new(&twin)), "{long}");
        }
    }
    <Cli as clap::CommandFactory>::command().debug_assert();
}

#[test]
fn check_takes_names_and_connection_strings_and_hides_these() {
    let Ok(Command::Check(args)) = words(
        "check primary postgresql://app:hunter2@h/d host=h --output=json --watch=1m30s --config.file=x",
    ) else {
        panic!("check")
    };
    assert_eq!(
        args.subjects,
        [
            Subject::Target("primary".into()),
            Subject::Url(Secret::new("postgresql://app:hunter2@h/d")),
            Subject::Url(Secret::new("host=h")),
        ]
    );
    assert!(!format!("{args:?}").contains("hunter2"));
    assert_eq!((args.output, args.watch), (Output::Json, Some(Duration::from_secs(90))));
    assert_eq!(words("config schema"), Ok(Command::Config(ConfigCommand::Schema)));
    assert!(matches!(words("config show --config.file=x"), Ok(Command::Config(ConfigCommand::Show(_)))));
    assert!(matches!(words("demo --chaos"), Ok(Command::Demo(DemoArgs { chaos: true, .. }))));
}

#[test]
fn unusable_flags_exit_64_and_those_of_check_3() {
    for args in [
        "--frob",
        "run --frob",
        "chekc",
        "config",
        "config shwo",
        "demo now",
        "--log.level=loud",
        "run primary",
        "--pool.listen=6432",
        "--pool.mode=statement",
        "--pool.size=0",
        "--target.password-command=hunter2",
        "--target.password-command=[hunter2",
        "--target.password-command=[]",
    ] {
        assert_eq!(refused(args).0, 64, "{args}");
        assert!(!refused(args).1.contains("hunter2"), "{}", refused(args).1);
    }
    for args in [
        "check --frob",
        "check --watch=10",
        "check --watch=0s",
        "check --output=xml",
        "--log.level=info check",
    ] {
        assert_eq!(refused(args).0, 3, "{args}");
    }
    assert!(refused("check --watch=10").1.contains("has no unit: write 30s or 200ms"));
}

#[test]
fn help_and_version_are_no_errors() {
    for args in ["--help", "-h", "run --help", "check --help", "demo -h"] {
        assert_eq!(refused(args).0, 0, "{args}");
    }
    let (code, text) = refused("--version");
    let first = format!("pgtether, version {} (revision: ", env!("CARGO_PKG_VERSION"));
    assert!(code == 0 && text.starts_with(&first) && text.contains("\n  compiler:  rustc 1."), "{text}");
}

#[test]
fn a_connection_string_in_the_wrong_place_is_not_repeated() {
    for args in [
        "run postgresql://app:hunter2@h/d",
        "postgresql://app:hunter2@h/d",
        "--log.level=postgresql://app:hunter2@h/d",
        "--url=postgresql://app:hunter2@h/d",
        "check --watch postgresql://app:hunter2@h/d",
        "config password=hunter2",
        "--web.listen-address=:1,app:hunter2@h",
    ] {
        let (_, text) = refused(args);
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn listen_addresses_are_read_or_the_remedy_is_told() {
    for (text, address) in [
        (":0", ListenAddress::All { port: 0 }),
        ("0.0.0.0:80", ListenAddress::Ip(([0, 0, 0, 0], 80).into())),
        ("localhost:80", ListenAddress::Name { host: "localhost".into(), port: 80 }),
    ] {
        assert_eq!(text.parse(), Ok(address.clone()));
        assert_eq!(address.to_string(), text);
    }
    for (text, message) in [
        ("", "it is empty: write :10432 for all addresses, or 127.0.0.1:10432"),
        ("9090", "it has no colon: write :9090 for all addresses"),
        ("localhost", "it has no port: write it as :10432, 127.0.0.1:10432 or [::1]:10432"),
        ("127.0.0.1", "it has no port: write 127.0.0.1:10432"),
        ("::1", "it has no port: write [::1]:10432"),
        ("2001:db8::1:99999", "an IPv6 address is written in brackets: [::1]:10432"),
        (":70000", "its port is not a number from 0 to 65535"),
        (":+80", "its port is not a number from 0 to 65535"),
        ("http://localhost:80", "it is not host:port: write :10432, 127.0.0.1:10432 or [::1]:10432"),
        ("[::1", "it is not host:port: write :10432, 127.0.0.1:10432 or [::1]:10432"),
    ] {
        assert_eq!(text.parse::<ListenAddress>(), Err(message.to_owned()), "{text}");
    }
}

#[test]
fn the_path_of_the_metrics_is_plain_and_free() {
    for path in ["/metrics", "/m/etrics", "/healthy-metrics"] {
        assert!(path.parse::<TelemetryPath>().is_ok(), "{path}");
    }
    for path in ["", "metrics", "/", "/health", "/health/x", "/-/reload", "/api/v1", "/a b", "/a?b", "/livez"]
    {
        assert!(path.parse::<TelemetryPath>().is_err(), "{path}");
    }
}

#[test]
fn a_health_check_needs_no_flags_and_takes_those_of_the_port() {
    let Ok(Command::Healthcheck(args)) = words("healthcheck") else { panic!("healthcheck") };
    assert_eq!((args.path.as_str(), args.timeout), ("/livez", Duration::from_secs(3)));
    assert_eq!(args.port, run("").web.port);
    let Ok(Command::Healthcheck(args)) =
        words("healthcheck /health/a?x=1 --timeout=1s --web.listen-address=:1")
    else {
        panic!("healthcheck")
    };
    assert_eq!((args.path.as_str(), args.timeout), ("/health/a?x=1", Duration::from_secs(1)));
    assert_eq!(args.port.listen_addresses, [ListenAddress::All { port: 1 }]);
    for args in ["healthcheck livez", "healthcheck /a#b", "healthcheck /\u{e4}", "healthcheck --timeout=0s"] {
        assert_eq!(refused(args).0, 64, "{args}");
    }
}

/// Every command, by its words.
fn commands() -> Vec<Vec<String>> {
    fn below(command: &clap::Command, words: &[String], found: &mut Vec<Vec<String>>) {
        found.push(words.to_vec());
        for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
            below(child, &[words, &[child.get_name().to_owned()]].concat(), found);
        }
    }
    let mut found = Vec::new();
    below(&<Cli as clap::CommandFactory>::command(), &[], &mut found);
    found
}

#[test]
fn every_command_has_a_manual_page_with_its_flags_and_their_variables() {
    let commands = commands();
    assert!(commands.len() >= 10, "{commands:?}");
    for command in commands {
        let page = manual(&command).expect("a page");
        let page = String::from_utf8(page).unwrap().replace('\\', "");
        let name = [vec!["pgtether".to_owned()], command.clone()].concat().join("-");
        assert!(page.contains(&format!(".TH {name} 1")), "{page}");
        let takes_flags =
            !matches!(command.first().map(String::as_str), Some("config" | "completions" | "man"));
        if takes_flags && command != ["healthcheck"] {
            assert!(page.contains("--log.level") && page.contains("PGTETHER_LOG_LEVEL"), "{page}");
        }
    }
    assert_eq!(manual(&["nope".to_owned()]), None);
}

fn manual(command: &[String]) -> Option<Vec<u8>> {
    let facts = ManualFacts { signals: &[("SIGHUP", "reloads")], exec_variables: &[("WEB_URL", "the page")] };
    man(&ManArgs { command: command.to_vec() }, &facts).unwrap()
}

#[test]
fn a_manual_page_has_exit_codes_variables_files_and_signals() {
    for (command, parts) in [
        (
            "",
            &[
                "SH \"EXIT STATUS\"",
                "fB64",
                "SH \"ENVIRONMENT\"",
                "fBDATABASE_URL",
                "SH \"FILES\"",
                "fBconfig.yaml",
                "fBSIGHUP",
            ][..],
        ),
        ("check", &["fB3", "fBPGTETHER_CONFIG_FILE", "--config.file."]),
        ("exec", &["fB125", "fB127", "fBWEB_URL", "fBPGTETHER_POOL_MODE"]),
        ("healthcheck", &["fB1", "fBPGTETHER_WEB_LISTEN_ADDRESS"]),
        ("completions", &["fB64"]),
    ] {
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let page = String::from_utf8(manual(&words).unwrap()).unwrap().replace('\\', "");
        for part in parts {
            assert!(page.contains(part), "{command}: no {part} in {page}");
        }
        assert_eq!(page.contains("SIGNALS"), command.is_empty(), "{command}");
        assert!(!page.contains("Other exit codes"), "they stand in their own section: {page}");
    }
    let Err(UsageText { text, code: 0 }) = words("exec --help") else { panic!("it is help") };
    assert!(text.contains("\n  126  "), "{text}");
}

#[test]
fn completions_know_every_command_and_every_flag_with_a_dot() {
    for shell in ["bash", "zsh", "fish", "elvish"] {
        let Ok(Command::Completions(args)) = words(&format!("completions {shell}")) else {
            panic!("{shell}")
        };
        let text = String::from_utf8(completions(&args)).unwrap();
        for word in commands().concat() {
            assert!(text.contains(&word), "{shell} does not know {word}");
        }
        for flag in ["web.listen-address", "log.format", "config.file", "pool.mode"] {
            assert!(text.contains(flag), "{shell} does not know {flag}");
        }
    }
    assert_eq!(refused("completions tcsh").0, 64);
}
