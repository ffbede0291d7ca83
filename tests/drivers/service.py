"""The application: a web service with an agent that keeps its memory on one cached connection, made at its start. It
must answer 200 after each pause."""

import asyncio
import socket
import uuid
from contextlib import asynccontextmanager

import httpx
import psycopg
import uvicorn
from fastapi import FastAPI
from langgraph.checkpoint.postgres import PostgresSaver
from psycopg.rows import dict_row

from pauses import PAUSES, URL, done, pause_async
from talks import graph


@asynccontextmanager
async def lifespan(app):
    with psycopg.connect(URL, autocommit=True, prepare_threshold=0, row_factory=dict_row) as connection:
        saver = PostgresSaver(connection)
        saver.setup()
        app.state.agent = graph(saver)
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/talks/{thread}")
def talk(thread: str, question: str):
    config = {"configurable": {"thread_id": thread}}
    return app.state.agent.invoke({"said": [question]}, config)["said"]


async def ask(base):
    thread = uuid.uuid4()
    async with httpx.AsyncClient(base_url=base, timeout=30) as browser:
        for turn in range(PAUSES + 1):
            if turn:
                await pause_async()
            answer = await browser.post(f"/talks/{thread}", params={"question": f"question {turn}"})
            assert answer.status_code == 200, f"after pause {turn}: {answer.status_code} {answer.text}"
            assert len(answer.json()) == 3 * (turn + 1), answer.json()


async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await ask(f"http://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        server.should_exit = True
        await serving
    done()


if __name__ == "__main__":
    asyncio.run(main())
