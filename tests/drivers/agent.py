"""An agent that keeps its memory in PostgreSQL, on one connection for the life of its process.

    DATABASE_URL=… python3 agent.py PAUSES [plain]

Its last call before a pause is a pipeline, or a plain query: a server's idle_session_timeout does not come behind the
Flush that ends psycopg's pipelines.
"""

import sys
import uuid

import psycopg
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres import PostgresSaver
from psycopg.rows import dict_row

from pauses import PAUSES, URL, done, pause
from talks import graph, new_thread


def by_hand(saver):
    """What a framework of one's own does with the saver: put, get, list."""
    thread = new_thread()
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
    saver.put_writes(config, [("step", step)], task_id=str(uuid.uuid4()))


def main():
    with psycopg.connect(URL, autocommit=True, prepare_threshold=0, row_factory=dict_row) as connection:
        saver = PostgresSaver(connection)
        saver.setup()
        agent = graph(saver)
        thread = new_thread()
        for _ in range(3):
            said = agent.invoke({"said": ["question"]}, thread)["said"]
        assert len(said) == 9, said
        for turn in range(PAUSES):
            by_hand(saver)
            if sys.argv[2:] == ["plain"]:
                saver.get_tuple(thread)
                connection.execute("SELECT 1")
            pause()
            before = len(said)
            said = agent.invoke({"said": ["still there?"]}, thread)["said"]
            new = ["still there?", f"thought {before + 1}", f"answer {before + 2}"]
            assert len(said) == before + 3 and said[before:] == new, said
            states = list(agent.get_state_history(thread))
            assert states[0].values["said"] == said, states[0]
            # A new saver and graph on the same connection: what was written is what is read.
            remembered = graph(PostgresSaver(connection)).get_state(thread).values["said"]
            assert remembered == said, remembered
        by_hand(saver)
    done()


if __name__ == "__main__":
    main()
