//! Texts of servers, clients, certificates and commands that would forge a line, command a terminal, or turn round what
//! stands beside them; and a search of everything that people and programs are shown.

use hyper::Method;
use pgtether::demo::postgres::{Setup, free_port};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::certs::{Authority, with_tls};
use crate::pool::await_listening;
use crate::process::{Daemon, request, wait_until};
use crate::scripted::Step::{Accept, AwaitEnd, Close, Read, ReadStartup, Send};
use crate::scripted::{Scripted, Step, say};
use crate::servers::{Version, postgres};
use crate::supervise::{SOON, await_log, targets};
use crate::wire;

/// A line end and a forged line, a terminal's red, a text that is turned round, characters that nobody sees.
const HOSTILE: &str = "\r\nlevel=error msg=forged\u{1b}[31m\u{202e}drawkcab\u{200b}\u{feff}\u{2028}<b>\u{7}";

/// What should be a message, and begins with its name.
fn message(name: &str) -> String {
    format!("{name}{HOSTILE}{}", "m".repeat(5_000))
}

/// What should be a short word, and begins with its name.
fn word(name: &str) -> String {
    format!("{name}{HOSTILE}{}", "w".repeat(5_000))
}

/// What is wrong with a text that is shown.
fn fault(text: &str) -> Option<String> {
    let hidden = |c: &char| c.is_control() && *c != '\n' || "\u{202e}\u{200b}\u{feff}\u{2028}".contains(*c);
    let escaped = ["\\u", "\\x", "\\r", "\\n", "&#x"];
    let forged = text.lines().find(|line| line.starts_with("level=error msg=forged")).map(str::to_owned);
    let hidden = text.chars().find(hidden).map(|c| format!("{c:?}"));
    let escaped = escaped.iter().find(|escape| text.contains(**escape)).map(|escape| (*escape).to_owned());
    let long = ["m".repeat(601), "w".repeat(65)];
    let long = long
        .iter()
        .find(|run| text.contains(run.as_str()))
        .map(|run| format!("{} of {}", run.len(), &run[..1]));
    forged.or(hidden).or(escaped).or(long)
}

fn assert_clean(what: &str, text: &str) {
    if let Some(fault) = fault(text) {
        panic!("{what} shows {fault}: {text}");
    }
}

#[test]
fn the_search_finds_what_is_hostile_however_it_is_written() {
    for text in
        [message("a"), word("a"), "a\nlevel=error msg=forged".to_owned(), "m".repeat(601), "w".repeat(65)]
    {
        assert!(fault(&text).is_some(), "{text}");
        assert!(fault(&format!("{text:?}")).is_some(), "{text:?}");
    }
    for c in HOSTILE.chars().filter(|c| !c.is_ascii_graphic() && *c != ' ' && *c != '\n') {
        for text in [format!("a{c}b"), format!("a{}b", c.escape_debug()), serde_json::to_string(&c).unwrap()]
        {
            assert!(fault(&text).is_some(), "{text}");
        }
    }
    assert_eq!(fault("ts=1 level=warn msg=down detail=\"level=error msg=forged [31m drawkcab <b>\"\n"), None);
}

fn start() -> [Step; 2] {
    [Accept, ReadStartup(vec![])]
}

/// The servers that speak so, by the names of their targets.
async fn servers() -> Vec<(&'static str, Scripted)> {
    let fields = ["SFATAL", "C28P01"].map(str::to_owned).into_iter().chain([
        format!("M{}", message("seen-message")),
        format!("D{}", message("seen-detail")),
        format!("H{}", message("seen-hint")),
        format!("W{}", message("unseen-where")),
        format!("R{}", word("unseen-routine")),
        String::new(),
    ]);
    let fields: Vec<String> = fields.collect();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let error = wire::message(b'E', &wire::text(&fields));
    let outdated = [b"Ecould not fork ", message("seen-outdated").as_bytes(), b"\0"].concat();
    let welcome = [
        say::auth(0, b""),
        say::parameter("server_version", &word("seen-version")),
        say::parameter(&word("unseen-name"), &word("unseen-value")),
        say::warning("57P01", &message("unseen-notice")),
        say::key(4711, 42),
        say::ready(),
    ];
    let logged_in = [Send(welcome.concat()), Read(b'Q', "SELECT 1"), Send(say::pong())];
    let lost = [Send(say::fatal("57P01", &message("seen-farewell"))), Close];
    let scripts = [
        ("error", [&start()[..], &[Send(error), AwaitEnd]].concat()),
        ("outdated", [&start()[..], &[Send(outdated), AwaitEnd]].concat()),
        ("version", [&start()[..], &logged_in, &[AwaitEnd]].concat()),
        ("farewell", [&start()[..], &logged_in, &lost].concat()),
    ];
    let mut servers = Vec::new();
    for (name, script) in scripts {
        servers.push((name, Scripted::start(script).await));
    }
    servers
}

