//! What is refused, and in which words.

use super::*;

/// The one problem of a string.
fn the_problem(text: &str) -> String {
    let mut problems = problems(text);
    assert_eq!(problems.len(), 1, "{text}: {problems:?}");
    problems.remove(0)
}

/// A string, and what its one problem says.
const MISTAKES: &[(&str, &str)] = &[
    ("", "is empty"),
    (" \n", "is empty"),
    ("host=h\0", "NUL"),
    ("postgresql://u:a%00b@h/db", "`password` holds `%00`"),
    ("postgresql://u:a%zzb@h/db", "`password` holds a `%` that two hexadecimal digits must follow"),
    ("postgresql://u:p@h/db%", "`dbname` holds a `%`"),
    ("postgresql://u:p@h/db%4", "`dbname` holds a `%`"),
    ("postgresql://u:%ff@h/db", "`password` is not UTF-8"),
    ("postgresql://u:a b@h/db", "`password` holds white space"),
    ("postgresql://u@[::1/db", "`[` of an IPv6 address has no `]`"),
    ("postgresql://u@[]/db", "is empty"),
    ("postgresql://u@[::1]x/db", "only `:port` may follow"),
    ("postgresql://u@h/db?sslmode", "has no `=`"),
    ("postgresql://u@h/db?&sslmode=require", "has no `=`"),
    ("postgresql://u@h/db?options=endpoint=ep-x", "`options` holds a second `=`: write it as `%3D`"),
    ("host=h user=u password", "after the value of `user` a word stands without `=`"),
    ("host=h user='u", "has no ' at its end"),
    ("host=h user=u dbname=two\\\nlines", "`dbname` holds a line break"),
    ("postgresql://u@h/d%0Ab", "`dbname` holds a line break"),
    ("user=u password= host=h", "followed by a blank and the next setting"),
    ("host=h user=''", "`user` is empty"),
    ("host=h user=u port=0", "`port` must be a number from 1 to 65535"),
    ("postgresql://u@h:65536/db", "`port` must be a number from 1 to 65535"),
    ("postgresql://u@h:54a/db", "`port` must be a number from 1 to 65535"),
    ("host=a,b,c port=1,2 user=u", "`port` lists 2 and `host` 3"),
    ("host=a port=1,2 user=u", "`port` lists 2 and `host` 1"),
    ("host=a,b hostaddr=10.0.0.1 user=u", "`host` lists 2 and `hostaddr` 1"),
    ("hostaddr=db.example user=u", "`hostaddr` must be an IPv4 or IPv6 address"),
    ("host=localhost:5432 user=u", "a port goes into `port`"),
    ("host=[::1] user=u", "brackets"),
    ("host=run/pg user=u", "the folder of a Unix socket is an absolute path"),
    ("host='a, b' user=u", "write a list as host=a,b"),
    ("host=h;x user=u dbname=d;y", "ADO.NET"),
    ("dbname=d host=h;user user=u", "no name of a host has"),
    ("host=h user=u sslmode=no-verify", "`sslmode` must be one of: disable, allow, prefer, require"),
    ("host=h user=u sslmode=", "`sslmode` must be one of"),
    ("host=h user=u sslmode=required", "verify-full; did you mean `require`?"),
    ("host=h user=u sslmode=verify_full", "verify-full; did you mean `verify-full`?"),
    ("host=h user=u dbname=postgresql://app:hunter2@db/app", "`dbname` is a connection string"),
    ("host=h user=u dbname='host=db password=hunter2'", "`dbname` is a connection string"),
    ("host=h user=u password=[YOUR-PASSWORD]", "the password is the placeholder of a template"),
    ("postgresql://u:[YOUR-PASSWORD]@h/db", "the password is the placeholder of a template"),
    ("postgresql://u:%3Cpassword%3E@h/db", "the password is the placeholder of a template"),
    ("host=h user=u sslmode=Require", "`sslmode` must be one of"),
    ("host=h user=u ssl=false", "write `sslmode`"),
    ("host=h user=u sslcert=/c.pem", "`sslcert` needs `sslkey`"),
    ("host=h user=u sslkey=/c.pem", "`sslkey` needs `sslcert`"),
    (
        "host=h user=u sslcert=/c.pem sslkey='-----BEGIN PRIVATE KEY-----'",
        "`sslkey` takes the path of a file",
    ),
    ("host=h user=u sslcertmode=require", "demand the certificate at the server"),
    ("host=h user=u sslrootcert=system sslmode=require", "`sslrootcert` system needs sslmode=verify-full"),
    ("host=h user=u sslnegotiation=direct sslmode=prefer", "`sslnegotiation` direct needs"),
    ("host=localhost user=u sslnegotiation=direct", "`sslnegotiation` direct needs"),
    ("host=h user=u ssl_max_protocol_version=TLSv1.1", "is below `ssl_min_protocol_version`"),
    ("host=h user=u ssl_min_protocol_version=1.2", "must be one of: TLSv1, "),
    ("host=h user=u sslsni=yes", "`sslsni` must be one of: 0, 1"),
    ("host=h user=u channel_binding=require sslmode=disable", "needs TLS"),
    ("host=/run user=u channel_binding=require", "needs TLS"),
    ("host=h user=u connect_timeout=10s", "`connect_timeout` must be a whole number"),
    (
        "host=h user=u connect_timeout=99999999999",
        "`connect_timeout` must be a whole number, 86400 at the most",
    ),
    ("host=h user=u keepalives_idle=32768", "`keepalives_idle` must be a whole number, 32767 at the most"),
    ("host=h user=u keepalives_count=128", "`keepalives_count` must be a whole number, 127 at the most"),
    ("host=h user=u keepalives=yes", "`keepalives` must be a whole number"),
    ("host=h user=u require_auth=scram", "`require_auth` must be a list"),
    ("host=h user=u require_auth=md5,!none", "`require_auth` mixes"),
    ("host=h user=u require_auth=gss", "`require_auth` leaves no method that pgtether speaks"),
    ("host=h user=u service=prod", "write out what the service says"),
    ("host=h user=u gssencmode=require", "sslmode=verify-full"),
    ("host=h user=u sslaccept=strict", "sslmode=verify-full"),
];

