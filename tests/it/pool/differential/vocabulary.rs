//! What clients say, and what is changed beside them.

/// What the clients say. Of both, the first ones name no statement, and neither begin nor end a transaction: they may be
/// sent ahead.
#[derive(Debug, Clone, Copy)]
pub struct Vocabulary {
    /// Before everything.
    pub setup: &'static str,
    pub texts: &'static [&'static str],
    pub texts_ahead: usize,
    pub queries: &'static [&'static str],
    pub queries_ahead: usize,
    pub rounds: u64,
    pub describes: Describes,
    /// What is changed over a connection that is not the pool's, while no client has anything under way.
    pub changes: &'static [&'static str],
}

/// What follows each Parse, as drivers have it: whoever was told nothing may get what a server refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Describes {
    #[default]
    Nothing,
    Statements,
    /// As pgjdbc has it.
    Portals,
}

pub const SETTINGS: Vocabulary = Vocabulary {
    setup: "",
    texts: &[
        "SELECT 'constant'",
        "SELECT $1::text",
        "SELECT $1::int4 + 1",
        "SELECT generate_series(1, 5)",
        "SELECT 1 / 0",
        "SELECT never_there",
        "",
        "SHOW timezone",
        "SET timezone = 'Asia/Tokyo'",
        "RESET timezone",
        "SET timezone TO DEFAULT",
        "DEALLOCATE a",
        "/* b; */ deallocate prepare \"b\";",
        "DEALLOCATE ALL",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
    ],
    texts_ahead: 11,
    queries: &[
        "SELECT 1",
        "SELECT 1; SELECT 2",
        "SELECT 1; SELECT 1 / 0; SELECT 3",
        "SELEC",
        "",
        "SHOW timezone",
        "SHOW search_path; SHOW timezone",
        "SET timezone = 'Asia/Tokyo'; SET search_path = other",
        "SET timezone = 'Asia/Tokyo'; RESET timezone; SHOW timezone",
        "SET search_path = other; RESET ALL; SHOW search_path; SET LOCAL timezone TO DEFAULT; SHOW timezone",
        "RESET timezone; SELECT 1 / 0",
        "-- reset\nRESET search_path",
        "SET LOCAL timezone = 'Asia/Tokyo'; SET LOCAL timezone = DEFAULT; SHOW timezone",
        "DEALLOCATE a",
        "/* a; */ DEALLOCATE a; DEALLOCATE \"b\"; SELECT 1",
        "SELECT 1; deallocate prepare c; SELECT 1 / 0; DEALLOCATE b",
        "DEALLOCATE b; DEALLOCATE b",
        "DEALLOCATE ALL; SELECT 1; SET timezone TO DEFAULT",
        "DEALLOCATE c; DEALLOCATE ALL; DEALLOCATE a",
        "DEALLOCATE ALL",
        "DISCARD ALL",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
    ],
    queries_ahead: 13,
    rounds: 25,
    describes: Describes::Nothing,
    changes: &[],
};

/// The same words mean other tables, types and rows, by schema and role.
pub const SCHEMAS: Vocabulary = Vocabulary {
    setup: "CREATE SCHEMA one; CREATE SCHEMA other;
        CREATE TABLE one.place (c int4); INSERT INTO one.place VALUES (7), (8);
        CREATE TABLE other.place (c text); INSERT INTO other.place VALUES ('7'), ('x');
        CREATE FUNCTION one.name() RETURNS int4 LANGUAGE sql AS 'SELECT 1';
        CREATE FUNCTION other.name() RETURNS text LANGUAGE sql AS $$SELECT 'other'$$;
        CREATE ROLE reader; CREATE ROLE writer; GRANT USAGE ON SCHEMA one, other TO reader, writer;
        GRANT SELECT ON one.place TO reader, writer; GRANT SELECT ON other.place TO writer;
        CREATE TABLE public.secret (owner text, v text); ALTER TABLE public.secret ENABLE ROW LEVEL SECURITY;
        CREATE POLICY own ON public.secret USING (owner = current_user);
        INSERT INTO public.secret VALUES ('reader', 'r'), ('writer', 'w'); GRANT SELECT ON public.secret TO reader, writer;",
    texts: &[
        "SELECT c FROM place WHERE c = $1",
        "SELECT c FROM place",
        "SELECT name()",
        "SELECT $1 || current_schema()",
        "SELECT v FROM public.secret",
        "SELECT current_user",
        "SELECT count(*) FROM public.secret WHERE owner = $1",
        "SET search_path = other",
        "SET search_path = one, public",
        "SET ROLE reader",
        "SET ROLE writer",
        "RESET ROLE",
        "SET LOCAL search_path = other",
        "SET LOCAL ROLE reader",
        "DEALLOCATE ALL",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
    ],
    texts_ahead: 7,
    queries: &[
        "SELECT c FROM place",
        "SELECT name(), current_user",
        "SELECT v FROM public.secret",
        "SET search_path = other; SELECT c FROM place",
        "SET search_path = one; SELECT c FROM place",
        "SET ROLE reader; SELECT v FROM public.secret",
        "SET ROLE writer; SELECT v FROM public.secret; SELECT c FROM place",
        "RESET ROLE; RESET search_path",
        "RESET ALL",
        "SET search_path = other; SELECT 1 / 0",
        "BEGIN; SET LOCAL search_path = other; SET LOCAL ROLE writer",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "DISCARD ALL",
    ],
    queries_ahead: 10,
    rounds: 25,
    describes: Describes::Statements,
    changes: &[],
};

/// Columns get other types, come and go.
pub const TYPES: Vocabulary = Vocabulary {
    setup: "CREATE TABLE changing (v int4); INSERT INTO changing VALUES (7);
        CREATE TABLE other (v int4); INSERT INTO other VALUES (8);",
    texts: &[
        "SELECT v FROM public.changing",
        "SELECT v AS a FROM public.changing",
        "SELECT v AS b FROM public.changing",
        "SELECT v AS c, v AS d FROM public.changing",
        "SELECT * FROM public.changing",
        "SELECT 1, * FROM public.changing",
        "SELECT 2, * FROM public.changing",
        "SELECT * FROM public.other",
        "SELECT v, 3 FROM public.other",
        "SELECT v, 4 FROM public.other",
        "COMMIT",
    ],
    texts_ahead: 10,
    queries: &[
        "SELECT * FROM public.changing",
        "SELECT v FROM public.changing; SELECT 1 / 0",
        "SELECT 1",
        "BEGIN",
        "COMMIT",
        "DEALLOCATE a",
        "DISCARD ALL",
    ],
    queries_ahead: 3,
    rounds: 15,
    describes: Describes::Portals,
    changes: &[
        "ALTER TABLE changing ALTER v TYPE int8 USING v::int8",
        "ALTER TABLE changing ALTER v TYPE int4 USING v::int4",
        "ALTER TABLE changing ALTER v TYPE text",
        "ALTER TABLE changing ADD COLUMN IF NOT EXISTS w int4",
        "ALTER TABLE changing DROP COLUMN IF EXISTS w",
        "ALTER TABLE other ALTER v TYPE int8 USING v::int8",
        "ALTER TABLE other ALTER v TYPE int4 USING v::int4",
    ],
};
