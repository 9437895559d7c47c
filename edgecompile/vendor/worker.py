"""The child's side of a guarded process: one JSON request per line in, JSON replies out.

Request `{"id": 1, "function": "module:name", "payload": ...}`; replies with the same id:
`{"progress": [done, total]}` any number of times, then `{"result": ...}` or `{"error": {...}}`.
The function is called as `function(payload, session)`. Its module may be the path of a `.py` file,
for environments that do not have this package. Standard library only, and no syntax newer
than Python 3.8, so that it also runs in a vendor's own old environment.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import queue
import signal
import sys
import threading
import traceback
from types import ModuleType
from typing import Any, TextIO


class Session:
    """What a function may use besides its payload."""

    def __init__(self, channel: TextIO) -> None:
        """`channel` is the pipe to the parent."""
        self.kept: dict[str, Any] = {}
        """Objects that a function keeps for later calls, such as a compiled model."""
        self._channel = channel
        self._request = 0

    def progress(self, done: int, total: int) -> None:
        """Tell the parent that `done` of `total` units are finished."""
        self.send({"progress": [done, total]})

    def send(self, reply: dict[str, Any]) -> None:
        """Write one reply line. Raises `TypeError` for what JSON cannot carry."""
        line = json.dumps({"id": self._request, **reply}, allow_nan=True)
        self._channel.write(line + "\n")
        self._channel.flush()

    def answer(self, request: dict[str, Any]) -> None:
        """Call the function that `request` names and send its result or its failure."""
        self._request = int(request["id"])
        try:
            module, _, name = str(request["function"]).rpartition(":")
            function = getattr(_module(module), name)
            self.send({"result": function(request["payload"], self)})
        except Exception as error:  # noqa: BLE001  (the parent decides what a failure means)
            self.send({"error": _describe(error)})


def _module(name: str) -> ModuleType:
    """The module of this name or, when it ends in `.py`, that file."""
    if not name.endswith(".py"):
        return importlib.import_module(name)
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location("edgecompile_task", name)
        if spec is None or spec.loader is None:
            raise ImportError(f"cannot load '{name}'")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


def _describe(error: Exception) -> dict[str, Any]:
    described: dict[str, Any] = {
        "type": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(type(error), error, error.__traceback__)),
    }
    diagnostics = getattr(error, "diagnostics", None)
    if diagnostics is not None:
        described["diagnostics"] = [d.to_json() for d in diagnostics]
        described["exit_code"] = int(getattr(error, "exit_code", 3))
    return described


def _read_requests(requests: queue.Queue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        requests.put(json.loads(line))
    # The parent has closed the pipe or is dead: end at once, with whatever the vendor started.
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(0)


def _private_channel() -> TextIO:
    """The pipe to the parent; what vendors print to stdout goes to the log instead."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    return channel


def main() -> None:
    """Answer requests until stdin closes."""
    # Vendors report their use over the network unless this package cannot be imported.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    session = Session(_private_channel())
    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read_requests, args=(requests,), daemon=True).start()
    while True:
        session.answer(requests.get())


if __name__ == "__main__":
    main()
