"""An agent that keeps its memory in PostgreSQL, on one connection for the life of its process.

    DATABASE_URL=… python3 agent.py SECONDS

It takes a few steps, waits that long as an agent does for its person, and takes a few more. Where the database or
anything before it closes idle sessions, the step after the wait finds a dead connection: then it ends with the error.
"""

import os
import sys
import time
import uuid
from operator import add
from typing import Annotated, TypedDict

import psycopg
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.graph import END, START, StateGraph
from psycopg.rows import dict_row

WAIT = float(sys.argv[1])


class Talk(TypedDict):
    said: Annotated[list[str], add]


def graph(saver):
    builder = StateGraph(Talk)
    builder.add_node("think", lambda state: {"said": [f"thought {len(state['said'])}"]})
    builder.add_node("answer", lambda state: {"said": [f"answer {len(state['said'])}"]})
    builder.add_edge(START, "think")
    builder.add_edge("think", "answer")
    builder.add_edge("answer", END)
    return builder.compile(checkpointer=saver)


def by_hand(saver):
    """What a framework of one's own does with the saver: put, get, list."""
    thread = {"configurable": {"thread_id": str(uuid.uuid4())}}
    config = {"configurable": {**thread["configurable"], "checkpoint_ns": ""}}
    ids = []
    for step in range(3):
        checkpoint = empty_checkpoint()
        checkpoint["channel_values"] = {"step": step, "note": "x" * 5000}
        checkpoint["channel_versions"] = {"step": step + 1, "note": 1}
        config = saver.put(config, checkpoint, {"source": "loop", "step": step}, checkpoint["channel_versions"])
        saver.put_writes(config, [("step", step)], task_id=str(uuid.uuid4()))
        ids.append(checkpoint["id"])
    newest = saver.get_tuple(thread)
    assert newest.checkpoint["id"] == ids[-1], newest
    assert newest.checkpoint["channel_values"]["step"] == 2, newest
    listed = [found.checkpoint["id"] for found in saver.list(thread)]
    assert listed == ids[::-1], (listed, ids)


def main():
    with psycopg.connect(
        os.environ["DATABASE_URL"], autocommit=True, prepare_threshold=0, row_factory=dict_row
    ) as connection:
        saver = PostgresSaver(connection)
        saver.setup()
        agent = graph(saver)
        thread = {"configurable": {"thread_id": str(uuid.uuid4())}}
        for _ in range(3):
            said = agent.invoke({"said": ["question"]}, thread)["said"]
        assert len(said) == 9, said
        by_hand(saver)
        print("first steps taken", flush=True)
        time.sleep(WAIT)
        said = agent.invoke({"said": ["still there?"]}, thread)["said"]
        assert len(said) == 12 and said[-3:] == ["still there?", "thought 10", "answer 11"], said
        states = list(agent.get_state_history(thread))
        assert states[0].values["said"] == said, states[0]
        by_hand(saver)
        # A new saver and graph on the same connection: what was written is what is read.
        remembered = graph(PostgresSaver(connection)).get_state(thread).values["said"]
        assert remembered == said, remembered
    print("went on", flush=True)


if __name__ == "__main__":
    main()
