"""Why a layer is hard to quantize: the shape of what flows into it and of its weights.

Integers of one scale spend most of their steps on the widest values. Three things make that cost
accuracy: a few outliers far beyond the rest, a channel much wider than its neighbours (which leaves
those few steps), and a tail so long that no clipping point is good. The thresholds say when each is
worth naming; they decide nothing that is built. Excess kurtosis as a sign of outliers: Bondarenko
et al., "Quantizable Transformers", arXiv:2306.12929; channels: Xiao et al., "SmoothQuant",
arXiv:2211.10438, and Nagel et al., "Data-Free Quantization", arXiv:1906.04721.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgecompile.calibration.dataset import Dataset
from edgecompile.calibration.taps import tapped_session
from edgecompile.ir.facts import constant_array
from edgecompile.ir.model import Model
from edgecompile.passes.quantize.layers import Layer
from edgecompile.passes.quantize.operands import CONVOLUTIONS, POOLING, operands_of

PERCENTILE = 99.9
MANY_TIMES = 4.0
"""An outlier reaches this many times as far as the percentile of all values."""
WIDE_CHANNEL = 8.0
"""A channel is wide when it reaches this many times as far as the median channel."""
LONG_TAIL = 20.0
"""Excess kurtosis: 0 is a normal distribution, 3 a Laplace distribution."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How the values of one tensor are spread, in its own units; ratios have none."""

    min: float
    max: float
    outlier_ratio: float
    """Largest magnitude over the 99.9th percentile of magnitudes; 1 for a tensor of zeros."""
    channel_ratio: float
    """Largest magnitude of the widest channel over that of the median channel."""
    kurtosis: float
    """Excess kurtosis."""


@dataclass
class _Gathered:
    """What `Spread` needs of the samples so far; the percentile is the mean over samples."""

    axis: int
    low: float = math.inf
    high: float = -math.inf
    count: int = 0
    samples: int = 0
    percentile: float = 0.0
    powers: Floats = field(default_factory=lambda: np.zeros(4))
    reach: Floats | None = None

    def add(self, array: npt.NDArray[np.generic]) -> None:
        values = array.astype(np.float64)
        if values.size == 0 or not np.isfinite(values).all():
            return
        flat = values.reshape(-1)
        self.low, self.high = min(self.low, flat.min()), max(self.high, flat.max())
        self.count += flat.size
        self.samples += 1
        self.percentile += float(np.percentile(np.abs(flat), PERCENTILE))
        square = flat * flat
        sums = (flat.sum(), square.sum(), (square * flat).sum(), (square * square).sum())
        self.powers += np.array(sums)
        reach = _reach(values, self.axis)
        fits = self.reach is not None and self.reach.shape == reach.shape
        self.reach = np.maximum(self.reach, reach) if fits and self.reach is not None else reach

    def spread(self) -> Spread | None:
        if self.samples == 0 or self.reach is None:
            return None
        top = max(abs(self.low), abs(self.high))
        median = float(np.median(self.reach))
        return Spread(
            min=_short(self.low),
            max=_short(self.high),
            outlier_ratio=_short(_ratio(top, self.percentile / self.samples)),
            channel_ratio=_short(_ratio(float(self.reach.max()), median)),
            kurtosis=_short(_kurtosis(self.powers / self.count)),
        )


def spread_of(array: npt.NDArray[np.generic], axis: int) -> Spread | None:
    """The spread of an array with channels along `axis`; None when it is empty or not finite."""
    gathered = _Gathered(axis=axis)
    gathered.add(array)
    return gathered.spread()


