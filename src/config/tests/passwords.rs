//! Where a target's password comes from.

use super::*;
use crate::target::{Argument, PasswordCommand};

fn command(password: &PasswordSource) -> &PasswordCommand {
    match password {
        PasswordSource::Command(command) => command,
        other => panic!("{other:?}"),
    }
}

fn words(command: &PasswordCommand) -> Vec<&str> {
    command.arguments.iter().map(Argument::expose).collect()
}

#[test]
fn a_command_is_a_list_of_words_and_its_program_a_name_or_a_path() {
    let (target, warnings) = target("  password_command: [aws, --port, 5432, \"a b\", $HOME, --x=true]\n");
    assert_eq!(warnings, [""; 0]);
    let of_path = command(&target.password);
    assert_eq!(of_path.program, Path::new("aws"));
    assert_eq!(words(of_path), ["--port", "5432", "a b", "$HOME", "--x=true"], "there is no shell");
    assert_eq!(target.tuning.password_command_ttl, Duration::from_secs(600));
    assert_eq!(target.tuning.password_command_timeout, Duration::from_secs(10));
    for (written, program) in [("bin/token", "/etc/pgtether/bin/token"), ("/opt/token", "/opt/token")] {
        let (target, _) = super::target(&format!("  password_command: [{written}]\n"));
        assert_eq!(command(&target.password).program, Path::new(program));
    }
}

#[test]
fn a_target_s_own_password_beats_the_defaults_whichever_kind_it_is() {
    let config = good(
        "defaults: {password_command: [token, all]}
targets:
  - {name: a, url: postgresql://app@localhost/shop}
  - {name: b, url: postgresql://app@localhost/shop, password_file: pw}
  - {name: c, url: postgresql://app@localhost/shop, password_command: [token, c], password_command_ttl: 1m}
",
    );
    let password = |i: usize| &config.targets[i].password;
    assert_eq!(words(command(password(0))), ["all"]);
    assert_eq!(password(1), &PasswordSource::File("/etc/pgtether/pw".into()));
    assert_eq!(words(command(password(2))), ["c"]);
    assert_eq!(config.targets[2].tuning.password_command_ttl, Duration::from_secs(60));
    assert!(!config.targets[0].is_same_location(&config.targets[2]), "another password is another session");
}

#[test]
fn an_argument_that_may_hold_a_secret_is_never_shown() {
    let keys = "  password_command: [token, \"${SECRET}\", \"--key=${SECRET}\", \"postgresql://a:hunter2@h/d\", plain]\n";
    let config = good(&format!("targets:\n- name: primary\n  url: postgresql://app@localhost/shop\n{keys}"));
    let held = command(&config.targets[0].password);
    assert_eq!(words(held), [PASSWORD, "--key=hunter2", "postgresql://a:hunter2@h/d", "plain"]);
    let shown = show(&config).unwrap();
    let list = "  password_command:\n  - token\n  - <redacted>\n  - <redacted>\n  - <redacted>\n  - plain\n";
    assert!(shown.contains(list), "{shown}");
    assert!(!shown.contains(PASSWORD) && !format!("{config:?}").contains(PASSWORD), "{shown}");
}

#[test]
fn keys_of_a_command_that_is_not_there_do_nothing_and_are_told_of() {
    let (_, warnings) = target("  password_command_ttl: 1m\n");
    assert_eq!(
        warnings,
        ["pgtether.yaml:4:25: targets[0].password_command_ttl: does nothing without password_command"]
    );
    let (_, warnings) = target("  password_command: [token]\n  password_command_ttl: 1m\n");
    assert_eq!(warnings, [""; 0]);
}
