"""`collect`: one streaming pass over the data, whatever the method and number of samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edgecompile.calibration.histogram import Histogram
from edgecompile.calibration.method import RangeMethod
from edgecompile.calibration.ranges import Range, Ranges
from edgecompile.calibration.session import run_session
from edgecompile.diagnostics.catalogue.data import ACTIVATION_NOT_FINITE, NOT_OBSERVABLE

if TYPE_CHECKING:
    from edgecompile.calibration.dataset import Dataset
    from edgecompile.ir.model import Model


def collect(
    model: Model,
    tensors: Sequence[str],
    data: Dataset,
    method: RangeMethod,
    *,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Ranges:
    """Ranges of `tensors` over all samples of `data`. Raises EC-340 to EC-343."""
    observed = model.clone()
    graph = observed.graph.graph
    values = {v.name: v for v in graph.inputs} | {v.name: v for n in graph for v in n.outputs}
    present = {v.name for v in graph.outputs}
    for name in tensors:
        if name not in values:
            raise NOT_OBSERVABLE.error(name=name, reason="the main graph does not compute it")
        if name not in present:
            graph.outputs.append(values[name])
    session = run_session(observed, threads=threads)
    histograms = {name: Histogram() for name in tensors}
    for done, sample in enumerate(data):
        for name, array in session.run(sample.feeds, tensors, sample=sample.name).items():
            if not array.size:
                continue
            low, high = float(array.min()), float(array.max())
            if math.isnan(low) or math.isnan(high):
                raise ACTIVATION_NOT_FINITE.error(name=name, what="NaN", sample=sample.name)
            entry = histograms[name]
            entry.min, entry.max = min(entry.min, low), max(entry.max, high)
            entry.samples += 1
        if progress is not None:
            progress(done + 1, len(data))
    ranges = {}
    skipped = {}
    for name, entry in histograms.items():
        if not entry.samples:
            skipped[name] = "empty in every sample"
            continue
        low, high = method.pick(entry)
        ranges[name] = Range(min=low, max=high, observed_min=entry.min, observed_max=entry.max)
    return Ranges(
        tensors=ranges,
        method=method.describe(),
        samples=len(data),
        data_sha256=data.sha256,
        skipped=skipped,
    )
