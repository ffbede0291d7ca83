"""What the agents share: a graph whose memory is a saver, and what a framework of one's own does with one."""

import uuid
from operator import add
from typing import Annotated, TypedDict

from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import END, START, StateGraph


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


def new_thread():
    return {"configurable": {"thread_id": str(uuid.uuid4())}}


async def by_hand(saver):
    """Put, get, list; the last call is a pipeline."""
    thread = new_thread()
    config = {"configurable": {**thread["configurable"], "checkpoint_ns": ""}}
    ids = []
    for step in range(3):
        checkpoint = empty_checkpoint()
        checkpoint["channel_values"] = {"step": step, "note": "x" * 5000}
        checkpoint["channel_versions"] = {"step": step + 1, "note": 1}
        ids.append(checkpoint["id"])
        config = await saver.aput(config, checkpoint, {"source": "loop", "step": step}, checkpoint["channel_versions"])
    newest = await saver.aget_tuple(thread)
    assert newest.checkpoint["id"] == ids[-1], newest
    assert newest.checkpoint["channel_values"]["step"] == 2, newest
    listed = [found.checkpoint["id"] async for found in saver.alist(thread)]
    assert listed == ids[::-1], (listed, ids)
    await saver.aput_writes(config, [("step", step)], task_id=str(uuid.uuid4()))
