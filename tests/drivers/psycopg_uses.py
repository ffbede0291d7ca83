"""psycopg 3 as applications use it: prepared statements, pipelines, COPY, cursors, cancelling, settings, large values."""

import asyncio
import hashlib
import multiprocessing
import os
import threading
import time

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from uses import OWN_SESSION, URL, fails, run, same, use


def connect(**more):
    return psycopg.connect(URL, connect_timeout=10, **more)


def one(connection, query, params=None, **more):
    return connection.execute(query, params, **more).fetchone()[0]


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
def the_server_is_told_as_it_is():
    with connect(application_name="teller") as c:
        info = c.info
        same(info.transaction_status.name, "IDLE")
        if info.server_version < 150000:
            raise AssertionError(f"server version {info.server_version}")
        same(info.parameter_status("server_encoding"), "UTF8")
        same(info.parameter_status("client_encoding"), "UTF8")
        same(info.parameter_status("standard_conforming_strings"), "on")
        same(info.parameter_status("integer_datetimes"), "on")
        same(info.parameter_status("application_name"), "teller")
        if info.backend_pid == 0:
            raise AssertionError("no process id to cancel by")
        same(one(c, "SELECT 1"), 1)


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
def notices_arrive_at_their_client():
    heard = []
    with connect(autocommit=True) as c, connect(autocommit=True) as other:
        c.add_notice_handler(lambda d: heard.append(d.message_primary))
        other.add_notice_handler(lambda d: heard.append(f"other {d.message_primary}"))
        c.execute("DO $$ BEGIN RAISE NOTICE 'mind the gap'; END $$")
        same(heard, ["mind the gap"])


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
def a_running_query_is_cancelled_and_the_next_one_runs():
    with connect(autocommit=True) as c:
        for cancel in (c.cancel_safe, c.cancel):
            began = time.monotonic()
            timer = threading.Timer(0.3, cancel)
            timer.start()
            with fails("57014"):
                c.execute("SELECT pg_sleep(30)")
            timer.join()
            if time.monotonic() - began > 5:
                raise AssertionError(f"the cancel took {time.monotonic() - began:.1f} s")
            same(one(c, "SELECT 1"), 1)
    with connect() as c:
        c.execute("SELECT 1")
        timer = threading.Timer(0.2, c.cancel_safe)
        timer.start()
        with fails("57014"):
            c.execute("SELECT pg_sleep(30)")
        timer.join()
        with fails("25P02"):
            c.execute("SELECT 1")
        c.rollback()
        same(one(c, "SELECT 1"), 1)


@use
def statement_timeout_in_a_transaction_ends_with_it():
    with connect() as c:
        c.execute("SET LOCAL statement_timeout = '50ms'")
        with fails("57014"):
            c.execute("SELECT pg_sleep(10)")
        c.rollback()
        same(one(c, "SELECT pg_sleep(0.1) IS NOT NULL"), True)


@use
def settings_of_two_clients_do_not_mix():
    ways = (
        ("application_name", "alpha", "beta"),
        ("TimeZone", "Europe/Warsaw", "America/New_York"),
        ("DateStyle", "German, DMY", "SQL, MDY"),
        ("client_encoding", "UTF8", "LATIN1"),
    )
    with connect(autocommit=True) as c:
        unset = [one(c, f"SHOW {name}") for name, _, _ in ways]
    with connect(autocommit=True) as a, connect(autocommit=True) as b:
        for name, of_a, of_b in ways:
            a.execute(f"SET {name} = '{of_a}'")
            b.execute(f"SET {name} = '{of_b}'")
        for _ in range(5):
            for c, at in ((a, 1), (b, 2)):
                for way in ways:
                    same(one(c, f"SHOW {way[0]}"), way[at], way[0])
                    same(c.info.parameter_status(way[0]), way[at], f"the driver's view of {way[0]}")
        same(one(a, "SELECT 'ż'"), "ż")
        same(one(b, "SELECT %s::text", ("é",)), "é")
        # A client that comes now has none of it.
        with connect(autocommit=True) as fresh:
            same([one(fresh, f"SHOW {name}") for name, _, _ in ways], unset)
        b.execute("RESET ALL")
        same([one(b, f"SHOW {name}") for name, _, _ in ways], unset)
        same(one(a, "SHOW TimeZone"), "Europe/Warsaw")


@use
def settings_of_the_startup_hold():
    options = "-c TimeZone=Asia/Tokyo -c DateStyle=German"
    with connect(options=options, application_name="started") as a, connect() as b:
        unset = one(b, "SHOW application_name")
        b.commit()
        for _ in range(3):
            same(one(a, "SHOW TimeZone"), "Asia/Tokyo")
            a.commit()
            same(one(a, "SHOW application_name"), "started")
            a.commit()
            same(one(b, "SHOW application_name"), unset)
            b.commit()
        same(a.info.timezone.key, "Asia/Tokyo")


