"""Running the command line in tests: in this process, or in a fresh one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgecompile.cli import main

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ran:
    """What one run left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Standard output as the one JSON document it must be."""
        document: dict[str, Any] = json.loads(self.out)
        return document


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> Ran:
    """Run `edgecompile ARGUMENTS` in this process."""
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return Ran(code, captured.out, captured.err)


def child_environment(*without: str) -> dict[str, str]:
    """The environment of a child that runs the code of this tree, wherever it is started."""
    inherited = {k: v for k, v in os.environ.items() if k not in without}
    return {**inherited, "PYTHONPATH": str(ROOT)}


def run_process(
    *arguments: object,
    python: tuple[str, ...] = ("-m", "edgecompile"),
    timeout_s: float = 300,
    **environment: str,
) -> Ran:
    """Run `edgecompile ARGUMENTS` in a fresh process without a terminal."""
    env = child_environment("CI", "NO_COLOR", "FORCE_COLOR")
    done = subprocess.run(
        [sys.executable, *python, *map(str, arguments)],
        env={**env, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=timeout_s,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def hear_interrupts() -> None:
    """For a child's `preexec_fn`: a shell's background jobs ignore Ctrl-C, and so would it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
