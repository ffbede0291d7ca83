"""What the scripts that outlive a lost session share: steps, with pauses in between.

    DATABASE_URL=… python3 SCRIPT.py PAUSES

In a pause the script says "paused" and waits for a line: meanwhile its idle sessions may be closed from outside. It
must go on as if nothing had happened; directly it ends with the error of a dead connection.
"""

import asyncio
import os
import sys

URL = os.environ["DATABASE_URL"]
PAUSES = int(sys.argv[1])


def pause():
    print("paused", flush=True)
    if not sys.stdin.readline():
        sys.exit("nobody says go on")


async def pause_async():
    await asyncio.to_thread(pause)


def done():
    print("went on", flush=True)
