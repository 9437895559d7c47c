"""Data sets in memory, with the interface of `calibration.dataset.Dataset` that verify uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgecompile.calibration.sample import Label, Sample, Task
from edgecompile.ir import Model
from tests.support.models import feeds


@dataclass(frozen=True, kw_only=True)
class Samples:
    """`feeds` of every sample, and its label where there is a task."""

    feeds: Sequence[Mapping[str, np.ndarray]]
    labels: Sequence[Label] = ()
    task: Task | None = None

    def __len__(self) -> int:
        return len(self.feeds)

    def __getitem__(self, index: int) -> Sample:
        label = self.labels[index] if self.labels else None
        return Sample(feeds=self.feeds[index], label=label, name=f"sample {index}")

    def subset(self, indices: Sequence[int]) -> Samples:
        """Some of them."""
        picked = tuple(self.labels[i] for i in indices) if self.labels else ()
        return Samples(feeds=[self.feeds[i] for i in indices], labels=picked, task=self.task)

    def __iter__(self):
        return (self[i] for i in range(len(self)))


def samples_for(model: Model, count: int = 4, *, positive: bool = False) -> Samples:
    """Seeded samples, batch 1; `positive` puts floats into [0, 1], most of them near 1."""
    made = [feeds(model, batch=1, seed=i) for i in range(count)]
    if positive:
        made = [{k: np.clip(np.abs(v), 0, 1) for k, v in sample.items()} for sample in made]
    return Samples(feeds=made)
