"""`relax_clips`: let ReLU6 be ReLU, so that the layers around it can be equalized.

    Clip(x, 0, high)  ->  Relu(x)

Scales pass through Relu and not through a bound: what ReLU6 cuts off moves with them. Nagel et al.
2019 (arXiv:1906.04721, section 5.1) replace it before they equalize, and so do AIMET and Quark.
Some networks need the bound, and compute something else without it. So the bounds that cut off
least on calibration samples go first, and as many of them as the outputs can do without.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import onnx_ir as ir
from pydantic import Field

from edgecompile.calibration.fidelity import OutputSums, decibels
from edgecompile.calibration.session import run_session
from edgecompile.calibration.split import spread
from edgecompile.calibration.taps import tapped_session
from edgecompile.ir.facts import output_specs
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Need, NoteBook, Outcome, Pass, unchanged
from edgecompile.passes.graph.edit import (
    constant_at,
    input_at,
    is_onnx,
    only_consumer,
    replace_node,
    rewritten,
)
from edgecompile.passes.quantize.channel_scale import PASSING, POOLING, layer_of

if TYPE_CHECKING:
    from edgecompile.calibration.dataset import Dataset

LAYERS = ("Conv", "Gemm", "MatMul", "Add")


class RelaxClips(Pass):
    """Replace Clip from 0 up by Relu between two layers; values beyond the bound then get through.

    For targets with one scale per tensor of weights, where equalization is worth more than the
    bound. Looks at calibration samples, and stops where the outputs would change too much.
    """

    id: ClassVar[str] = "relax_clips"
    version: ClassVar[int] = 3
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA})
    libraries: ClassVar[tuple[str, ...]] = ("onnx-ir", "numpy", "onnxruntime")
    lossy: ClassVar[bool] = True
    still_float: ClassVar[bool] = True

    at_least_db: Annotated[float, Field(gt=0)] = 25.0
    """How near every output stays to what it was: signal to error, in dB on the samples."""
    samples: Annotated[int, Field(ge=1)] = 8
    """Calibration samples to look at."""

    def run(self, model: Model, context: Context) -> Outcome:
        """Bounds below 0 or that are computed stay, and those inside of branches and loops.

        So do those that no layer follows, such as the gate of a hard swish: there is nothing to
        equalize behind them.
        """
        book, data = NoteBook(), context.data
        clips = [node for node in model.graph.graph if _is_rectifier(node)]
        if not clips or data is None:
            return unchanged(model)
        picked = data.subset(spread(len(data), self.samples))
        order = _by_what_they_cut(model, clips, picked, context)
        count = self._bearable(model, order, picked, context)
        if count < len(order):
            kept = len(order) - count
            book.fail(f"{kept} Clip keep their bound: without it the outputs change too much")
        if not count:
            return unchanged(model, book.notes)
        book.fail(f"{count} Clip are Relu now: values beyond their bound get through")
        return rewritten(model, lambda graph: _relax(graph, order[:count]), book.notes)

    def _bearable(self, model: Model, order: Sequence[str], data: Dataset, context: Context) -> int:
        """How many of the clips in `order` can go, by bisection."""
        outputs = [spec.name for spec in output_specs(model) if spec.dtype.kind == "f"]
        exact = run_session(model, threads=context.threads)
        wanted = [exact.run(sample.feeds, outputs, sample=sample.name) for sample in data]

        def near(count: int) -> bool:
            relaxed = rewritten(model, lambda graph: _relax(graph, order[:count])).model
            session = run_session(relaxed, threads=context.threads)
            sums = {name: OutputSums() for name in outputs}
            for sample, want in zip(data, wanted, strict=True):
                got = session.run(sample.feeds, outputs, sample=sample.name)
                for name in outputs:
                    sums[name].add(want[name], got[name])
            return all(
                not s.not_finite and decibels(s.signal, s.noise) >= self.at_least_db
                for s in sums.values()
            )

        if near(len(order)):
            return len(order)
        good, bad = 0, len(order)
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if near(middle) else (good, middle)
        return good


def _by_what_they_cut(
    model: Model, clips: Sequence[ir.Node], data: Dataset, context: Context
) -> list[str]:
    """Outputs of `clips`, that which loses least of its power to its bound first."""
    inputs = {node.outputs[0].name or "": node.inputs[0] for node in clips}
    tensors = [value.name or "" for value in inputs.values() if value is not None]
    bounds = [float(np.max(high)) for node in clips if (high := constant_at(node, 2)) is not None]
    session = tapped_session(model, tensors, threads=context.threads, only=True)
    cut, power = np.zeros(len(clips)), np.zeros(len(clips))
    for sample in data:
        seen = session.run(sample.feeds, tensors, sample=sample.name)
        for at, (name, bound) in enumerate(zip(tensors, bounds, strict=True)):
            above = np.maximum(seen[name], 0.0).astype(np.float64)
            cut[at] += np.square(np.maximum(above - bound, 0.0)).sum()
            power[at] += np.square(above).sum()
    share = cut / np.maximum(power, 1e-300)
    names = list(inputs)
    return [names[at] for at in np.argsort(share, kind="stable")]


def _relax(graph: ir.Model, outputs: Collection[str]) -> None:
    chosen = set(outputs)
    for node in list(graph.graph):
        if node.outputs and node.outputs[0].name in chosen:
            replace_node(node, ir.Node("", "Relu", [node.inputs[0]], name=node.name))


def _is_rectifier(node: ir.Node) -> bool:
    """Whether a node is ReLU6 or like it, between two layers."""
    if not is_onnx(node, "Clip") or input_at(node, 2) is None or constant_at(node, 2) is None:
        return False
    low, source = constant_at(node, 1), node.inputs[0]
    before = None if source is None else source.producer()
    behind_layer = before is not None and is_onnx(before, *LAYERS)
    bounded = bool(behind_layer and low is not None and (low == 0).all())
    return bounded and _feeds_layer(node.outputs[0])


def _feeds_layer(value: ir.Value) -> bool:
    """Whether a layer is all that reads `value`, behind operators that let scales pass."""
    reader = only_consumer(value)
    while reader is not None and is_onnx(reader, *PASSING, *POOLING):
        reader = only_consumer(reader.outputs[0])
    return layer_of(reader) is not None
