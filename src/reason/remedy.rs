//! What a person can do about one failure: the fix by its name where the facts tell which, else the reason's own remedy.

use super::table::is_cold_standby;
use super::{Cause, Facts, Phase, Reason, ServerWords};

/// Where a rejected password came from `password_command`.
const PRINTED_PASSWORD: &str = "The server rejects what password_command prints: run it as the user that pgtether runs as, and \
                                check its arguments, the user, and pg_hba.conf; another output is tried at once.";

/// What is told of a server that asks for less than it did.
pub const SCRAM_BEFORE: &str = "although it asked for SCRAM-SHA-256 before";

/// What mends `facts`, which mean `reason`.
pub fn remedy(reason: Reason, facts: &Facts) -> &'static str {
    let found = match &facts.cause {
        Cause::Server { sqlstate, message, words } => {
            let message = message.to_ascii_lowercase();
            let named = server(reason, sqlstate, &message, words);
            let printed = facts.printed_password && reason == Reason::Auth;
            named.or(printed.then_some(PRINTED_PASSWORD))
        }
        Cause::Tls { message, .. } => {
            // What follows are names that the server chose.
            let verdict = message.split_once(": ").map_or(message.as_str(), |(verdict, _)| verdict);
            tls(&verdict.to_ascii_lowercase())
        }
        Cause::TlsRefused => Some(
            "The server has no TLS: set ssl = on and a certificate in postgresql.conf, or sslmode=disable where the \
             network is trusted.",
        ),
        Cause::Timeout => timeout(facts.phase),
        Cause::Config { message } if message.contains(SCRAM_BEFORE) => Some(
            "The server asks for the password in a weaker way than before: if that is meant, set require_auth in the \
             connection string, or restart pgtether; if not, find out who answers there.",
        ),
        _ => None,
    };
    found.unwrap_or_else(|| reason.remedy())
}

/// `message` is in lower case; the routine is a name that no locale translates.
fn server(reason: Reason, sqlstate: &str, message: &str, words: &ServerWords) -> Option<&'static str> {
    let routine = words.routine.as_deref().unwrap_or_default();
    let says = |words: &str| message.contains(words);
    Some(match (reason, sqlstate) {
        (Reason::Auth, "28000") if says("not permitted to log in") => {
            "The role may not log in: run ALTER ROLE … LOGIN, or use another user."
        }
        (Reason::Auth, "28000") if says("role \"") && says("does not exist") => {
            "The role does not exist: check the user name, or run CREATE ROLE … LOGIN."
        }
        (Reason::Auth, "28000") if routine == "InitializeSessionUserId" => {
            "The role does not exist or may not log in: check the user name, or run ALTER ROLE … LOGIN."
        }
        (Reason::Auth, "28000") if says("pg_hba.conf") || routine == "ClientAuthentication" => {
            "pg_hba.conf does not let this user in from here: add a line for user, database and address, and reload."
        }
        (Reason::Tls, "28000") => {
            "pg_hba.conf does not let this user in without TLS: set sslmode=require or better; if the server has no TLS, or that is \
             rejected as well, a line of pg_hba.conf rejects this user: change that line, or add one above it."
        }
        (Reason::StartingUp, "57P03")
            if is_cold_standby(sqlstate, words)
                || says("the database system is not accepting connections") =>
        {
            "The server is a standby with hot_standby = off: waiting never helps; set hot_standby = on, or connect to \
             the primary."
        }
        (Reason::Resources, "53100") => {
            "The server's disk is full: free space on it or enlarge it; never delete files of pg_wal by hand."
        }
        (Reason::Resources, "53200") => {
            "The server has run out of memory: lower work_mem or the number of connections, or give it more."
        }
        (Reason::Config, _) if says("use show help") => {
            "This is PgBouncer's administration console: name an application's database in place of pgbouncer."
        }
        (Reason::Auth, _) if says("wrong password type") => {
            "The pooler cannot log in to the server with the kind of password that it has: in PgBouncer's auth_file \
             store the plain password or the SCRAM secret that pg_authid has, and set auth_type=scram-sha-256."
        }
        (Reason::Tls, _) if says("ssl connection is required") || says("connection is insecure") => {
            "The other side demands TLS: set sslmode=require or better."
        }
        (Reason::Capacity, _) if says("query_wait_timeout") => {
            "The pooler had no server connection in time: if it is paused, run RESUME on its console, else raise \
             its pool size."
        }
        _ => return None,
    })
}

