"""asyncpg as applications use it: its cache of prepared statements on, its pool, COPY, cursors, timeouts, own types."""

import asyncio

import asyncpg

from uses import OWN_SESSION, PAUSE, URL, fails, run_async, same, use


async def connect(**more):
    return await asyncpg.connect(URL, timeout=10, **more)


class connected:
    """A connection for a block."""

    def __init__(self, **more):
        self.more = more

    async def __aenter__(self):
        self.connection = await connect(**self.more)
        return self.connection

    async def __aexit__(self, *_):
        await self.connection.close(timeout=10)


@use
async def values_come_back_from_cached_statements():
    async with connected() as c:
        for i in range(50):
            same(await c.fetchval("SELECT $1::int + 1", i), i + 1)
            same(await c.fetchval("SELECT $1::text", f"{i}"), f"{i}")
        row = await c.fetchrow("SELECT 1 AS a, 'x' AS b, ARRAY[1,2] AS c, NULL AS d")
        same(dict(row), {"a": 1, "b": "x", "c": [1, 2], "d": None})
        same(await c.execute("SELECT 1; SELECT 2"), "SELECT 1")
        same(await c.fetch("SELECT 1 WHERE false"), [])


@use
async def a_small_cache_closes_what_it_evicts():
    async with connected(statement_cache_size=3) as c:
        for _ in range(3):
            for i in range(12):
                same(await c.fetchval(f"SELECT $1::int * {i}", 3), 3 * i)


@use
async def statements_prepared_by_hand_are_used_again_and_described():
    async with connected() as a, connected() as b:
        first = await a.prepare("SELECT $1::int AS n, $2::text AS t")
        second = await b.prepare("SELECT $1::text || '!' AS t")
        same([p.name for p in first.get_parameters()], ["int4", "text"])
        same([t.name for t in second.get_attributes()], ["t"])
        for i in range(10):
            same(tuple(await first.fetchrow(i, "x")), (i, "x"))
            same(await second.fetchval("y"), "y!")
        same(await first.executemany([(1, "a"), (2, "b")]), None)


@use
async def transactions_nest_commit_and_roll_back():
    async with connected() as c:
        await c.execute("DROP TABLE IF EXISTS apg_kept; CREATE TABLE apg_kept (v int PRIMARY KEY)")
        async with c.transaction(isolation="serializable"):
            await c.execute("INSERT INTO apg_kept VALUES (1)")
            try:
                async with c.transaction():
                    await c.execute("INSERT INTO apg_kept VALUES (2)")
                    raise LookupError
            except LookupError:
                pass
            with fails("23505"):
                async with c.transaction():
                    await c.execute("INSERT INTO apg_kept VALUES (1)")
            await c.execute("INSERT INTO apg_kept VALUES (3)")
        same([r["v"] for r in await c.fetch("SELECT v FROM apg_kept ORDER BY v")], [1, 3])
        same(c.is_in_transaction(), False)
        with fails("25006"):
            async with c.transaction(readonly=True):
                await c.execute("INSERT INTO apg_kept VALUES (4)")
        same(await c.fetchval("SELECT count(*) FROM apg_kept"), 2)


@use
async def executemany_is_one_transaction():
    async with connected() as c:
        await c.execute("DROP TABLE IF EXISTS apg_many; CREATE TABLE apg_many (id int PRIMARY KEY, t text)")
        await c.executemany("INSERT INTO apg_many VALUES ($1, $2)", [(i, f"row {i}") for i in range(5000)])
        same(await c.fetchval("SELECT count(*) FROM apg_many"), 5000)
        with fails("23505"):
            await c.executemany("INSERT INTO apg_many VALUES ($1, $2)", [(i, "") for i in (9000, 9001, 17, 9002)])
        same(await c.fetchval("SELECT count(*) FROM apg_many"), 5000)
        rows = await c.fetchmany("UPDATE apg_many SET t = $2 WHERE id = $1 RETURNING t", [(1, "a"), (2, "b")])
        same([r["t"] for r in rows], ["a", "b"])


