-- What people type into psql. Its output through the pool must be, to the letter, what it is without.
\set ON_ERROR_STOP off
\timing on
SELECT 1 AS one;
\timing off
\set name world
SELECT :'name' AS hello, :{?name} AS known;

CREATE TABLE people (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, born date DEFAULT '2000-01-01');
CREATE INDEX people_name ON people (lower(name));
COMMENT ON TABLE people IS 'those we know';
INSERT INTO people (name) VALUES ('Ada'), ('Grace'), ('Edsger') RETURNING id, name;
CREATE VIEW names AS SELECT name FROM people;
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * n';
\d
\d+ people
\dt
\di
\dv+
\df twice
\sf twice
\dn
\x on
SELECT * FROM people WHERE id = 1;
\x off
\pset null '(none)'
SELECT NULL AS nothing;

-- \copy by a file, by lines of the script, and one that fails in the middle.
\copy people TO 'people.txt'
\copy people (name) FROM STDIN
Barbara
Donald
\.
\copy people (id) FROM STDIN
no number
\.
\copy (SELECT name FROM people ORDER BY id) TO STDOUT (FORMAT csv, HEADER)
COPY (SELECT count(*) FROM people) TO STDOUT;

-- Errors inside and outside of transactions.
SELECT 1/0;
\errverbose
BEGIN;
INSERT INTO people (name) VALUES ('Nobody');
SELECT * FROM never_there;
SELECT 'still aborted';
COMMIT;
SELECT count(*) FROM people WHERE name = 'Nobody';
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO people (name) VALUES ('Somebody');
SELECT 1/0;
SELECT 'going on' AS behind_a_savepoint;
COMMIT;
\set ON_ERROR_ROLLBACK off
SELECT count(*) FROM people WHERE name = 'Somebody';
SELECT 1 \; SELECT 2 AS second \; SELECT 3/0 \; SELECT 4;

-- What psql builds out of answers.
SELECT format('SELECT %s AS made', g) FROM generate_series(1, 3) g \gexec
SELECT 42 AS answer, true AS yes \gset
\echo :answer
SELECT $$a$$ AS "row", 'b' AS "col", 1 AS v \crosstabview
SELECT 1 AS described, 'x'::text AS too \gdesc
\if :yes
  SELECT 'in the branch' AS taken;
\endif

-- Cursors in portions.
\set FETCH_COUNT 7
SELECT g FROM generate_series(1, 20) g;
\set FETCH_COUNT 0
\set AUTOCOMMIT off
INSERT INTO people (name) VALUES ('Undone');
ROLLBACK;
\set AUTOCOMMIT on
SELECT count(*) FROM people WHERE name = 'Undone';

-- Settings that a pool keeps for its client.
SET TimeZone = 'Asia/Tokyo';
SELECT '2026-01-02 03:04:05+00'::timestamptz;
SET DateStyle = 'German';
SELECT '2026-01-02'::date;
\encoding LATIN1
\encoding
SELECT length('abc');
\encoding UTF8
DO $$ BEGIN RAISE NOTICE 'a notice'; RAISE WARNING 'a warning'; END $$;

-- A connection of its own, in the middle.
\c
SELECT '2026-01-02'::date;
SELECT count(*) FROM people;
VACUUM people;
DROP TABLE people CASCADE;
SELECT 'the end of the script' AS said;