/// By the library's verification result. `message` is in lower case.
fn tls(message: &str) -> Option<&'static str> {
    let says = |words: &str| message.contains(words);
    Some(match () {
        () if says("certificate has expired") => {
            "The server's certificate, or one above it, has expired: renew the one that the detail names, \
             and reload the server."
        }
        () if says("certificate is not yet valid") => {
            "The server's certificate is not valid yet: check the clocks of both machines."
        }
        () if says("hostname mismatch") || says("ip address mismatch") => {
            "The certificate is of another name: connect by a name that it has, or issue one for this host; \
             sslmode=verify-ca does not check the name."
        }
        () if says("self-signed certificate") || says("unable to get local issuer") => {
            "The certificate's authority is not trusted here: name its certificate in sslrootcert."
        }
        () => return None,
    })
}

const fn timeout(phase: Phase) -> Option<&'static str> {
    match phase {
        Phase::Connect => Some(
            "Nothing answers the TCP connect: a firewall or security group drops it, the address is wrong, or the \
             machine is off.",
        ),
        Phase::Tls | Phase::Startup => Some(
            "The TCP connect is accepted, then nothing comes: the server hangs or is overloaded, or the pooler is \
             paused (RESUME on its console).",
        ),
        Phase::Ping => Some(
            "The query is not answered: the server hangs, the pooler is paused (RESUME on its console) or has no server \
             connection, or something on the way drops packets silently.",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::table::diagnose;

    fn remedy_of(phase: Phase, cause: Cause) -> &'static str {
        let facts = Facts::new(phase, cause);
        remedy(diagnose(&facts).reason, &facts)
    }

    fn said(sqlstate: &str, message: &str) -> Cause {
        Cause::server(sqlstate, message)
    }

    fn assert_named(rows: impl IntoIterator<Item = (Phase, Cause, &'static str)>) {
        for (phase, cause, words) in rows {
            let found = remedy_of(phase, cause.clone());
            assert!(found.contains(words), "{cause:?}: {found}");
        }
    }

    /// The remedies of this file and of the reasons, as they are written.
    fn all_remedies() -> Vec<String> {
        const SOURCE: &str = include_str!("remedy.rs");
        let (code, _) = SOURCE.split_once("#[cfg(test)]").unwrap();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let joined: String = lines.map(|line| line.trim().trim_end_matches('\\')).collect();
        let joined = joined.replace("\\\"", "'");
        let texts = joined.split('"').skip(1).step_by(2).map(str::to_owned);
        let sentences = texts.filter(|text| text.ends_with('.') && text.contains(' '));
        sentences.chain(Reason::ALL.iter().map(|reason| reason.remedy().to_owned())).collect()
    }

    /// Beside a remedy stand a reason and a detail: there is no other message.
    #[test]
    fn remedies_name_only_what_a_reader_has_before_them() {
        const ELSEWHERE: &[&str] = &[
            "pg_hba.conf",
            "postgresql.conf",
            "pg_wal",
            "pg_authid",
            "hot_standby",
            "work_mem",
            "auth_file",
            "auth_type",
            "net.ipv4.ip_local_port_range",
            "require_auth",
        ];
        const SCHEMA: &str = include_str!("../../docs/config.schema.json");
        let remedies = all_remedies();
        assert!(remedies.len() > Reason::COUNT + 15, "{}", remedies.len());
        for remedy in remedies {
            for absent in ["the message", "the field", "the error", "the output"] {
                assert!(
                    !remedy.to_lowercase().contains(absent),
                    "there is no such thing as {absent}: {remedy}"
                );
            }
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
            let words = remedy.split(|c: char| !is_part(c)).map(|word| word.trim_matches('.'));
            for name in words.filter(|word| word.contains(['_', '.']) && !ELSEWHERE.contains(word)) {
                for key in name.split('.') {
                    assert!(SCHEMA.contains(&format!("\"{key}\"")), "{name} is no setting: {remedy}");
                }
            }
        }
    }

    /// Each as a server wrote it.
    #[test]
    fn the_remedy_names_the_fix_on_the_server() {
        assert_named([
            (Phase::Startup, said("28000", "role \"app\" is not permitted to log in"), "ALTER ROLE"),
            (Phase::Startup, said("28000", "role \"ap\" does not exist"), "CREATE ROLE"),
            (
                Phase::Startup,
                said(
                    "28000",
                    "no pg_hba.conf entry for host \"10.0.0.1\", user \"app\", database \"app\", SSL encryption",
                ),
                "add a line for user",
            ),
            (
                Phase::Startup,
                said(
                    "28000",
                    "no pg_hba.conf entry for host \"10.0.0.1\", user \"app\", database \"app\", no encryption",
                ),
                "without TLS",
            ),
            (
                Phase::Startup,
                said("28P01", "password authentication failed for user \"app\""),
                Reason::Auth.remedy(),
            ),
            (
                Phase::Startup,
                said("57P03", "the database system is not accepting connections"),
                "hot_standby = on",
            ),
            (
                Phase::Startup,
                said("57P03", "the database system is not yet accepting connections"),
                Reason::StartingUp.remedy(),
            ),
            (
                Phase::Startup,
                said("53100", "could not write init file: No space left on device"),
                "disk is full",
            ),
            (Phase::Ping, said("53200", "out of memory"), "work_mem"),
            (Phase::Startup, said("53300", "sorry, too many clients already"), Reason::Capacity.remedy()),
        ]);
    }

    #[test]
    fn the_remedy_names_the_fix_on_the_pooler() {
        assert_named([
            (Phase::Ping, said("08P01", "query_wait_timeout"), "RESUME"),
            (
                Phase::Ping,
                said("08P01", "invalid command 'SELECT 1', use SHOW HELP;"),
                "in place of pgbouncer",
            ),
            (Phase::Startup, said("08P01", "server login failed: wrong password type"), "auth_file"),
            (Phase::Startup, said("XX000", "SSL connection is required"), "sslmode=require"),
            (
                Phase::Startup,
                said("XX000", "connection is insecure (try using `sslmode=require`)"),
                "sslmode=require",
            ),
        ]);
    }

    /// With the words of OpenSSL 3.
    #[test]
    fn the_remedy_names_what_is_in_the_way() {
        let tls = |message: &str| Cause::tls(message);
        assert_named([
            (Phase::Tls, tls("certificate verify failed (certificate has expired)"), "has expired"),
            (Phase::Tls, tls("certificate verify failed (Hostname mismatch)"), "another name"),
            (
                Phase::Tls,
                tls(
                    "certificate verify failed (Hostname mismatch): the certificate is for \"certificate has expired\", \
                     not for \"h\"",
                ),
                "another name",
            ),
            (
                Phase::Tls,
                tls("certificate verify failed (self-signed certificate in certificate chain)"),
                "sslrootcert",
            ),
            (Phase::Tls, tls("tlsv1 alert unknown ca"), Reason::Tls.remedy()),
            (Phase::Tls, Cause::TlsRefused, "ssl = on"),
            (Phase::Connect, Cause::Timeout, "firewall"),
            (Phase::Startup, Cause::Timeout, "hangs"),
            (Phase::Ping, Cause::Timeout, "RESUME"),
            (Phase::Idle, Cause::Timeout, Reason::Timeout.remedy()),
        ]);
    }

    #[test]
    fn a_rejected_password_leads_to_where_it_came_from() {
        let rejected = |message: &str, sqlstate| Facts::new(Phase::Startup, Cause::server(sqlstate, message));
        let printed = |facts| Facts { printed_password: true, ..facts };
        let of = |facts: &Facts| remedy(diagnose(facts).reason, facts);
        let wrong = rejected("password authentication failed for user \"app\"", "28P01");
        assert!(of(&wrong).contains("password_file"));
        assert_eq!(of(&printed(wrong)), PRINTED_PASSWORD);
        let role = rejected("role \"app\" is not permitted to log in", "28000");
        assert!(of(&printed(role)).contains("ALTER ROLE"), "that is no matter of the password");
        let full = rejected("sorry, too many clients already", "53300");
        assert_eq!(of(&printed(full)), Reason::Capacity.remedy());
    }

    #[test]
    fn a_server_that_asks_for_less_than_before_is_no_matter_of_a_setting_that_cannot_be_used() {
        let config = |message: &str| Cause::Config { message: message.to_owned() };
        let asks =
            format!("the server wants the password in clear text, {SCRAM_BEFORE}: somebody may pretend");
        assert_named([
            (Phase::Startup, config(&asks), "who answers there"),
            (Phase::Prepare, config("password_file /pw is empty"), Reason::Config.remedy()),
        ]);
    }

    #[test]
    fn a_standby_without_hot_standby_is_known_in_another_language() {
        let words = ServerWords {
            detail: Some("Hot-Standby-Modus ist deaktiviert.".to_owned()),
            routine: Some("ProcessStartupPacket".to_owned()),
            ..ServerWords::default()
        };
        let message = "das Datenbanksystem nimmt keine Verbindungen an".to_owned();
        let cause = Cause::Server { sqlstate: "57P03".to_owned(), message, words: Box::new(words) };
        assert!(remedy_of(Phase::Startup, cause).contains("hot_standby = on"));
    }

    #[test]
    fn a_role_that_a_server_names_in_another_language_is_known_by_the_routine() {
        let words =
            ServerWords { routine: Some("InitializeSessionUserId".to_owned()), ..ServerWords::default() };
        let message = "Rolle »app« hat keine Erlaubnis, sich einzuloggen".to_owned();
        let cause = Cause::Server { sqlstate: "28000".to_owned(), message, words: Box::new(words) };
        assert!(remedy_of(Phase::Startup, cause).contains("ALTER ROLE"));
    }
}
