"""Task metrics on labelled data, float against quantized; one accumulator class per task kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgecompile.artifacts.types import Metric
from edgecompile.calibration.sample import Label, Task
from edgecompile.diagnostics import Where
from edgecompile.diagnostics.catalogue.budget import LABELS_UNFIT

Outputs = Mapping[str, npt.NDArray[Any]]
Scores = dict[str, float]


class Meter(ABC):
    """Accumulates the metric of one model over samples."""

    kind: ClassVar[str]
    """`Task.kind` that it measures."""
    reads: ClassVar[str]
    """How its figures read: `accuracy` (more is better) or `error` (less is better)."""

    def __init__(self, task: Task) -> None:
        """`task` says what the labels mean."""
        self._task = task

    @abstractmethod
    def add(self, outputs: Outputs, label: Label) -> None:
        """Take in one sample. Raises EC-659 when label and outputs do not fit."""

    @abstractmethod
    def scores(self) -> Scores:
        """Metric name -> value over all samples so far; empty before the first."""


class Classification(Meter):
    """`top1`, and `top5` for more than five classes: an accepted class among the largest scores.

    Of equal scores the lower class comes first, as in `argmax`.
    """

    kind: ClassVar[str] = "classification"
    reads: ClassVar[str] = "accuracy"

    def __init__(self, task: Task) -> None:
        """Nothing counted yet."""
        super().__init__(task)
        self._samples = 0
        self._first = 0
        self._fifth = 0
        self._classes = 0

    def add(self, outputs: Outputs, label: Label) -> None:
        """Count the sample. Raises EC-659 for a missing output, several rows, or a wild label."""
        name = next(iter(outputs), "") if self._task.output is None else self._task.output
        scores = self._row(outputs, name)
        wild = [index for index in label if not 0 <= index < scores.size]
        if wild:
            reason = f"label {wild[0]} is not one of {scores.size} classes"
            raise LABELS_UNFIT.error(Where(tensor=name), output=name, reason=reason)
        order = np.argsort(-scores, kind="stable")[:5]
        self._classes = scores.size
        self._samples += 1
        self._first += int(order[0]) in label
        self._fifth += any(int(index) in label for index in order)

    def _row(self, outputs: Outputs, name: str) -> npt.NDArray[np.float64]:
        if name not in outputs:
            have = ", ".join(f"'{n}'" for n in outputs)
            reason = f"the model has no such output, only {have}"
            raise LABELS_UNFIT.error(Where(tensor=name), output=name, reason=reason)
        scores = outputs[name]
        if scores.size < 2 or scores.size != scores.shape[-1]:
            reason = f"its shape {list(scores.shape)} is not one row of class scores"
            raise LABELS_UNFIT.error(Where(tensor=name), output=name, reason=reason)
        return scores.reshape(-1).astype(np.float64)

    def scores(self) -> Scores:
        """`top1` and, with more than five classes, `top5`."""
        if self._samples == 0:
            return {}
        found = {"top1": self._first / self._samples}
        if self._classes > 5:
            found["top5"] = self._fifth / self._samples
        return found


METERS: Mapping[str, type[Meter]] = {meter.kind: meter for meter in (Classification,)}


def metrics(float_meter: Meter, quantized_meter: Meter) -> dict[str, Metric]:
    """Both meters' figures side by side, by metric name."""
    want, got = float_meter.scores(), quantized_meter.scores()
    return {
        name: Metric(
            float=round(want[name], 6), quantized=round(got[name], 6), kind=type(float_meter).reads
        )
        for name in sorted(want)
    }