#[test]
fn each_mistake_is_named_with_its_remedy() {
    for (text, wanted) in MISTAKES {
        let problem = the_problem(text);
        assert!(problem.contains(wanted), "{text:?}: {problem}");
    }
}

#[test]
fn other_tools_forms_are_recognised() {
    for (text, wanted) in [
        ("psql 'postgresql://u:hunter2@h/db'", "leave out `psql`"),
        ("'postgresql://u:hunter2@h/db'", "without the quotes"),
        ("\"postgresql://u:hunter2@h/db\"", "without the quotes"),
        ("jdbc:postgresql://h/db?user=u&password=hunter2", "without `jdbc:`"),
        ("POSTGRES://u:hunter2@h/db", "lower case"),
        ("postgresql+asyncpg://u:hunter2@h/db", "without `+`"),
        ("mysql://u:hunter2@h/db", "begins with postgresql://"),
        ("prisma+postgres://accelerate/?api_key=hunter2", "begins with postgresql://"),
        ("Host=h;Username=u;Password=hunter2;Database=d", "ADO.NET"),
        ("Server=h;User Id=u;Password=hunter2", "ADO.NET"),
    ] {
        let problem = the_problem(text);
        assert!(problem.contains(wanted), "{text}: {problem}");
        assert!(!problem.contains("hunter2"), "{text}: {problem}");
    }
}

#[test]
fn an_unknown_keyword_comes_with_the_one_that_was_meant() {
    for (text, wanted) in [
        ("host=h user=u sslmod=require", "unknown keyword `sslmod`: did you mean `sslmode`?"),
        ("host=h user=u SSLMODE=require", "did you mean `sslmode`?"),
        ("host=h user=u aplication_name=x", "did you mean `application_name`?"),
        ("host=h user=u connect-timeout=3", "did you mean `connect_timeout`?"),
        ("host=h user=u DATABASE=x", "like `database` it is not supported: write `dbname`"),
        ("host=h user=u frobnicate=x", "libpq does not know it either: leave it out"),
        ("postgresql://u:p@h/db?ssl_mod=require", "unknown keyword `ssl_mod`: did you mean `sslmode`?"),
        ("host=h user=u password=x sslmod=require", "unknown keyword after `password`, not shown because"),
        ("host=h user=u password=x sslmod=require", "did you mean `sslmode`?"),
        ("user='u' frob=1 host=h", "unknown keyword after `user`, not shown because"),
    ] {
        let problem = the_problem(text);
        assert!(problem.contains(wanted), "{text}: {problem}");
    }
}