@use
async def records_are_copied_in_and_out():
    async with connected() as c:
        await c.execute("DROP TABLE IF EXISTS apg_copied; CREATE TABLE apg_copied (id int, t text)")
        records = [(i, None if i % 3 == 0 else "ż" * (i % 50)) for i in range(20000)]
        same(await c.copy_records_to_table("apg_copied", records=records), "COPY 20000")
        got = bytearray()

        async def keep(data):
            got.extend(data)

        same(await c.copy_from_query("SELECT * FROM apg_copied ORDER BY id", output=keep), "COPY 20000")
        same(got.count(b"\n"), 20000)
        with fails("22P02"):
            await c.copy_to_table("apg_copied", source=_bytes(b"no number\tx\n"))
        same(await c.fetchval("SELECT count(*) FROM apg_copied"), 20000)


async def _bytes(data):
    yield data


@use
async def cursors_walk_in_a_transaction():
    async with connected() as c:
        async with c.transaction():
            seen = [r[0] async for r in c.cursor("SELECT generate_series(1, $1::int)", 1234, prefetch=100)]
            same(seen, list(range(1, 1235)))
            cursor = await c.cursor("SELECT generate_series(1, 100)")
            await cursor.forward(10)
            same([r[0] for r in await cursor.fetch(3)], [11, 12, 13])


@use
async def types_of_its_own_are_looked_up():
    async with connected() as c:
        await c.execute(
            "DROP TYPE IF EXISTS apg_pair, apg_mood; "
            "CREATE TYPE apg_mood AS ENUM ('sad', 'ok'); CREATE TYPE apg_pair AS (a int, m apg_mood)"
        )
    async with connected() as c, connected() as other:
        same(await c.fetchval("SELECT $1::apg_pair", (1, "ok")), (1, "ok"))
        same(await other.fetchval("SELECT ARRAY[$1::apg_mood]", "sad"), ["sad"])
        await c.set_type_codec("json", encoder=str, decoder=len, schema="pg_catalog")
        same(await c.fetchval("""SELECT '{"a":1}'::json"""), 7)
        await c.reload_schema_state()
        same(await c.fetchval("SELECT ($1::apg_pair).m", (2, "sad")), "sad")


@use
async def a_schema_change_is_survived():
    async with connected() as c:
        await c.execute("DROP TABLE IF EXISTS apg_shape; CREATE TABLE apg_shape AS SELECT 1 AS a")
        same(tuple(await c.fetchrow("SELECT * FROM apg_shape")), (1,))
        await c.execute("ALTER TABLE apg_shape ADD b int DEFAULT 2")
        # asyncpg drops its cache and tries again.
        same(tuple(await c.fetchrow("SELECT * FROM apg_shape")), (1, 2))


@use
async def a_timeout_cancels_the_query():
    async with connected() as c:
        for _ in range(3):
            try:
                await c.fetchval("SELECT pg_sleep(30)", timeout=0.2)
                raise AssertionError("the timeout did nothing")
            except asyncio.TimeoutError:
                pass
            same(await c.fetchval("SELECT $1::int", 5), 5)
        task = asyncio.ensure_future(c.fetchval("SELECT pg_sleep(30)"))
        await asyncio.sleep(0.1)
        task.cancel()
        try:
            await task
            raise AssertionError("the task was not cancelled")
        except asyncio.CancelledError:
            pass
        same(await c.fetchval("SELECT $1::int", 6), 6)


@use
async def an_error_names_itself_and_leaves_the_connection_usable():
    async with connected() as c:
        with fails("42601"):
            await c.fetch("SELEC 1")
        with fails("42P01"):
            await c.fetch("SELECT * FROM never_there WHERE a = $1", 1)
        with fails("22012"):
            await c.fetch("SELECT 1 / $1::int", 0)
        same(await c.fetchval("SELECT 1 / $1::int", 1), 1)


@use
async def settings_of_the_startup_hold():
    async with connected(server_settings={"application_name": "apg", "timezone": "Asia/Tokyo"}) as c:
        async with connected() as other:
            for _ in range(3):
                same(await c.fetchval("SHOW application_name"), "apg")
                same(await c.fetchval("SHOW timezone"), "Asia/Tokyo")
                if await other.fetchval("SHOW timezone") == "Asia/Tokyo":
                    raise AssertionError("a setting of another client")
        same(c.get_settings().application_name, "apg")
        if c.get_server_version().major < 15:
            raise AssertionError(c.get_server_version())


