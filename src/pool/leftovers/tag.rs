//! What the tag of a CommandComplete tells.

use super::Kinds;

/// No tag that matters is longer, its NUL included.
pub const LONGEST: usize = 64;

/// What a command with that tag may have left on its session. `unseen` where its text is not known: the tag does not tell
/// `SET LOCAL` from `SET`, nor a temporary table from another.
pub fn leaves(tag: &[u8], unseen: bool) -> Kinds {
    match tag {
        b"LISTEN" => Kinds::CHANNEL,
        b"PREPARE" => Kinds::STATEMENT,
        b"RESET" => Kinds::SETTINGS | Kinds::RESET,
        // Its body may set anything.
        b"DO" => Kinds::SETTINGS | Kinds::UNNAMED_SETTINGS,
        b"SET" if unseen => Kinds::SETTINGS | Kinds::UNNAMED_SETTINGS,
        b"CREATE TABLE" | b"CREATE TABLE AS" | b"CREATE VIEW" | b"CREATE SEQUENCE" if unseen => {
            Kinds::TEMPORARY
        }
        b"DECLARE CURSOR" if unseen => Kinds::CURSOR,
        _ => Kinds::empty(),
    }
}

/// Whether a command with that tag has changed what statements mean that were prepared before: tables, types, functions,
/// or who may see what. `SELECT INTO` and `CREATE TABLE AS` only add a table.
pub fn is_ddl(tag: &[u8]) -> bool {
    let first = tag.split(|byte| *byte == b' ').next().unwrap_or_default();
    match first {
        b"ALTER" => !matches!(tag, b"ALTER SYSTEM" | b"ALTER DATABASE" | b"ALTER TABLESPACE"),
        b"DROP" => !matches!(tag, b"DROP DATABASE" | b"DROP TABLESPACE" | b"DROP REPLICATION SLOT"),
        b"CREATE" => !matches!(tag, b"CREATE DATABASE" | b"CREATE TABLESPACE" | b"CREATE STATISTICS"),
        b"IMPORT" => tag == b"IMPORT FOREIGN SCHEMA",
        b"REASSIGN" => tag == b"REASSIGN OWNED",
        b"SECURITY" => tag == b"SECURITY LABEL",
        // Its body may have changed anything.
        b"DO" => tag == b"DO",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_that_always_leaves_something_is_known() {
        for (tag, kinds) in [
            ("LISTEN", Kinds::CHANNEL),
            ("PREPARE", Kinds::STATEMENT),
            ("RESET", Kinds::SETTINGS | Kinds::RESET),
            ("DO", Kinds::SETTINGS | Kinds::UNNAMED_SETTINGS),
        ] {
            assert_eq!(leaves(tag.as_bytes(), false), kinds, "{tag}");
        }
        for tag in
            ["SELECT 1", "INSERT 0 1", "BEGIN", "COMMIT", "SET", "UNLISTEN", "DEALLOCATE", "EXECUTE", ""]
        {
            assert_eq!(leaves(tag.as_bytes(), false), Kinds::empty(), "{tag}");
        }
    }

    #[test]
    fn what_changes_a_table_a_type_or_a_function_is_ddl_and_what_changes_rows_is_not() {
        for tag in [
            "ALTER TABLE",
            "ALTER TYPE",
            "CREATE FUNCTION",
            "CREATE TABLE",
            "CREATE TABLE AS",
            "DROP TABLE",
            "DROP OWNED",
            "CREATE INDEX",
            "ALTER ROLE",
            "IMPORT FOREIGN SCHEMA",
            "DO",
        ] {
            assert!(is_ddl(tag.as_bytes()), "{tag}");
        }
        for tag in [
            "SELECT 1",
            "INSERT 0 1",
            "UPDATE 3",
            "SET",
            "BEGIN",
            "TRUNCATE TABLE",
            "VACUUM",
            "ALTER SYSTEM",
            "CREATE DATABASE",
            "DROPS",
            "DO 1",
            "",
        ] {
            assert!(!is_ddl(tag.as_bytes()), "{tag}");
        }
    }
}
