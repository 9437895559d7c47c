"""Functions that tests let a guarded worker run: good, broken, hanging, greedy."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def echo(payload, session) -> Any:
    return payload


def count(payload, session) -> int:
    session.kept["calls"] = session.kept.get("calls", 0) + 1
    for done in range(payload):
        session.progress(done + 1, payload)
    return session.kept["calls"]


def surroundings(payload, session) -> dict[str, Any]:
    return {"environment": dict(os.environ), "directory": str(Path.cwd())}


def fail(payload, session) -> None:
    print("the tool says hello on stdout")
    os.write(2, b"the tool says why on stderr\n")
    raise RuntimeError("unsupported\n  layer 7")


def refuse(payload, session) -> None:
    from edgecompile.diagnostics import Where
    from edgecompile.diagnostics.catalogue.emit import FORMAT_UNKNOWN

    raise FORMAT_UNKNOWN.error(Where(node="n"), format="x")


def crash(payload, session) -> None:
    os.write(2, b"last words\n")
    os.abort()


def leave(payload, session) -> None:
    os._exit(3)


def babble(payload, session) -> None:
    session._channel.write("{ not json\n")
    session._channel.flush()


def silent(payload, session) -> object:
    return object()


def hang_with_child(payload, session) -> None:
    """Start a sleeping grandchild, write down its pid, and sleep."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(payload).write_text(str(child.pid))
    session.progress(1, 1)
    time.sleep(600)


def crash_with_child(payload, session) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(payload).write_text(str(child.pid))
    os._exit(1)


def eat(payload, session) -> None:
    held = []
    while True:
        held.append(b"x" * (8 << 20))
        time.sleep(0.002)