def input_spreads(
    reference: Model, layers: Iterable[Layer], data: Dataset, *, threads: int = 1
) -> dict[str, Spread]:
    """Layer's output -> spread of its first activation in the float model: one pass over `data`.

    Raises EC-340 and EC-341.
    """
    inputs: dict[str, tuple[str, int]] = {}
    for layer in layers:
        node = layer.original
        axis = 1 if node.op_type in CONVOLUTIONS | POOLING else -1
        varying = (v for v in node.inputs if v is not None and constant_array(v) is None)
        value = next(
            (v for v in varying if v.dtype is not None and v.dtype.is_floating_point()), None
        )
        if value is not None and value.name:
            inputs[layer.output] = (value.name, axis)
    gathered = {key: _Gathered(axis=key[1]) for key in inputs.values()}
    names = sorted({name for name, _ in gathered})
    session = tapped_session(reference, names, threads=threads)
    for sample in data:
        found = session.run(sample.feeds, names, sample=sample.name)
        for (name, _), sums in gathered.items():
            sums.add(found[name])
    spreads = {output: gathered[key].spread() for output, key in inputs.items()}
    return {output: spread for output, spread in spreads.items() if spread is not None}


def weight_spreads(layers: Iterable[Layer]) -> dict[str, Spread]:
    """Layer's output -> spread of its float weights, channels being those of its output."""
    found: dict[str, Spread] = {}
    for layer in layers:
        operands = operands_of(layer.original)
        for weight in operands.weights if operands else ():
            array = constant_array(layer.original.inputs[weight.index])
            spread = None if array is None else spread_of(array, weight.axis or 0)
            if spread is not None:
                found[layer.output] = spread
    return found


def reasons(
    activation: Spread | None, weights: Spread | None, *, per_channel: bool
) -> tuple[list[str], list[str]]:
    """Why the layer is hard, and the passes and options that help, the likeliest first.

    With a scale `per_channel`, weights whose channels differ in range are none of the reasons.
    """
    why: list[str] = []
    helps: list[str] = []
    if activation is not None and activation.channel_ratio >= WIDE_CHANNEL:
        # its channels make the tail: clipping it would cut off what the wide one says
        times = f"{activation.channel_ratio:.3g} times the median channel's"
        why.append(f"narrow channels: the widest input channel has {times} range")
        helps.append("smooth_quant")
    elif activation is not None:
        if activation.outlier_ratio >= MANY_TIMES:
            times = f"{activation.outlier_ratio:.3g} times the {PERCENTILE}th percentile"
            why.append(f"outliers: the largest input is {times}")
            helps.append("calibrate.method=percentile")
        if activation.kurtosis >= LONG_TAIL:
            why.append(f"long tail: inputs have an excess kurtosis of {activation.kurtosis:.3g}")
            helps.append("calibrate.method=percentile")
    if weights is not None and weights.outlier_ratio >= MANY_TIMES:
        times = f"{weights.outlier_ratio:.3g} times the {PERCENTILE}th percentile"
        why.append(f"outliers: the largest weight is {times}")
        helps.append("equalize")
    if weights is not None and weights.channel_ratio >= WIDE_CHANNEL and not per_channel:
        times = f"{weights.channel_ratio:.3g} times the median channel's"
        why.append(f"narrow channels: the widest channel of weights has {times} range")
        helps.append("equalize")
    return why, list(dict.fromkeys(helps))


def to_json(spread: Spread | None) -> Mapping[str, float] | None:
    """The fields of `spread`, in order."""
    return None if spread is None else dict(vars(spread))


def _reach(values: Floats, axis: int) -> Floats:
    """Largest magnitude of each channel along `axis`."""
    magnitude = np.abs(values)
    if values.ndim < 2 or not -values.ndim <= axis < values.ndim:
        return np.asarray(magnitude.max()).reshape(1)
    result: Floats = np.moveaxis(magnitude, axis, 0).reshape(values.shape[axis], -1).max(axis=1)
    return result


def _kurtosis(moments: Floats) -> float:
    """Excess kurtosis from the means of the first four powers; 0 for a constant."""
    mean, square, cube, fourth = (float(m) for m in moments)
    variance = square - mean**2
    if variance <= 1e-12 * max(square, 1e-300):
        return 0.0
    central = fourth - 4 * mean * cube + 6 * mean**2 * square - 3 * mean**4
    return central / variance**2 - 3.0


def _ratio(top: float, bottom: float) -> float:
    if bottom > 0:
        return top / bottom
    return 1.0 if top == 0 else math.inf


def _short(value: float) -> float:
    """Six significant digits."""
    return float(f"{value:.6g}")
