"""An agent whose memory is an AsyncPostgresSaver, on one connection and on psycopg's own pool of connections. Each of
the saver's calls is a pipeline."""

import asyncio

import psycopg
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from pauses import PAUSES, URL, done, pause_async
from talks import by_hand, graph, new_thread

OPTIONS = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}


async def step(saver, thread, turn):
    said = (await graph(saver).ainvoke({"said": [f"question {turn}"]}, thread))["said"]
    assert len(said) == 3 * (turn + 1), said
    await by_hand(saver)


async def main():
    async with (
        await psycopg.AsyncConnection.connect(URL, **OPTIONS) as connection,
        AsyncConnectionPool(URL, min_size=2, max_size=2, kwargs=OPTIONS, check=None) as pool,
    ):
        savers = [AsyncPostgresSaver(connection), AsyncPostgresSaver(pool)]
        await savers[0].setup()
        threads = [new_thread() for _ in savers]
        for turn in range(PAUSES + 1):
            if turn:
                await pause_async()
            for saver, thread in zip(savers, threads):
                await step(saver, thread, turn)
    done()


if __name__ == "__main__":
    asyncio.run(main())
