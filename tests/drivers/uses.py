"""What the driver scripts share: where the database is, what is told about the way to it, and how a use is judged.

    DATABASE_URL=postgresql://… python3 SCRIPT.py direct|session|transaction [USE…]

Every script must pass on a plain PostgreSQL (`direct`): that is what makes it a judge of what stands between. The word
tells the few uses that a transaction pool does not offer by its nature. A script ends at the first thing that differs,
and says in which use.
"""

import os
import sys
import time
import traceback
from contextlib import contextmanager

URL = os.environ["DATABASE_URL"]
MODE, *ONLY = sys.argv[1:]
assert MODE in ("direct", "session", "transaction"), MODE
# So many seconds clients are idle, in the last use: longer than their sessions of a pool may be.
PAUSE = float(os.environ.get("PAUSE", 0))
# Whether a session is the client's own from connect to close.
OWN_SESSION = MODE != "transaction"

_uses = []


def use(function):
    """Marks an everyday use; they run in their order."""
    _uses.append(function)
    return function


def uses():
    """Those that were asked for, or all."""
    known = {function.__name__: function for function in _uses}
    return [(name, known[name]) for name in ONLY or known]


def said(name, began):
    print(f"{name}: {1000 * (time.monotonic() - began):.0f} ms", flush=True)


def failed(name):
    print(f"{name} FAILED ({MODE})", flush=True)
    traceback.print_exc()
    sys.exit(1)


def run():
    """All uses, one after the other."""
    for name, function in uses():
        began = time.monotonic()
        try:
            function()
        except BaseException:
            failed(name)
        said(name, began)


async def run_async():
    """The same for uses that are coroutines."""
    for name, function in uses():
        began = time.monotonic()
        try:
            await function()
        except BaseException:
            failed(name)
        said(name, began)


def same(seen, wanted, what=""):
    if seen != wanted:
        raise AssertionError(f"{what or 'value'}: saw {short(seen)}, wanted {short(wanted)}")


def short(value):
    text = repr(value)
    return text if len(text) < 500 else f"{text[:500]}… ({len(text)} characters)"


@contextmanager
def fails(sqlstate, error=Exception):
    """The block must end with this error of the server."""
    try:
        yield
    except error as e:
        seen = getattr(e, "sqlstate", None) or getattr(e, "pgcode", None)
        if seen != sqlstate:
            raise AssertionError(f"wanted {sqlstate}, saw {seen}: {type(e).__name__}: {e}") from e
    else:
        raise AssertionError(f"wanted {sqlstate}, but nothing failed")
