"""Whole builds in tests: requests with defaults, and a sink that remembers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecompile.diagnostics import Diagnostic
from edgecompile.driver.build import BuildResult, build
from edgecompile.driver.request import BuildRequest

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits" / "model.onnx"
DIGITS_DATA = ROOT / "calibration_data" / "digits"


@dataclass
class RememberingSink:
    """What a build told, in order."""

    started: list[str] = field(default_factory=list)
    finished: dict[str, bool] = field(default_factory=dict)
    """Name of a step -> whether it came from the cache."""
    diagnostics: list[Diagnostic] = field(default_factory=list)
    steps_in_progress: set[str] = field(default_factory=set)

    def step_started(self, name: str) -> None:
        self.started.append(name)

    def progress(self, name: str, done: int, total: int) -> None:
        assert 0 < done <= total
        self.steps_in_progress.add(name)

    def step_finished(self, name: str, *, seconds: float, cached: bool, summary: str) -> None:
        assert name == self.started[-1]
        assert seconds >= 0
        self.finished[name] = cached

    def diagnostic(self, diagnostic: Diagnostic) -> None:
        self.diagnostics.append(diagnostic)

    @property
    def ran(self) -> list[str]:
        """Names of the steps that did not come from the cache."""
        return [name for name in self.started if not self.finished[name]]


def request(directory: Path, **changes: Any) -> BuildRequest:
    """A build of the shipped digits model into `directory`/out, cached in `directory`/cache."""
    values: dict[str, Any] = {
        "model": DIGITS,
        "target": "intel-nuc",
        "output": directory / "out",
        "calibration": str(DIGITS_DATA / "calibration.npz"),
        "cache_dir": directory / "cache",
    }
    return BuildRequest(**{**values, **changes})


def run_build(directory: Path, **changes: Any) -> tuple[BuildResult, RememberingSink]:
    """Build, and what was told."""
    sink = RememberingSink()
    return build(request(directory, **changes), sink), sink


def digests(directory: Path, *, without: tuple[str, ...] = ()) -> dict[str, str]:
    """SHA-256 of every file below `directory`, by name."""
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in without
    }


REPORTS = ("report.json", "report.html")
"""Files that hold times."""
