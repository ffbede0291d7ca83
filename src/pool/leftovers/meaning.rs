//! Settings that a server understands texts under: where a name leads, what a literal says.

/// Settings that tell how something is done, and not what a text means.
const HOW: [&[u8]; 12] = [
    b"application_name",
    b"bytea_output",
    b"characteristics",
    b"constraints",
    b"extra_float_digits",
    b"jit",
    b"plan_cache_mode",
    b"row_security",
    b"seed",
    b"session_replication_role",
    b"synchronous_commit",
    b"transaction",
];
const HOW_BEGINS: [&[u8]; 5] = [b"default_transaction_", b"enable_", b"jit_", b"log_", b"transaction_"];
const HOW_ENDS: [&[u8]; 4] = [b"_cost", b"_limit", b"_mem", b"_timeout"];

/// Whether the setting that begins here may be one of them; those that are not known are.
pub fn is_meant(setting: &[u8]) -> bool {
    let end = setting.iter().position(|byte| byte.is_ascii_whitespace() || b"=;,'".contains(byte));
    let name = setting[..end.unwrap_or(setting.len())].to_ascii_lowercase();
    // An application's own means something to that alone.
    let is_how = name.contains(&b'.')
        || HOW.contains(&&*name)
        || HOW_BEGINS.iter().any(|begin| name.starts_with(begin))
        || HOW_ENDS.iter().any(|end| name.ends_with(end));
    !is_how
}

#[cfg(test)]
mod tests {
    use crate::pool::leftovers::{Hints, Kinds};

    #[test]
    fn what_may_change_the_meaning_of_what_follows_is_told_from_what_does_not() {
        let changes = |sql: &str| Hints::of_text(sql.as_bytes(), true).kinds.contains(Kinds::MEANING);
        for sql in [
            "SET search_path = a",
            "select 1; set local SEARCH_PATH to a",
            "SET SCHEMA 'a'",
            "set session time zone 'UTC'",
            "SET LOCAL ROLE x",
            "SET SESSION AUTHORIZATION x",
            "SET U&\"search\\005fpath\" = a",
            "RESET search_path",
            "RESET ALL",
            "DISCARD ALL",
            "SET search_path TO DEFAULT",
            "SELECT set_config('search_path', $1, true)",
            "SELECT set_config($1, $2, true), set_config('app.a', 'b', true)",
            "DO $$BEGIN SET search_path = a; END$$",
        ] {
            assert!(changes(sql), "{sql}");
        }
        for sql in [
            "SELECT 1",
            "SET app.tenant = 7",
            "SET LOCAL app.tenant = 7",
            "SELECT set_config('request.jwt.claims', $1, true), set_config('statement_timeout', '1', true)",
            "SET statement_timeout TO 1",
            "SET LOCAL work_mem='1MB'",
            "set session characteristics as transaction read only",
            "SET TRANSACTION READ ONLY",
            "SET LOCAL transaction_isolation = 'serializable'",
            "SET enable_seqscan = off",
            "RESET work_mem;",
            "DEALLOCATE ALL",
            "SELECT dos FROM don",
        ] {
            assert!(!changes(sql), "{sql}");
        }
        assert!(Hints::of_text(b"SELECT 1", false).kinds.contains(Kinds::MEANING), "its end was not seen");
    }
}
