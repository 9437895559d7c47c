"""Small truths about child processes, the same on Linux, macOS and Windows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

_KEPT = (
    "PATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "SYSTEMROOT",
    "WINDIR",
    "COMSPEC",
    "PATHEXT",
    "NUMBER_OF_PROCESSORS",
    "PROCESSOR_ARCHITECTURE",
)
"""Variables that a vendor's process needs to start at all; everything else stays behind."""


def environment(home: Path, *, share_path: bool) -> dict[str, str]:
    """The scrubbed environment of a worker whose home and temporary directory is `home`.

    With `share_path` the child finds the same Python packages as this process.
    """
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    places = ("HOME", "USERPROFILE", "LOCALAPPDATA", "APPDATA", "TMPDIR", "TEMP", "TMP")
    made = {name: str(home) for name in places}
    made |= {
        "PYTHONHASHSEED": "0",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
        "LC_ALL": "C.UTF-8",
    }
    if share_path:
        entries = [str(Path(entry).resolve()) for entry in sys.path if entry]
        made["PYTHONPATH"] = os.pathsep.join(entries)
    return {**kept, **made}


def tree_rss_bytes(pid: int) -> int:
    """Resident memory of process `pid` and its descendants; 0 when it has ended."""
    total = 0
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in family:
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill `process`, its descendants and its process group, and wait for them."""
    if process.returncode is not None:
        return  # already done, and its number may belong to another process by now
    family: list[psutil.Process] = []
    with suppress(psutil.Error):
        family = psutil.Process(process.pid).children(recursive=True)
    if hasattr(os, "killpg"):
        # The group outlives its leader, so this also reaches children of a crashed worker.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    with suppress(OSError):
        process.kill()
    for child in family:
        with suppress(psutil.Error):
            child.kill()
    process.wait()
    psutil.wait_procs(family, timeout=1)
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()


def describe_exit(code: int | None) -> str:
    """`signal SIGSEGV`, `exit code 3`, or the Windows status in hexadecimal."""
    if code is None:
        return "no exit code"
    if code < 0:
        with suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
        return f"signal {-code}"
    return f"exit code {code:#x}" if code > 0xFF else f"exit code {code}"