@use
def a_setting_of_a_transaction_ends_with_it():
    with connect(autocommit=True) as a, connect(autocommit=True) as b:
        unset = one(a, "SHOW application_name")
        with a.transaction():
            a.execute("SET LOCAL application_name = 'inside'")
            same(one(a, "SHOW application_name"), "inside")
        same(one(a, "SHOW application_name"), unset)
        same(one(b, "SHOW application_name"), unset)
        a.execute("BEGIN")
        a.execute("SET application_name = 'rolled back'")
        a.execute("ROLLBACK")
        same(one(a, "SHOW application_name"), unset)
        same(a.info.parameter_status("application_name"), unset)


@use
def listeners_hear_what_is_notified():
    if not OWN_SESSION:
        return
    with connect(autocommit=True) as listener, connect(autocommit=True) as speaker:
        listener.execute("LISTEN news")
        speaker.execute("NOTIFY news, 'one'")
        speaker.execute("SELECT pg_notify('news', 'two')")
        heard = [n.payload for n in listener.notifies(timeout=10, stop_after=2)]
        same(heard, ["one", "two"])


@use
def notifying_works_in_every_mode():
    with connect(autocommit=True) as c:
        c.execute("NOTIFY news, 'nobody listens'")
        same(one(c, "SELECT 1"), 1)


@use
def what_a_session_keeps_goes_with_it():
    if not OWN_SESSION:
        return
    with connect(autocommit=True) as c:
        c.execute("CREATE TEMP TABLE mine (v int)")
        c.execute("SET work_mem = '7MB'")
        c.execute("SELECT pg_advisory_lock(4711)")
        c.execute("PREPARE left_behind AS SELECT 1")
    for _ in range(12):
        with connect(autocommit=True) as c:
            same(one(c, "SELECT to_regclass('pg_temp.mine') IS NULL"), True)
            if one(c, "SHOW work_mem") == "7MB":
                raise AssertionError("a setting of the client before is left")
            same(one(c, "SELECT count(*) FROM pg_prepared_statements WHERE name = 'left_behind'"), 0)
            same(one(c, "SELECT pg_try_advisory_lock(4711)"), True)


def _leave_in_a_transaction(how):
    c = connect()
    c.execute("SET LOCAL application_name = 'deserter'")
    c.execute("INSERT INTO deserted VALUES (1)")
    c.execute("SELECT pg_advisory_xact_lock(815)")
    if how == "in a query":
        c.pgconn.send_query(b"INSERT INTO deserted VALUES (2); SELECT pg_sleep(0.3)")
        c.pgconn.flush()
    if how == "in a copy":
        c.pgconn.exec_(b"COPY deserted FROM STDIN")
        c.pgconn.put_copy_data(b"3\n4\n")
        c.pgconn.flush()
    os._exit(0)


@use
def a_client_that_dies_in_a_transaction_leaves_nothing():
    with connect(autocommit=True) as c:
        unset = one(c, "SHOW application_name")
        c.execute("DROP TABLE IF EXISTS deserted")
        c.execute("CREATE TABLE deserted (v int)")
        forks = multiprocessing.get_context("fork")
        for how in ("between", "in a query", "in a copy"):
            child = forks.Process(target=_leave_in_a_transaction, args=(how,))
            child.start()
            child.join()
            same(child.exitcode, 0)
            # Waits until the other's transaction is gone.
            with c.transaction():
                c.execute("SET LOCAL lock_timeout = '10s'")
                c.execute("SELECT pg_advisory_xact_lock(815)")
            same(one(c, "SELECT count(*) FROM deserted"), 0, how)
            same(one(c, "SHOW application_name"), unset, how)


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
def many_async_connections_share_the_pool():
    async def client(i):
        async with await psycopg.AsyncConnection.connect(URL, prepare_threshold=2) as c:
            for turn in range(8):
                async with c.transaction():
                    cursor = await c.execute("SELECT %s::int, %s::int, pg_sleep(0.001)", (i, turn))
                    same((await cursor.fetchone())[:2], (i, turn))

    async def all_of_them():
        await asyncio.gather(*(client(i) for i in range(20)))

    asyncio.run(all_of_them())


@use
def every_way_to_connect_is_let_in():
    ways = [
        {"sslmode": "disable"},
        {"sslmode": "prefer", "gssencmode": "prefer"},
        {"sslmode": "require", "channel_binding": "require"},
        {"sslmode": "require", "channel_binding": "disable"},
        {"sslmode": "require", "sslnegotiation": "direct", "channel_binding": "require"},
        {"min_protocol_version": "3.2", "max_protocol_version": "latest"},
        {"min_protocol_version": "3.2", "max_protocol_version": "latest", "sslmode": "require"},
        {"keepalives_idle": "30", "tcp_user_timeout": "10000", "target_session_attrs": "read-write"},
    ]
    for way in ways:
        try:
            with connect(**way) as c:
                same(one(c, "SELECT 1"), 1)
                timer = threading.Timer(0.1, c.cancel_safe)
                timer.start()
                with fails("57014"):
                    c.execute("SELECT pg_sleep(30)")
                timer.join()
        except Exception as e:
            raise AssertionError(f"with {way}") from e


if __name__ == "__main__":
    run()
