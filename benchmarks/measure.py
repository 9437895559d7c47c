"""Run something in a child process of its own, and measure what it cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LAUNCHER = Path(__file__).resolve().with_name("launcher.py")


class ChildFailedError(RuntimeError):
    """The child process ended with an error; the message holds the end of what it said."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a child process cost, from its start to its exit, its own children included.

    `peak_rss_bytes` is the largest resident set of any one of them.
    """

    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    result: Any = None
    stdout: str = ""


def run_command(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 3600,
    ok: Sequence[int] = (0,),
    directory: Path | None = None,
) -> Measured:
    """Run `command` to its end. Raises `ChildFailedError` for an exit code that is not in `ok`."""
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / name for name in ("stdout", "stderr", "figures")}
        launcher = [sys.executable, "-I", "-S", LAUNCHER, files["figures"], timeout_s, *command]
        with files["stdout"].open("wb") as out, files["stderr"].open("wb") as err:
            subprocess.run(
                [str(part) for part in launcher],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=directory,
                env={**_environment(), **(environment or {})},
                check=False,
            )
        texts = [files[name].read_text("utf-8", "replace") for name in ("stdout", "stderr")]
        if not files["figures"].exists():
            raise ChildFailedError(f"it could not be started: {texts[1][-2000:].strip()}")
        figures = json.loads(files["figures"].read_text())
    if figures["late"]:
        raise ChildFailedError(f"it ran past its time limit of {timeout_s:g} s")
    if figures["code"] not in ok:
        said = (texts[1] or texts[0])[-2000:].strip()
        raise ChildFailedError(f"exit code {figures['code']}: {said}")
    return Measured(
        wall_s=figures["wall_s"],
        cpu_s=figures["cpu_s"],
        peak_rss_bytes=figures["peak_rss_bytes"],
        stdout=texts[0],
    )


def run_function(function: str, *, timeout_s: float = 3600, **arguments: Any) -> Measured:
    """Call `module:function` with JSON-able `arguments` in a fresh interpreter.

    `result` is what it returned, which must be JSON-able too.
    """
    with tempfile.TemporaryDirectory() as directory:
        reply = Path(directory) / "reply.json"
        command = [sys.executable, "-m", "benchmarks.measure", function, json.dumps(arguments)]
        measured = run_command([*command, reply], timeout_s=timeout_s, directory=ROOT)
        result = json.loads(reply.read_text())
    return Measured(
        wall_s=measured.wall_s,
        cpu_s=measured.cpu_s,
        peak_rss_bytes=measured.peak_rss_bytes,
        result=result,
        stdout=measured.stdout,
    )


def median(values: Sequence[float]) -> float:
    """The middle value; the mean of the two middle ones of an even number."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _serve(function: str, arguments: str, reply: str) -> None:
    import importlib

    module, _, name = function.partition(":")
    result = getattr(importlib.import_module(module), name)(**json.loads(arguments))
    Path(reply).write_text(json.dumps(result))


if __name__ == "__main__":
    _serve(*sys.argv[1:])


def _environment() -> dict[str, str]:
    """Ours, but bytecode may be kept: compiling every module anew would count as start-up."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
