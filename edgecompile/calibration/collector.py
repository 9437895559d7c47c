"""`collect`: one streaming pass over the data, whatever the method and number of samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx_ir as ir
from threadpoolctl import threadpool_limits

from edgecompile.calibration.bounds import FREE, Bound, graph_bounds
from edgecompile.calibration.checkpoint import Checkpoint
from edgecompile.calibration.convergence import Watch, evenly_ordered
from edgecompile.calibration.histogram import Histogram
from edgecompile.calibration.method import RangeMethod
from edgecompile.calibration.observe import FLOATS, Observer
from edgecompile.calibration.probes import Probe, subgraph_names
from edgecompile.calibration.ranges import Range, Ranges
from edgecompile.calibration.tally import WAITING_SAMPLES, Tally
from edgecompile.diagnostics import Diagnostic, EdgecompileError, Where
from edgecompile.diagnostics.catalogue.data import NOT_OBSERVABLE
from edgecompile.ir.facts import constant_array

if TYPE_CHECKING:
    from edgecompile.calibration.dataset import Dataset
    from edgecompile.ir.model import Model

Progress = Callable[[int, int], None]

LEAST_VALUES = 512
"""Values counted per tensor and sample, where the tensor has as many."""
ENOUGH_VALUES = 2**16
"""With few samples more of each are counted, up to this many per tensor in all."""


def collect(
    model: Model,
    tensors: Sequence[str],
    data: Dataset,
    method: RangeMethod,
    *,
    threads: int = 1,
    progress: Progress | None = None,
    bits: int = 8,
    symmetric: bool = False,
    special: Mapping[str, Quantizer] | None = None,
    checkpoint: Checkpoint | None = None,
    tolerance: float | None = None,
) -> Ranges:
    """Ranges of `tensors` over all samples of `data`, for quantizers of `bits` bits.

    `special` names tensors that other quantizers wait for.

    `tensors` are inputs, constants, or outputs of nodes of the main graph; those inside control
    flow and functions, never filled, or infinite are in `skipped`. `progress` is called with the
    samples done and to do. With `checkpoint` an interrupted run continues, to equal ranges; with
    `tolerance` it stops once ranges have converged (see `convergence`). Raises EC-340 to EC-343,
    and what reading `data` raises.
    """
    watch = None if tolerance is None else Watch(tolerance)

    def pick(seen: Observations) -> Ranges:
        return seen.ranges(method, bits=bits, symmetric=symmetric, special=special)

    with threadpool_limits(limits=threads, user_api="blas"):
        seen = observe(
            model,
            tensors,
            data if watch is None else data.subset(evenly_ordered(len(data))),
            threads=threads,
            progress=progress,
            counted=method.histogram,
            apart=method.per_sample,
            checkpoint=checkpoint,
            watch=watch,
            pick=pick,
        )
        found = pick(seen)
    if watch is not None:
        found = replace(found, convergence=watch.evidence(available=len(data)))
    return replace(found, data_sha256=data.sha256)


class Quantizer(NamedTuple):
    """What a range is for: 2**bits levels, and whether the zero point is in the middle of them."""

    bits: int
    symmetric: bool
    wide: bool = False
    """Whether 16 bits may be wanted besides."""


@dataclass(frozen=True, kw_only=True)
class Observations:
    """What one pass over the data has seen; ranges by any method follow without another."""

    histograms: Mapping[str, Histogram]
    bounds: Mapping[str, Bound]
    skipped: Mapping[str, str]
    samples: int
    data_sha256: str

    def ranges(
        self,
        method: RangeMethod,
        *,
        bits: int = 8,
        symmetric: bool = False,
        special: Mapping[str, Quantizer] | None = None,
    ) -> Ranges:
        """The range of each tensor by `method`, inside what was seen and what the graph allows."""
        tensors, usual = {}, Quantizer(bits, symmetric)
        for name, histogram in self.histograms.items():
            wanted = (special or {}).get(name, usual)
            low, high = self._pick(name, method, wanted)
            found = Range(
                min=low,
                max=high,
                observed_min=histogram.min,
                observed_max=histogram.max,
                samples=histogram.samples,
            )
            if wanted.wide:
                low, high = self._pick(name, method, wanted._replace(bits=16))
                found = replace(found, wide_min=low, wide_max=high)
            tensors[name] = found
        return Ranges(
            tensors=tensors,
            method=method.describe(),
            samples=self.samples,
            data_sha256=self.data_sha256,
            skipped=self.skipped,
        )

    def _pick(self, name: str, method: RangeMethod, wanted: Quantizer) -> tuple[float, float]:
        histogram, bound = self.histograms[name], self.bounds.get(name, FREE)
        low, high = method.pick(histogram, bits=wanted.bits, symmetric=wanted.symmetric)
        low = max(min(low, histogram.max), histogram.min, bound.low)
        return low, min(max(high, low), histogram.max, bound.high)


def observe(
    model: Model,
    tensors: Sequence[str],
    data: Dataset,
    *,
    threads: int = 1,
    progress: Progress | None = None,
    counted: bool = True,
    apart: bool = True,
    checkpoint: Checkpoint | None = None,
    watch: Watch | None = None,
    pick: Callable[[Observations], Ranges] | None = None,
) -> Observations:
    """Run all samples once and watch `tensors`; see `collect`.

    Extremes are exact, with `apart` those of each sample too. With `counted`, a spread of each
    tensor's values goes into a histogram.
    """
    places = _Places(model, tensors)
    wanted = max(LEAST_VALUES, ENOUGH_VALUES // max(len(data), 1)) if counted else 0
    observer = Observer(model, places.computed, threads=threads, wanted=wanted, apart=apart)
    inputs = Tally([Probe(tensor=name, values=name) for name in places.inputs], wanted)

    def seen(samples: int) -> Observations:
        return _observations(model, places, (inputs, observer.tally), samples, data.sha256)

    done = 0
    if checkpoint is not None and checkpoint.path.is_file() and len(data):
        if places.computed:
            observer.prepare(data[0])
        done, besides = checkpoint.load((inputs, observer.tally))
        if watch is not None and besides is not None:
            watch.restore(besides)
    while done < len(data):
        sample = data[done]
        if places.inputs:
            fed = [sample.feeds[name] for name in places.inputs]
            flat = fed[0].reshape(-1) if len(fed) == 1 else np.concatenate([*map(np.ravel, fed)])
            inputs.take(flat, [array.shape for array in fed], sample.name)
        if places.computed:
            observer.see(sample)
        done += 1
        if progress is not None:
            progress(done, len(data))
        if done % WAITING_SAMPLES or done == len(data):
            continue
        inputs.flush()
        observer.tally.flush()
        if watch and pick and watch.due(done) and watch.enough(pick(seen(done)).tensors):
            break
        if checkpoint is not None:
            checkpoint.save(done, (inputs, observer.tally), watch.state() if watch else None)
    inputs.flush()
    observer.tally.flush()
    if checkpoint is not None:
        checkpoint.clear()
    return seen(done)


def _observations(
    model: Model, places: _Places, tallies: Sequence[Tally], samples: int, data_sha256: str
) -> Observations:
    histograms: dict[str, Histogram] = {}
    skipped = dict(places.skipped)
    for tally in tallies:
        histograms |= tally.histograms
    histograms |= _of_constants(places.constants, skipped)
    for tally in tallies:
        for name, first in tally.infinite.items():
            skipped[name] = f"infinite in sample '{first}'"
    empty = {name for name, h in histograms.items() if not h.samples and name not in skipped}
    skipped |= dict.fromkeys(empty, "empty in every sample")
    return Observations(
        histograms={name: h for name, h in histograms.items() if name not in skipped},
        bounds=graph_bounds(model),
        skipped=skipped,
        samples=samples,
        data_sha256=data_sha256,
    )


def _of_constants(
    constants: Mapping[str, np.ndarray], skipped: dict[str, str]
) -> dict[str, Histogram]:
    """Histograms of constants; those that are not finite go to `skipped`."""
    found: dict[str, Histogram] = {}
    for name, array in constants.items():
        found[name] = Histogram()
        if not np.isfinite(array).all():
            skipped[name] = "a constant that is not finite"
        elif array.size:
            found[name].see_samples([float(array.min())], [float(array.max())])
            found[name].add_covered(array.reshape(-1))
    return found


class _Places:
    """Where each tensor's values come from: the feeds, a constant, or a node."""

    def __init__(self, model: Model, tensors: Sequence[str]) -> None:
        """Sort `tensors`; raises EC-343 for all that cannot have a range."""
        graph = model.graph.graph
        self.constants: dict[str, np.ndarray] = {}
        self.skipped: dict[str, str] = {}
        wanted, found = set(tensors), set()
        nested = subgraph_names(model)
        problems: list[Diagnostic] = []
        values: list[ir.Value] = [*graph.inputs, *graph.initializers.values()]
        values += [value for node in graph for value in node.outputs]
        inputs: list[str] = []
        computed: list[str] = []
        for value in values:
            name = value.name
            if name not in wanted or name is None or name in found:
                continue
            found.add(name)
            if not isinstance(value.type, ir.TensorType):
                self.skipped[name] = "not a tensor of known type"
            elif value.dtype not in FLOATS:
                what = str(value.dtype).lower()
                problems.append(_refuse(name, f"it has {what} elements, not floats"))
            elif (array := _constant(value)) is not None:
                self.constants[name] = array
            else:
                (inputs if value.is_graph_input() else computed).append(name)
        for name in sorted(wanted - found):
            if name in nested:
                self.skipped[name] = "inside control flow or a function, which is not observed"
            else:
                problems.append(_refuse(name, "the model has no tensor of that name"))
        if problems:
            raise EdgecompileError(tuple(problems), NOT_OBSERVABLE.exit_code)
        self.inputs, self.computed = inputs, computed


def _constant(value: ir.Value) -> np.ndarray | None:
    """The data of a constant; of an input with a default, the default, since samples lack it."""
    if value.is_graph_input():
        return None if value.const_value is None else value.const_value.numpy()
    return constant_array(value)


def _refuse(name: str, reason: str) -> Diagnostic:
    return NOT_OBSERVABLE.at(Where(tensor=name), name=name, reason=reason)
