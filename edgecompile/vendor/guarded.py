"""Runs vendor code in a process of its own, so that its crash, hang or greed is only an error.

The child has a private working directory, home and environment, and is killed with everything that
it started when it is too slow or too large, when the caller is interrupted, and at the end.
"""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edgecompile.diagnostics import Diagnostic, EdgecompileError, ExitCode, Severity, Where
from edgecompile.diagnostics.catalogue.toolchain import (
    TOOL_CRASHED,
    TOOL_FAILED,
    TOOL_MEMORY,
    TOOL_NONSENSE,
    TOOL_TIMEOUT,
)
from edgecompile.vendor.process import describe_exit, environment, kill_tree, tree_rss_bytes

Json = Any
Progress = Callable[[int, int], None]

TIMEOUT_S = 3600.0
MEMORY_BYTES = 16 * 2**30
LOG_TAIL_BYTES = 16 * 1024
_POLL_S = 0.2
_SPEAKING = {"RuntimeError", "ValueError", "OSError"}
"""Exceptions whose message says enough without their name."""


class GuardedProcess:
    """A worker that answers any number of calls; use it as a context manager."""

    def __init__(
        self,
        tool: str,
        *,
        workdir: Path,
        timeout_s: float = TIMEOUT_S,
        memory_bytes: int = MEMORY_BYTES,
        extra_environment: Mapping[str, str] | None = None,
        interpreter: Sequence[str] | None = None,
    ) -> None:
        """Prepare a worker for `tool` (its name in messages); nothing runs before `__enter__`.

        `timeout_s` limits the wall time of each call and `memory_bytes` the resident memory of the
        child and its children together. `interpreter` is the command that starts a worker in
        another environment; None is this Python.
        """
        self._tool = tool
        self._parent_dir = workdir
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._extra_environment = dict(extra_environment or {})
        self._interpreter = interpreter
        self._replies: queue.Queue[str | None] = queue.Queue()
        self._calls = 0

    def __enter__(self) -> Self:
        """Start the worker."""
        self._parent_dir.mkdir(parents=True, exist_ok=True)
        self._home = Path(tempfile.mkdtemp(prefix="worker-", dir=self._parent_dir))
        self._log = self._home / "vendor.log"
        own = [sys.executable, "-m", "edgecompile.vendor.worker"]
        try:
            self._process = self._start(list(self._interpreter or own))
        except OSError as error:
            shutil.rmtree(self._home, ignore_errors=True)
            how = f"it could not be started: {error.strerror}"
            raise TOOL_CRASHED.error(tool=self._tool, how=how) from error
        threading.Thread(target=self._read_replies, daemon=True).start()
        return self

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self._home,
                env={
                    **environment(self._home, share_path=self._interpreter is None),
                    **self._extra_environment,
                },
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the worker and everything that it started, and remove its directory."""
        kill_tree(self._process)
        shutil.rmtree(self._home, ignore_errors=True)

    def call(self, function: str, payload: Json, *, progress: Progress | None = None) -> Json:
        """Run `module:function` on `payload` in the worker and return its result.

        Raises EC-510 when it raised an exception (or, if that was an `EdgecompileError`, the same
        diagnostics), EC-511 when the process died, EC-512 and EC-513 when it passed a limit, EC-514
        when its answer is not one. The end of the vendor's log is in the error's `details`.
        """
        self._calls += 1
        request = {"id": self._calls, "function": function, "payload": payload}
        line = json.dumps(request).encode() + b"\n"
        pipe = self._process.stdin
        assert pipe is not None
        try:
            pipe.write(line)
            pipe.flush()
        except OSError:
            raise self._crashed() from None
        deadline = time.monotonic() + self._timeout_s
        while True:
            reply = self._next_reply(deadline)
            if "progress" in reply:
                if progress is not None:
                    progress(*reply["progress"])
            elif "error" in reply:
                raise self._failed(reply["error"])
            elif "result" in reply:
                return reply["result"]
            else:
                raise self._error(TOOL_NONSENSE.error(tool=self._tool, reason="empty answer"))

    def _read_replies(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None
        with pipe:
            for line in pipe:
                self._replies.put(line.decode("utf-8", errors="replace"))
        self._replies.put(None)

    def _next_reply(self, deadline: float) -> dict[str, Any]:
        while True:
            try:
                line = self._replies.get(timeout=_POLL_S)
                break
            except queue.Empty:
                self._check_limits(deadline)
        if line is None:
            raise self._crashed()
        try:
            reply = json.loads(line)
            if reply["id"] == self._calls:
                return dict(reply)
        except (ValueError, TypeError, KeyError):
            pass
        raise self._error(
            TOOL_NONSENSE.error(tool=self._tool, reason=f"unexpected answer {line[:80]!r}")
        )

    def _check_limits(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            kill_tree(self._process)
            raise self._error(TOOL_TIMEOUT.error(tool=self._tool, timeout_s=self._timeout_s))
        if tree_rss_bytes(self._process.pid) > self._memory_bytes:
            kill_tree(self._process)
            limit = self._memory_bytes // 2**20
            raise self._error(TOOL_MEMORY.error(tool=self._tool, limit_mib=limit))

    def _crashed(self) -> EdgecompileError:
        kill_tree(self._process)
        how = describe_exit(self._process.returncode)
        return self._error(TOOL_CRASHED.error(tool=self._tool, how=how))

    def _failed(self, reply: Mapping[str, Any]) -> EdgecompileError:
        if "diagnostics" in reply:
            found = tuple(_diagnostic(d) for d in reply["diagnostics"])
            return self._error(EdgecompileError(found, ExitCode(reply["exit_code"])))
        reason = " ".join(str(reply["message"]).split())
        if reply["type"] not in _SPEAKING or not reason:
            reason = f"{reply['type']}: {reason}"
        error = TOOL_FAILED.error(tool=self._tool, reason=_shorten(reason))
        return self._error(error, str(reply["traceback"]))

    def _error(self, error: EdgecompileError, trace: str = "") -> EdgecompileError:
        """`error` with the end of the vendor's log as details."""
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - LOG_TAIL_BYTES))
            tail = log.read().decode("utf-8", errors="replace")
        error.details = "\n".join(part for part in (tail.strip(), trace.strip()) if part)
        return error


def run_guarded(
    function: str,
    payload: Json,
    *,
    tool: str,
    workdir: Path,
    timeout_s: float = TIMEOUT_S,
    memory_bytes: int = MEMORY_BYTES,
    progress: Progress | None = None,
    extra_environment: Mapping[str, str] | None = None,
) -> Json:
    """One call in a process of its own; see `GuardedProcess` for limits and errors."""
    with GuardedProcess(
        tool,
        workdir=workdir,
        timeout_s=timeout_s,
        memory_bytes=memory_bytes,
        extra_environment=extra_environment,
    ) as process:
        return process.call(function, payload, progress=progress)


def _shorten(text: str, limit: int = 400) -> str:
    return text if len(text) <= limit else f"{text[:limit]} ..."


def _diagnostic(document: Mapping[str, Any]) -> Diagnostic:
    return Diagnostic(
        code=document["code"],
        severity=Severity(document["severity"]),
        message=document["message"],
        where=Where(**document["where"]),
        why=document["why"],
        hints=tuple(document["hints"]),
    )
