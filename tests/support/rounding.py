"""Models with integer weights of any width and form, for tests of rounding passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from edgecompile.ir import Model
from edgecompile.passes.base import Context, NoteBook, Outcome
from edgecompile.passes.quantize.quantize_weights import QuantizeWeights
from edgecompile.passes.quantize.rounding import RoundingPass
from edgecompile.passes.quantize.stored_weight import StoredWeight, stored_weights
from edgecompile.passes.quantize.weight_blocks import Layout, Levels, compress
from edgecompile.passes.quantize.weight_forms import WeightWriter
from edgecompile.passes.quantize.weight_sites import weight_sites
from edgecompile.targets.catalogue import load_target
from edgecompile.targets.schema import WeightCompression
from tests.support.models import Builder, feeds
from tests.support.quantized import exact
from tests.support.samples import Samples

NUC = load_target("intel-nuc")


def gemm(inputs: int = 48, outputs: int = 12, opset: int = 21) -> Model:
    """`[N, inputs]` times a random matrix."""
    b = Builder(opset=opset)
    return b.build({b.gemm(b.input("x", ["N", inputs]), inputs, outputs): ["N", outputs]})


def matmul(inputs: int = 64, outputs: int = 12, opset: int = 21) -> Model:
    """`[N, inputs]` times a random matrix."""
    b = Builder(opset=opset)
    y = b.node("MatMul", [b.input("x", ["N", inputs]), b.random(inputs, outputs)])
    return b.build({y: ["N", outputs]}, ir_version=10)


def conv(group: int = 1) -> Model:
    """3 x 3, 8 to 8 channels."""
    b = Builder(opset=21)
    x, w = b.input("x", ["N", 8, 7, 7]), b.random(8, 8 // group, 3, 3)
    return b.build({b.node("Conv", [x, w], group=group, pads=[1] * 4): None}, ir_version=10)


def correlated(model: Model, count: int = 24, rank: int = 4, seed: int = 0) -> Samples:
    """Inputs that mostly lie in few directions of the channels, the same ones for all seeds."""
    fixed, rng = np.random.default_rng(0), np.random.default_rng(seed)
    sample = feeds(model, batch=8)["x"]
    mixed = fixed.normal(size=(sample.shape[1], rank))
    made = []
    for _ in range(count):
        inner = rng.normal(size=(sample.shape[0], rank, *(1 for _ in sample.shape[2:])))
        x = np.einsum("cr,nr...->nc...", mixed, inner)
        made.append({"x": (x + 0.1 * rng.normal(size=sample.shape)).astype(np.float32)})
    return Samples(feeds=made)


def white(model: Model, count: int = 24, seed: int = 0) -> Samples:
    """Inputs without correlations."""
    return Samples(feeds=[feeds(model, batch=8, seed=seed + i) for i in range(count)])


def per_channel(model: Model, bits: int = 4, *, clip: Any = "mse") -> Model:
    """Symmetric weights, a scale for each output channel, in a DequantizeLinear."""
    return _written(model, lambda axes: Layout(axis=axes.channel), bits, clip=clip)


def _written(model: Model, layout: Any, bits: int, *, clip: Any) -> Model:
    copy = model.clone()
    writer = WeightWriter(copy.graph)
    for site in list(weight_sites(copy.graph)):
        levels = Levels(bits=bits, symmetric=True)  # type: ignore[arg-type]
        made = compress(site.tensor.numpy(), layout(site.axes), levels, clip=clip)
        writer.write(site, made, "dequantize_linear")
    return copy


def in_blocks(model: Model, *, nbits: bool = False, group: int = 16, **options: Any) -> Model:
    """4-bit blocks by `quantize_weights`, as DequantizeLinear or MatMulNBits."""
    form = WeightCompression(form="matmul_nbits" if nbits else "dequantize_linear")
    where = Context(target=NUC.model_copy(update={"weight_compression": form}))
    bar = {"min_sqnr_db_4bit": 0.0, "min_elements": 1, "float_share": 0.0}
    step = QuantizeWeights(bits=4, group_size=group, **bar, **options)
    return step.run(model, where).model


def stored(model: Model, reference: Model) -> StoredWeight:
    """The only weight."""
    (found,) = stored_weights(model, reference, NoteBook(), largest_inputs=10**6)
    return found


def improve(step: RoundingPass, before: Model, reference: Model, data: Samples) -> Outcome:
    """What `step` makes of `before`, held to the contract."""
    digest = before.digest
    outcome = step.run(before, Context(target=NUC, data=data, reference=reference))
    assert before.digest == digest
    assert outcome.changed == (outcome.model.digest != digest)
    return outcome


def error(model: Model, reference: Model, data: Samples) -> float:
    """Squared error of the outputs over their power."""
    lost = power = 0.0
    for sample in data:
        (wanted,), (found,) = exact(reference, sample.feeds), exact(model, sample.feeds)
        lost += float(np.square(found - wanted, dtype=np.float64).sum())
        power += float(np.square(wanted, dtype=np.float64).sum())
    return lost / power


def types(model: Model) -> set[ir.DataType | None]:
    """Element types of all constants."""
    return {value.dtype for value in model.graph.graph.initializers.values()}