@use
async def settings_of_the_startup_outlive_the_reset_of_its_pool():
    settings = {"application_name": "apg", "timezone": "Asia/Tokyo", "work_mem": "7MB", "search_path": "apg, public"}
    async with connected() as other:
        await other.execute("CREATE SCHEMA IF NOT EXISTS apg")
        unset = [await other.fetchval(f"SHOW {name}") for name in settings]
        async with asyncpg.create_pool(URL, min_size=1, max_size=2, server_settings=settings) as pool:
            for _ in range(6):
                # What it sets is undone when the connection comes back, by RESET ALL.
                async with pool.acquire() as c:
                    seen = [await c.fetchval(f"SHOW {name}") for name in settings]
                    same(seen, list(settings.values()), "its own")
                    await c.execute("SET application_name = 'changed'")
                    same(await c.fetchval("SHOW application_name"), "changed")
                seen = [await other.fetchval(f"SHOW {name}") for name in settings]
                same(seen, unset, "another client's")


@use
async def listeners_hear_what_is_notified():
    if not OWN_SESSION:
        return
    async with connected() as listener, connected() as speaker:
        heard = asyncio.Queue()
        await listener.add_listener("apg_news", lambda *said: heard.put_nowait(said[-1]))
        await speaker.execute("SELECT pg_notify('apg_news', 'hello')")
        same(await asyncio.wait_for(heard.get(), 10), "hello")


@use
async def a_value_of_sixteen_megabytes_passes_both_ways():
    async with connected() as c:
        value = b"0123456789abcdef" * (1 << 20)
        same(await c.fetchval("SELECT $1::bytea", value) == value, True)


@use
async def its_own_pool_of_connections_works_on_ours():
    # The reset that asyncpg's pool runs when a connection comes back is part of the use.
    async with asyncpg.create_pool(URL, min_size=2, max_size=10) as pool:

        async def work(i):
            async with pool.acquire() as c, c.transaction():
                same(await c.fetchval("SELECT $1::int + pg_backend_pid() * 0", i), i)

        await asyncio.gather(*(work(i) for i in range(100)))


@use
async def fifty_connections_share_few_sessions():
    await asyncio.gather(*(_client(i) for i in range(50)))


@use
async def clients_without_a_cache_of_statements_do_not_meet():
    # What is set for poolers: then asyncpg prepares without a name, and executes with another round trip.
    async def client(i):
        async with connected(statement_cache_size=0) as c:
            for turn in range(20):
                if (i + turn) % 2:
                    same(await c.fetchval("SELECT $1::int * 100 + $2::int", i, turn), i * 100 + turn)
                else:
                    same(await c.fetchval("SELECT $2::text || $1::text", f"{turn}", f"{i} "), f"{i} {turn}")

    await asyncio.gather(*(client(i) for i in range(20)))


async def _client(i):
    async with connected() as c:
        for turn in range(10):
            same(await c.fetchval("SELECT $1::int * 1000 + $2::int", i, turn), i * 1000 + turn)
            async with c.transaction():
                await c.execute("SELECT set_config('my.own', $1, true)", f"{i}")
                same(await c.fetchval("SELECT current_setting('my.own')"), f"{i}")
            if turn % 5 == i % 5:
                with fails("22012"):
                    await c.fetchval("SELECT $1::int / 0", i)


@use
async def many_rows_at_once_come_last_and_hold_nothing():
    # asyncpg's executemany is its pipeline.
    kept = [await asyncpg.connect(URL) for _ in range(10)]
    for turn in range(2):
        for c in kept:
            same(await c.fetchmany("SELECT $1::int AS v", [(1,), (2,)]), [(1,), (2,)], f"turn {turn}")
            await c.executemany("SELECT $1::int", [(i,) for i in range(50)])
        if turn == 0:
            await asyncio.sleep(PAUSE)
    for c in kept:
        await c.close()


if __name__ == "__main__":
    asyncio.run(run_async())
