"""What psycopg 3 expects of a session: its settings, cancelling, listening, and that it is clean after whoever had it."""

import asyncio
import multiprocessing
import os
import threading
import time

import psycopg

from by_psycopg import connect, one
from uses import OWN_SESSION, URL, fails, run, same, use


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
def notices_arrive_at_their_client():
    heard = []
    with connect(autocommit=True) as c, connect(autocommit=True) as other:
        c.add_notice_handler(lambda d: heard.append(d.message_primary))
        other.add_notice_handler(lambda d: heard.append(f"other {d.message_primary}"))
        c.execute("DO $$ BEGIN RAISE NOTICE 'mind the gap'; END $$")
        same(heard, ["mind the gap"])


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
            # The session before is cleaned up in its own time.
            c.execute("SET lock_timeout = '10s'")
            c.execute("SELECT pg_advisory_lock(4711)")


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


@use
def asynchronous_pipelines_come_last_and_hold_nothing():
    async def client(i):
        async with await psycopg.AsyncConnection.connect(URL, autocommit=True) as c:
            for turn in range(3):
                async with c.pipeline():
                    cursors = [await c.execute("SELECT %s::int", (i * 100 + row,)) for row in range(10)]
                same([(await cursor.fetchone())[0] for cursor in cursors], [i * 100 + row for row in range(10)])
                await c.cursor().executemany("SELECT %s::int", [(i,), (turn,)])

    async def all_of_them():
        await asyncio.gather(*(client(i) for i in range(20)))

    asyncio.run(all_of_them())


if __name__ == "__main__":
    run()