/// A client of the pool on that port, with such a name and such options.
async fn intrude(port: u16) {
    await_listening(port).await;
    for parameters in [
        [("user", word("seen-client")), ("database", "db".to_owned())],
        [("user", "app".to_owned()), ("options", word("seen-options").replace(' ', "\\ "))],
    ] {
        let pairs: Vec<(&str, &str)> =
            parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let startup = pgtether::protocol::frontend::startup(pgtether::protocol::frontend::VERSION_3, &pairs);
        client.write_all(&startup).await.unwrap();
        let (kind, _) = wire::read_message(&mut client).await.unwrap();
        assert_eq!(kind, b'E');
    }
}

#[tokio::test]
async fn what_others_write_is_shown_on_one_line_without_hidden_characters_and_cut() {
    let authority = Authority::new(&word("seen-issuer"));
    let names = [format!("seen-host\r\n\u{1b}[31m{}", "w".repeat(5_000))];
    let leaf = authority.server_named(&word("seen-subject"), &names);
    let cluster = postgres(Version::V15, with_tls(Setup::default(), &authority, &leaf));
    let folder = tempfile::tempdir().unwrap();
    let [ca, other, script] = ["ca.pem", "other.pem", "fails.sh"].map(|name| folder.path().join(name));
    std::fs::write(&ca, authority.pem()).unwrap();
    std::fs::write(&other, Authority::new("other").pem()).unwrap();
    let complaint = format!("{}seen-stderr{HOSTILE}", "m".repeat(5_000));
    std::fs::write(&script, format!("cat >&2 <<'END'\n{complaint}\nEND\nexit 1\n")).unwrap();
    for format in ["logfmt", "json"] {
        let servers = servers().await;
        let port = free_port().unwrap();
        let mut keys: Vec<(&str, Vec<String>)> =
            servers.iter().map(|(name, server)| (*name, vec![format!("url: {}", server.url())])).collect();
        let (_, version) = keys.iter_mut().find(|(name, _)| *name == "version").unwrap();
        version.push(format!("pool: {{listen: \"127.0.0.1:{port}\", auth: trust}}"));
        for (name, ca) in [("host", &ca), ("authority", &other)] {
            let verified =
                format!("localhost:{}/db?sslmode=verify-full&sslrootcert={}", cluster.port(), ca.display());
            keys.push((name, vec![format!("url: postgresql://app:x@{verified}&hostaddr=127.0.0.1")]));
        }
        let command = format!("password_command: [sh, \"{}\"]", script.display());
        keys.push((
            "command",
            vec![format!("url: postgresql://app@127.0.0.1:{}/db", cluster.port()), command],
        ));
        let lines: Vec<Vec<&str>> =
            keys.iter().map(|(_, lines)| lines.iter().map(String::as_str).collect()).collect();
        let all: Vec<(&str, &[&str])> =
            keys.iter().zip(&lines).map(|((name, _), lines)| (*name, lines.as_slice())).collect();
        let log_format = format!("--log.format={format}");
        let daemon = Daemon::start_with(&targets(&all), &["--log.level=debug", &log_format], &[]);
        intrude(port).await;

        let told = [
            "seen-message",
            "seen-detail",
            "seen-hint",
            "seen-version",
            "seen-subject",
            "seen-issuer",
            "seen-host",
            "seen-stderr",
        ];
        wait_until(SOON * 2, "all that others have written", async || {
            let api = daemon.get("/api/v1/targets").await.text();
            let missing: Vec<_> = told.iter().filter(|text| !api.contains(**text)).collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("no {missing:?} in {api}")) }
        })
        .await;
        for text in ["seen-farewell", "seen-outdated", "seen-client", "seen-options"].iter().chain(&told) {
            await_log(&daemon, text).await;
        }
        assert!(daemon.get("/metrics").await.text().contains("seen-version level=error msg=forged"));
        for path in ["/metrics", "/health", "/api/v1/targets", "/api/v1/events"] {
            assert_clean(path, &daemon.get(path).await.text());
        }
        let page = daemon.get("/").await.text();
        // The page's script has escapes of its own.
        let (_, targets) = page.split_once("</script>").unwrap();
        assert_clean("/", targets);
        let draft = [("accept", "application/health+json")];
        assert_clean(
            "/health in the draft's words",
            &request(daemon.address(), Method::GET, "/health", &draft).await.text(),
        );
        assert_clean(&format!("the log in {format}"), &daemon.log());
    }
}
