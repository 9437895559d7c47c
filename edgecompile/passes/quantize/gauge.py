"""How near a model is to its float reference on a few samples, by every measure of a budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgecompile.artifacts.budget import DROP, FIDELITY
from edgecompile.artifacts.types import OutputFidelity
from edgecompile.calibration.fidelity import Array, OutputSums, decibels
from edgecompile.calibration.meters import METERS, Meter
from edgecompile.calibration.sample import Sample, Task
from edgecompile.calibration.taps import tapped_session
from edgecompile.ir.model import Model
from edgecompile.passes.quantize.observed import observed

CORRELATION = "correlation"
LOW_CORRELATION = "correlation_p10"
WORST_CORRELATION = "worst_correlation"
LOW = 0.1
"""The quantile of samples that `correlation_p10` looks at."""
PROBABILITY = "probability_error"
KEPT_BYTES = 256 * 2**20
"""Float outputs kept at once; fewer samples are used where theirs are larger."""
CONSTANT_SHARE = 0.01
"""Of an output's power that counts as signal at least, however little it varies with the input."""
_LESS_IS_BETTER = frozenset({"max_abs", PROBABILITY})

Run = Callable[[Sample], Mapping[str, Array]]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was found."""

    outputs: Mapping[str, OutputFidelity]
    """By floating-point output."""
    correlation: Mapping[str, float]
    """By observed tensor."""
    probability_error: float | None
    """Largest difference of outputs that lie between 0 and 1; None without such."""
    float_scores: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    """Task metrics of both models; empty without labels."""
    samples: Mapping[str, float] = field(default_factory=dict)
    """Sample -> correlation of its worst observed tensor, in the order of the samples."""

    @property
    def worst_sample(self) -> str:
        """Name of the sample that correlates least; empty where none was told."""
        return min(self.samples, key=self.samples.__getitem__, default="")

    def of(self, metric: str) -> float | None:
        """The worst output's, or that of `METRIC@OUTPUT`; None for what cannot be told.

        Without labels, the share of changed decisions stands for a task metric's drop, which it
        bounds from above.
        """
        name, _, output = metric.partition("@")
        if name == CORRELATION:
            return _worst(name, self.correlation, output)
        if name in (LOW_CORRELATION, WORST_CORRELATION):
            each = [*self.samples.values()]
            part = LOW if name == LOW_CORRELATION else 0.0
            return float(np.quantile(each, part, method="higher")) if each else None
        if name == PROBABILITY:
            return self.probability_error
        if name in FIDELITY:
            figures = {key: getattr(f, name) for key, f in self.outputs.items()}
            return _worst(name, {k: v for k, v in figures.items() if v is not None}, output)
        if name in self.scores:
            return self.scores[name]
        task = name.removesuffix(DROP)
        if task in self.scores and name.endswith(DROP):
            return self.float_scores[task] - self.scores[task]
        agreement = self.of("top1_agreement") if name.endswith(DROP) else None
        return None if agreement is None else 1.0 - agreement


def _worst(name: str, figures: Mapping[str, float], output: str) -> float | None:
    known = [float(value) for key, value in figures.items() if output in {"", key}]
    pick = max if name in _LESS_IS_BETTER else min
    return pick(known) if known else None


class Gauge:
    """Holds the float outputs for some samples, and compares other models with them."""

    def __init__(
        self, reference: Model, samples: Sequence[Sample], task: Task | None, *, threads: int = 1
    ) -> None:
        """Runs the float model once on every sample. Raises EC-340 and EC-341."""
        self.outputs = tuple(v.name or "" for v in reference.graph.graph.outputs)
        self.watched = tuple(dict.fromkeys((*self.outputs, *observed(reference))))
        """Tensors that a model to be compared must give."""
        self._observed = observed(reference)
        self._task = task
        self.samples: list[Sample] = []
        """Those that are compared."""
        self._want: list[Mapping[str, Array]] = []
        session, kept = tapped_session(reference, self.watched, threads=threads), 0
        for sample in samples:
            want = session.run(sample.feeds, self.watched, sample=sample.name)
            self.samples.append(sample)
            self._want.append(want)
            kept += sum(array.nbytes for array in want.values())
            if kept > KEPT_BYTES:
                break
        self._bounded = {
            name for name in self._observed if all(_probabilities(w[name]) for w in self._want)
        }
        self._signal = {
            name: _signal([want[name] for want in self._want]) for name in self._observed
        }
        self._signals = {
            name: _shares(self._signal[name], [want[name] for want in self._want])
            for name in self._observed
        }

    def __len__(self) -> int:
        """Number of samples that are compared."""
        return len(self.samples)

    def figures(self, run: Run) -> Figures:
        """Those of the model that `run` runs; it gives the watched tensors of a sample."""
        sums = {name: OutputSums() for name in self.outputs}
        noise = dict.fromkeys(self._observed, 0.0)
        meters = _meters(self._task)
        probability: float | None = None
        each: dict[str, float] = {}
        for number, (sample, want) in enumerate(zip(self.samples, self._want, strict=True)):
            got = run(sample)
            for name in self.outputs:
                if want[name].dtype.kind == "f" and want[name].shape == got[name].shape:
                    sums[name].add(want[name], got[name])
            for name in noise:
                power = _noise(want[name], got[name])
                noise[name] += power
                found = _correlation(self._signals[name][number], power)
                each[sample.name] = min(found, each.get(sample.name, 1.0))
                if name in self._bounded:
                    difference = _largest(want[name], got[name])
                    probability = max(probability or 0.0, difference)
            if meters is not None and sample.label is not None:
                meters[0].add(want, sample.label)
                meters[1].add(got, sample.label)
        return Figures(
            outputs={name: s.fidelity() for name, s in sums.items() if s.samples},
            correlation={name: _correlation(self._signal[name], noise[name]) for name in noise},
            probability_error=probability,
            float_scores=meters[0].scores() if meters else {},
            scores=meters[1].scores() if meters else {},
            samples=each,
        )


def _meters(task: Task | None) -> tuple[Meter, Meter] | None:
    """For the float and for the other model."""
    return None if task is None else (METERS[task.kind](task), METERS[task.kind](task))


def _signal(arrays: Sequence[Array]) -> float:
    """Power of what varies between samples: what they have in common carries no information.

    Of each element over samples of one shape, else of each index of the last axis.
    """
    values = [np.asarray(array, np.float64) for array in arrays if array.dtype.kind == "f"]
    values = [np.where(np.isfinite(value), value, 0.0) for value in values]
    whole = sum(map(_power, values))
    if len(values) < 2:
        return whole
    if len({value.shape for value in values}) > 1:
        if any(value.ndim < 1 or value.shape[-1] != values[0].shape[-1] for value in values):
            return whole
        values = [np.concatenate([value.reshape(-1, value.shape[-1]) for value in values])]
        mean, factor = values[0].mean(axis=0), 1.0
    else:
        mean, factor = sum(values[1:], values[0]) / len(values), len(values) / (len(values) - 1)
    varying = factor * sum(float(np.square(value - mean).sum()) for value in values)
    return max(varying, CONSTANT_SHARE * whole)


def _shares(signal: float, arrays: Sequence[Array]) -> list[float]:
    """Each sample's part of `signal`: as much as its size tells, more where it is a loud one.

    Of a sample with little signal of its own (silence, an empty scene) no error is large.
    """
    sizes = [float(array.size) for array in arrays]
    powers = [_power(array) for array in arrays]
    size, power = max(sum(sizes), 1.0), sum(powers) or 1.0
    return [signal * max(s / size, p / power) for s, p in zip(sizes, powers, strict=True)]


def _power(array: Array) -> float:
    if array.dtype.kind != "f":
        return 0.0
    values = np.asarray(array, np.float64)
    values = np.where(np.isfinite(values), values, 0.0)
    return float(np.vdot(values, values))


def _noise(want: Array, got: Array) -> float:
    """Power of the error; infinite where a number is lost, or where the shapes differ."""
    if want.dtype.kind != "f":
        return 0.0
    if want.shape != got.shape:
        return math.inf
    known = np.isfinite(want)
    error = np.asarray(got, np.float64)[known] - np.asarray(want, np.float64)[known]
    power = float(error @ error)
    return power if math.isfinite(power) else math.inf


def _largest(want: Array, got: Array) -> float:
    """Difference; one where a number is lost, or where the shapes differ."""
    if want.shape != got.shape:
        return 1.0
    error = np.abs(np.asarray(got, np.float64) - np.asarray(want, np.float64))
    return float(np.nan_to_num(error, nan=1.0, posinf=1.0).max(initial=0.0))


def _correlation(signal: float, noise: float) -> float:
    """Of the two models' values, when the noise does not correlate with the signal."""
    db = decibels(signal, noise) if math.isfinite(noise) else -math.inf
    return 1.0 / math.sqrt(1.0 + math.pow(10.0, -db / 10.0)) if math.isfinite(db) else float(db > 0)


def _probabilities(want: Array) -> bool:
    return want.dtype.kind == "f" and want.size > 0 and 0.0 <= want.min() <= want.max() <= 1.0
