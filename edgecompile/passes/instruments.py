"""Instruments watch the pipeline: time, operators before and after, the graph after every step."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from edgecompile.ir.model import Model
from edgecompile.passes.base import Pass
from edgecompile.passes.lazy import Lazy
from edgecompile.passes.results import StepResult


class StepLike(Protocol):
    """A pass and the unique name that it has in its recipe."""

    @property
    def label(self) -> str:
        """Unique in the recipe: the pass id, then `id#2`."""

    @property
    def operation(self) -> Pass:
        """The pass with its options."""


class Instrument(Protocol):
    """Told of every step, cached or not, in order."""

    def before(self, step: StepLike, model: Lazy[Model]) -> None:
        """`step` is about to take `model`."""

    def after(self, result: StepResult, model: Lazy[Model]) -> None:
        """The step is done and gave `model`."""


class Stopwatch:
    """Wall and CPU seconds since it was made; CPU includes child processes that have ended."""

    def __init__(self) -> None:
        """Start now."""
        self._wall, self._cpu = time.perf_counter(), _cpu_seconds()

    @property
    def seconds(self) -> float:
        """Wall seconds so far."""
        return time.perf_counter() - self._wall

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds so far."""
        return _cpu_seconds() - self._cpu


def _cpu_seconds() -> float:
    return sum(os.times()[:4])


@dataclass
class Timing:
    """What every step took in this build, cached steps included."""

    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    _watch: Stopwatch = field(default_factory=Stopwatch)

    def before(self, step: StepLike, model: Lazy[Model]) -> None:
        """Start the watch."""
        self._watch = Stopwatch()

    def after(self, result: StepResult, model: Lazy[Model]) -> None:
        """Note what the step took."""
        self.seconds[result.label] = self._watch.seconds
        self.cpu_seconds[result.label] = self._watch.cpu_seconds


@dataclass
class Census:
    """How many nodes of which operator every step added (positive) or removed (negative)."""

    changes: dict[str, Mapping[str, int]] = field(default_factory=dict)

    def before(self, step: StepLike, model: Lazy[Model]) -> None:
        """Nothing to note yet."""

    def after(self, result: StepResult, model: Lazy[Model]) -> None:
        """Note the difference."""
        self.changes[result.label] = result.operators


@dataclass
class DumpIr:
    """Writes the graph that every step gives as `NN-<label>.txt` and `NN-<label>.onnx`.

    `00-input` is the graph before the first step. Raises `OSError` when `directory` cannot be
    written.
    """

    directory: Path
    _count: int = 0

    def before(self, step: StepLike, model: Lazy[Model]) -> None:
        """Write the input of the first step."""
        if self._count == 0:
            self._write("input", model.get())

    def after(self, result: StepResult, model: Lazy[Model]) -> None:
        """Write what the step gave."""
        self._write(result.label.replace("#", "-"), model.get())

    def _write(self, name: str, model: Model) -> None:
        from edgecompile.ir.save import save
        from edgecompile.ir.text import to_text

        self.directory.mkdir(parents=True, exist_ok=True)
        stem = f"{self._count:02d}-{name}"
        (self.directory / f"{stem}.txt").write_text(to_text(model), encoding="utf-8")
        save(model, self.directory / f"{stem}.onnx")
        self._count += 1
