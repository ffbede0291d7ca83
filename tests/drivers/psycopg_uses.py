"""psycopg 3 as applications use it: values, transactions, prepared statements, pipelines, cursors, COPY."""

import hashlib
import os
import time

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from by_psycopg import connect, one
from uses import OWN_SESSION, PAUSE, fails, run, same, use


@use
def values_of_many_types_come_back():
    with connect() as c:
        row = c.execute(
            "SELECT %s::int, %s::text, %s::jsonb, %s::float8, %s::bytea, %s::int[], %s::bool, now() IS NOT NULL",
            (1, "żółć \U0001f418", psycopg.types.json.Jsonb({"a": [1, None]}), 1.5, b"\x00\xff", [1, 2], None),
        ).fetchone()
        same(row, (1, "żółć \U0001f418", {"a": [1, None]}, 1.5, b"\x00\xff", [1, 2], None, True))
        same(c.execute("SELECT").fetchone(), ())
        same(c.execute("SELECT 1 AS a, 2 AS b", binary=True).description[1].name, "b")
        c.row_factory = dict_row
        same(c.execute("SELECT 7 AS seven").fetchone(), {"seven": 7})
    same(c.closed, True)


@use
def transactions_commit_and_roll_back():
    with connect() as c, connect(autocommit=True) as other:
        other.execute("DROP TABLE IF EXISTS kept")
        other.execute("CREATE TABLE kept (v int)")
        c.execute("INSERT INTO kept VALUES (1)")
        same(one(other, "SELECT count(*) FROM kept"), 0, "seen before the commit")
        c.commit()
        same(one(other, "SELECT count(*) FROM kept"), 1, "seen after the commit")
        c.execute("INSERT INTO kept VALUES (2)")
        c.rollback()
        with c.transaction():
            c.execute("INSERT INTO kept VALUES (3)")
            with fails("22012"):
                with c.transaction():
                    c.execute("INSERT INTO kept VALUES (4)")
                    c.execute("SELECT 1/0")
            c.execute("INSERT INTO kept VALUES (5)")
        same(other.execute("SELECT v FROM kept ORDER BY v").fetchall(), [(1,), (3,), (5,)])


@use
def an_error_aborts_the_transaction_until_its_end():
    with connect() as c:
        with fails("42P01"):
            c.execute("SELECT * FROM never_there")
        with fails("25P02"):
            c.execute("SELECT 1")
        c.rollback()
        same(one(c, "SELECT 2"), 2)
        with fails("23505"):
            c.execute("CREATE TEMP TABLE u (v int PRIMARY KEY) ON COMMIT DROP")
            c.execute("INSERT INTO u VALUES (1), (1)")
        c.rollback()


@use
def prepared_statements_of_two_clients_do_not_meet():
    # Both number theirs from 0.
    with connect(autocommit=True, prepare_threshold=0) as a, connect(autocommit=True, prepare_threshold=0) as b:
        for i in range(20):
            same(one(a, "SELECT %s + 1", (i,)), i + 1)
            same(one(b, "SELECT %s || 'b'", (str(i),)), f"{i}b")
            same(one(a, "SELECT %s * 2", (i,)), i * 2)
            same(one(b, "SELECT %s - 3", (i,)), i - 3)


@use
def more_prepared_statements_than_are_kept_still_work():
    with connect(autocommit=True, prepare_threshold=0) as c:
        c.prepared_max = 5
        for _ in range(3):
            for i in range(40):
                same(one(c, sql.SQL("SELECT %s::int + {}").format(sql.Literal(i)), (1,)), i + 1)
        c.prepared_max = 100
        for _ in range(2):
            for i in range(150):
                same(one(c, sql.SQL("SELECT %s::int - {}").format(sql.Literal(i)), (1,)), 1 - i)