#[test]
fn all_mistakes_are_found_at_once() {
    let found =
        problems("host=a,b port=1,2,3 user=u sslmode=on service=x frob=1 connect_timeout=x sslcert=c");
    assert_eq!(found.len(), 6, "{found:#?}");
    let found = problems("postgresql://u:p%@h:x/d?sslmode=on&options=a=b&nothing");
    assert_eq!(found.len(), 5, "{found:#?}");
}

#[test]
fn an_at_sign_that_is_not_encoded_is_refused_without_a_word_of_the_string() {
    for text in [
        "postgresql://u:hunter@two@h/db",
        "postgresql://u:hun/ter@two/db",
        "postgresql://u:5432/hunter@two/db",
        "postgresql://u:12/hunter?two=x@h/db",
        "postgresql://u:12?hunter=two/x@h/db",
        "postgresql://u:x@hunter/db?two=y@h",
        "postgresql://u:hunter@@h/db",
        "postgresql://h:5432?password=hunter@two",
        "postgresql://h?password=hunter@two",
    ] {
        let problem = the_problem(text);
        assert_eq!(problem, uri::stray_at().message, "{text}");
        assert!(!problem.contains("hunter") && !problem.contains("two"), "{problem}");
    }
    // Where nothing else is wrong an `@` in a parameter is just an `@`.
    assert_eq!(endpoint("postgresql://h/db?user=u@srv").user, "u@srv");
}

#[test]
fn words_behind_a_password_are_not_shown() {
    for text in [
        "host=h user=u password=my hunter",
        "host=h user=u password=my hunter=x",
        "host=h user=u password=my hunter=x hunter2=y",
        "host=h user=u password='my' hunter'x=3",
        "host=h user=u passwrd=my hunter=x",
        "host=h user=u pwd=my hunter=x",
        "postgresql://u@h/db?password=my&hunter=x",
        "postgresql://u@h/db?password=my&hunter",
        "postgresql://u@h/db?password=my=hunter",
        "postgresql//u:hunter@h/db?x=y",
        "postgresql:/u:hunter@h/db?x=y",
        "postgres:u:hunter=x@h",
        "postgresql//u:my hunter=two@h",
        "host=h user='u password='hunter=two' dbname=d",
        "host=h user='u password=' hunter=two' dbname=d",
        "host=h user=uassword='x hunter=two'",
        "postgresql://u@h/db?password=my\nx&hunter=two",
        "postgresql//u:x=y hunter=two@h",
        "host=h user=u sslmode=hunter port=hunter connect_timeout=hunter hostaddr=hunter",
        "host=hunter@x user=u",
    ] {
        let found = problems(text);
        assert!(found.iter().all(|p| !p.contains("hunter")), "{text}: {found:?}");
    }
}

#[test]
fn what_is_too_long_or_too_many_is_refused_and_the_most_is_read() {
    let fill = |n: usize| format!("host=h user=u options='{}'", "x".repeat(n));
    let frame = fill(0).len();
    ok(&fill(MAX_LEN - frame));
    assert!(the_problem(&fill(MAX_LEN - frame + 1)).contains("longer than 16384 bytes"));
    assert!(the_problem(&format!("host=a{} user=u", ",a".repeat(64))).contains("more than 64 hosts"));
    ok(&format!("host=a{} user=u", ",a".repeat(63)));
    assert!(the_problem(&"user=u ".repeat(257)).contains("more than 256 settings"));
    let socket = format!("host=/{} user=u", "x".repeat(100));
    assert!(the_problem(&socket).contains("longer than 107 bytes"));
}
