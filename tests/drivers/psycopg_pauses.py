"""psycopg's own pipelines before each pause: executemany, pipeline() on a connection and on an asynchronous one, and a
psycopg_pool whose connections are not checked. Each ends with a Flush behind its Sync."""

import asyncio
import os

import psycopg
from psycopg_pool import ConnectionPool

from pauses import PAUSES, URL, done, pause_async

TABLE = f"paused_{os.getpid()}"
ROWS = 20


def executemany(connection, turn):
    rows = [(turn, row) for row in range(ROWS)]
    connection.cursor().executemany(f"INSERT INTO {TABLE} VALUES (%s, %s)", rows)


def pipeline(connection, turn):
    with connection.pipeline():
        cursors = [connection.execute("SELECT %s::int", (turn + row,)) for row in range(ROWS)]
    seen = [cursor.fetchone()[0] for cursor in cursors]
    assert seen == [turn + row for row in range(ROWS)], seen


async def pipeline_async(connection, turn):
    async with connection.pipeline():
        cursors = [await connection.execute("SELECT %s::int", (turn + row,)) for row in range(ROWS)]
    seen = [(await cursor.fetchone())[0] for cursor in cursors]
    assert seen == [turn + row for row in range(ROWS)], seen


async def main():
    options = {"autocommit": True}
    with (
        psycopg.connect(URL, **options) as many,
        psycopg.connect(URL, **options) as piped,
        ConnectionPool(URL, min_size=2, max_size=2, kwargs=options, check=None) as pool,
    ):
        many.execute(f"CREATE TABLE {TABLE} (turn int, v int)")
        async with await psycopg.AsyncConnection.connect(URL, **options) as piped_async:
            for turn in range(PAUSES + 1):
                if turn:
                    await pause_async()
                executemany(many, turn)
                pipeline(piped, turn)
                await pipeline_async(piped_async, turn)
                for _ in range(2):
                    with pool.connection() as connection:
                        pipeline(connection, turn)
        # Nothing was written twice, and nothing lost.
        written = many.execute(f"SELECT turn, count(*) FROM {TABLE} GROUP BY turn ORDER BY turn").fetchall()
        assert written == [(turn, ROWS) for turn in range(PAUSES + 1)], written
    done()


if __name__ == "__main__":
    asyncio.run(main())