@use
def a_prepared_statement_survives_a_failed_transaction():
    with connect(prepare_threshold=0) as c:
        for divisor in (1, 0, 2, 0, 4):
            if divisor:
                same(one(c, "SELECT 8 / %s::int", (divisor,)), 8 // divisor)
                c.commit()
            else:
                with fails("22012"):
                    c.execute("SELECT 8 / %s::int", (divisor,))
                c.rollback()


@use
def a_statement_prepared_in_a_transaction_that_rolled_back_is_still_there():
    # Prepared statements are no part of the transaction.
    with connect(prepare_threshold=0) as c:
        same(one(c, "SELECT 'first' || %s", ("x",)), "firstx")
        c.rollback()
        same(one(c, "SELECT 'first' || %s", ("y",)), "firsty")


@use
def a_changed_table_is_told_by_the_server_and_prepared_anew():
    with connect(autocommit=True, prepare_threshold=0) as c:
        c.execute("DROP TABLE IF EXISTS shape")
        c.execute("CREATE TABLE shape AS SELECT 1 AS a")
        same(c.execute("SELECT * FROM shape").fetchall(), [(1,)])
        c.execute("ALTER TABLE shape ADD COLUMN b int DEFAULT 2")
        try:
            same(c.execute("SELECT * FROM shape").fetchall(), [(1, 2)])
        except psycopg.errors.FeatureNotSupported as e:
            same(e.diag.message_primary, "cached plan must not change result type")


@use
def a_pipeline_is_answered_in_its_order():
    with connect(autocommit=True) as c:
        c.execute("DROP TABLE IF EXISTS piped")
        c.execute("CREATE TABLE piped (v int PRIMARY KEY)")
        with c.pipeline() as p:
            cursors = [c.execute("INSERT INTO piped VALUES (%s) RETURNING v", (i,)) for i in range(200)]
            p.sync()
            late = c.execute("SELECT count(*) FROM piped")
            same([cursor.fetchone()[0] for cursor in cursors], list(range(200)))
            same(late.fetchone()[0], 200)
        with c.pipeline():
            c.cursor().executemany("UPDATE piped SET v = v + 1000 WHERE v = %s", [(i,) for i in range(100)])
        same(one(c, "SELECT count(*) FROM piped WHERE v >= 1000"), 100)


@use
def an_error_in_a_pipeline_aborts_what_follows_up_to_the_sync():
    with connect(autocommit=True) as c:
        p = c.pgconn
        p.enter_pipeline_mode()
        queries = (b"SELECT 1", b"SELECT 1/0", b"INSERT INTO piped VALUES (-1)", None, b"SELECT 3", None)
        for query in queries:
            if query:
                p.send_query_params(query, [])
            else:
                p.pipeline_sync()
        seen = []
        for query in queries:
            seen.append(psycopg.pq.ExecStatus(p.get_result().status).name)
            if query:
                same(p.get_result(), None)
        p.exit_pipeline_mode()
        wanted = "TUPLES_OK FATAL_ERROR PIPELINE_ABORTED PIPELINE_SYNC TUPLES_OK PIPELINE_SYNC"
        same(" ".join(seen), wanted)
        same(one(c, "SELECT count(*) FROM piped WHERE v = -1"), 0)
    with connect() as c:
        with c.pipeline():
            c.execute("INSERT INTO piped VALUES (-2)")
            c.execute("INSERT INTO piped VALUES (-3)")
            c.rollback()
            c.execute("INSERT INTO piped VALUES (-4)")
        c.commit()
        same(c.execute("SELECT v FROM piped WHERE v < 0").fetchall(), [(-4,)])


@use
def a_pipeline_in_a_transaction_prepares_as_it_goes():
    with connect(prepare_threshold=0) as c:
        for turn in range(3):
            with c.pipeline(), c.transaction():
                cursors = [c.execute(f"SELECT %s::int + {i % 7}", (i,)) for i in range(50)]
            same([cursor.fetchone()[0] for cursor in cursors], [i + i % 7 for i in range(50)], f"turn {turn}")


@use
def a_named_cursor_reads_a_large_result_in_parts():
    with connect() as c:
        with c.cursor(name="walker") as cursor:
            cursor.itersize = 1000
            cursor.execute("SELECT g FROM generate_series(1, 10500) g")
            same(sum(row[0] for row in cursor), 10500 * 10501 // 2)
        with c.cursor(name="seeker", scrollable=True) as cursor:
            cursor.execute("SELECT g FROM generate_series(1, 100) g")
            cursor.scroll(49)
            same(cursor.fetchone(), (50,))
            cursor.scroll(-2)
            same(cursor.fetchone(), (49,))
        c.commit()
    if OWN_SESSION:
        with connect(autocommit=True) as c, c.cursor(name="holder", withhold=True) as cursor:
            cursor.execute("SELECT g FROM generate_series(1, 10) g")
            same(len(cursor.fetchall()), 10)


@use
def a_result_is_streamed_row_by_row():
    with connect(autocommit=True) as c:
        rows = c.cursor().stream("SELECT g, repeat('x', 500) FROM generate_series(1, 5000) g")
        same(sum(row[0] for row in rows), 5000 * 5001 // 2)
        for row in c.cursor().stream("SELECT generate_series(1, 200000)"):
            break
        same(one(c, "SELECT 1"), 1, "after a stream that was given up")


@use
def copy_goes_in_and_out_as_text_and_binary():
    with connect(autocommit=True) as c:
        c.execute("DROP TABLE IF EXISTS copied")
        c.execute("CREATE TABLE copied (id int, note text)")
        rows = [(i, None if i % 5 == 0 else f"tab\t{i} \\ line\n") for i in range(20000)]
        with c.cursor() as cursor:
            with cursor.copy("COPY copied FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            same(cursor.rowcount, 20000)
            with cursor.copy("COPY (SELECT * FROM copied ORDER BY id) TO STDOUT") as copy:
                copy.set_types(["int4", "text"])
                same(list(copy.rows()), rows)
            with cursor.copy("COPY copied FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(["int4", "text"])
                for row in rows:
                    copy.write_row(row)
            with cursor.copy("COPY (SELECT * FROM copied ORDER BY id) TO STDOUT (FORMAT binary)") as copy:
                copy.set_types(["int4", "text"])
                same(sum(1 for _ in copy.rows()), 40000)
        same(one(c, "SELECT count(*) FROM copied"), 40000)


@use
def copy_that_fails_on_either_side_leaves_the_session_usable():
    with connect(autocommit=True) as c:
        with fails("22P02"):
            with c.cursor().copy("COPY copied (id) FROM STDIN") as copy:
                for _ in range(3000):
                    copy.write("1\n")
                copy.write("no number\n")
                for _ in range(3000):
                    copy.write("2\n")
        same(one(c, "SELECT 1"), 1)
        try:
            with c.cursor().copy("COPY copied (id) FROM STDIN") as copy:
                copy.write("1\n" * 100)
                raise RuntimeError("the client thinks better of it")
        except RuntimeError:
            pass
        same(one(c, "SELECT count(*) FROM copied"), 40000)
        try:
            with c.cursor().copy("COPY (SELECT a.* FROM copied a, generate_series(1, 50)) TO STDOUT") as copy:
                copy.read()
                raise RuntimeError("the client has seen enough")
        except RuntimeError:
            pass
        same(one(c, "SELECT 2"), 2, "after a COPY that was given up")


@use
def a_megabyte_of_query_text_and_thousands_of_columns_pass():
    with connect() as c:
        text = "y" * (1 << 20)
        same(one(c, f"SELECT '{text}'"), text)
        columns = ", ".join(f"{i} AS c{i}" for i in range(1600))
        same(len(c.execute(f"SELECT {columns}").fetchone()), 1600)


@use
def sixty_four_megabytes_pass_both_ways():
    value = os.urandom(1 << 20) * 64
    wanted = hashlib.sha256(value).hexdigest()
    with connect() as c:
        seen = c.execute(
            "SELECT encode(sha256(%(v)b), 'hex'), %(v)b::bytea", {"v": value}, binary=True
        ).fetchone()
        same(seen[0], wanted, "what the server got")
        same(hashlib.sha256(seen[1]).hexdigest(), wanted, "what came back")


@use
def the_last_thing_is_a_pipeline_behind_which_others_come():
    # Its Flush behind the last Sync begins nothing: each of these would hold a session of a pool until it leaves.
    kept = [connect(autocommit=True) for _ in range(30 if not OWN_SESSION else 3)]
    for turn in range(2):
        for c in kept:
            with c.pipeline():
                cursors = [c.execute("SELECT %s::int", (i,)) for i in range(20)]
            same([cursor.fetchone()[0] for cursor in cursors], list(range(20)), f"turn {turn}")
            c.cursor().executemany("SELECT %s::int", [(i,) for i in range(20)])
        if turn == 0:
            time.sleep(PAUSE)
    for c in kept:
        c.close()


if __name__ == "__main__":
    run()
