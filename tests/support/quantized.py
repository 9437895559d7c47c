"""Ranges without a data set, and looks into Q/DQ graphs, for tests of the quantizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecompile.calibration.ranges import Range, Ranges
from edgecompile.calibration.session import Optimisation, run_session
from edgecompile.calibration.taps import tapped_session
from edgecompile.ir import Model
from edgecompile.ir.facts import constant_array
from edgecompile.passes.base import Context, Outcome
from edgecompile.passes.quantize.quantize_static import QuantizeStatic
from edgecompile.targets.catalogue import load_target
from edgecompile.targets.schema import QdqStyle, Target
from tests.support.models import feeds

NUC = load_target("intel-nuc")
assert NUC.quantization is not None
STYLE: QdqStyle = NUC.quantization


def target(**style: Any) -> Target:
    """`intel-nuc` with another style of Q/DQ."""
    return NUC.model_copy(update={"quantization": STYLE.model_copy(update=style)})


def observed(model: Model, inputs: Mapping[str, np.ndarray]) -> Ranges:
    """The extremes of every float tensor of the main graph, on one sample."""
    graph = model.graph.graph
    values = [*graph.inputs, *(v for node in graph for v in node.outputs)]
    names = [v.name for v in values if v.dtype == ir.DataType.FLOAT and v.name]
    found = tapped_session(model, names).run(inputs, names)
    tensors = {
        name: Range(min=low, max=high, observed_min=low, observed_max=high)
        for name, array in found.items()
        for low, high in [(float(array.min()), float(array.max()))]
    }
    return Ranges(tensors=tensors, method="extremes", samples=1, data_sha256="0" * 64)


def context(model: Model, inputs: Mapping[str, np.ndarray] | None = None, **style: Any) -> Context:
    """What `quantize_static` is given: `intel-nuc` with another style, and true ranges."""
    ranges = observed(model, feeds(model) if inputs is None else inputs)
    return Context(target=target(**style), ranges=ranges)


def quantized(
    model: Model,
    inputs: Mapping[str, np.ndarray] | None = None,
    *,
    style: Mapping[str, Any] | None = None,
    **options: Any,
) -> Outcome:
    """`model` after `quantize_static` with `options`; it must not refuse."""
    step, given = QuantizeStatic(**options), context(model, inputs, **(style or {}))
    assert step.requires(model, given) == []
    before = model.digest
    outcome = step.run(model, given)
    assert outcome.changed == (outcome.model.digest != before)
    return outcome


def exact(model: Model, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Outputs with every Q/DQ pair run by itself, and the arithmetic between them in float."""
    session = run_session(model, optimisation=Optimisation.NONE, exact=True)
    return list(session.run(inputs).values())


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A weight in integers, where it is used."""

    node: ir.Node
    index: int
    integers: np.ndarray
    scale: np.ndarray
    axis: int | None

    @property
    def floats(self) -> np.ndarray:
        """Its real values, of weights with zero point 0."""
        if self.axis is None:
            return self.integers * self.scale
        shape = [1] * self.integers.ndim
        shape[self.axis] = -1
        return self.integers * self.scale.reshape(shape)


def stored_weights(model: Model) -> Iterator[Stored]:
    """Every use of a DequantizeLinear of a constant."""
    for node in model.graph.graph:
        integers = constant_array(node.inputs[0]) if node.op_type == "DequantizeLinear" else None
        if integers is None:
            continue
        scale = constant_array(node.inputs[1])
        assert scale is not None
        for consumer, index in node.outputs[0].uses():
            yield Stored(
                node=consumer,
                index=index,
                integers=integers.astype(np.int64),
                scale=scale,
                axis=node.attributes.get_int("axis", 1) if scale.ndim else None,
            )


def worst_pair(stored: Stored) -> int:
    """Largest magnitude of two same-signed weights whose products may meet in one 16-bit sum."""
    w, node = stored.integers, stored.node
    if node.op_type == "Conv":
        if w.shape[1] == 1:  # depthwise kernels add nothing; of one channel any two places may meet
            return 0 if node.attributes.get_int("group", 1) > 1 else _any_two(w)
        w = np.moveaxis(w, 1, 0)
    elif node.op_type == "ConvTranspose":
        pass
    elif node.attributes.get_int("transB", 0) or (stored.index == 0 and w.ndim > 1):
        w = np.moveaxis(w, -1, 0)
    else:
        w = np.moveaxis(w, max(0, w.ndim - 2), 0)
    if len(w) % 2:
        w = np.concatenate([w, np.zeros_like(w[:1])])
    left, right = w[0::2], w[1::2]
    sums = np.where(np.sign(left) * np.sign(right) >= 0, np.abs(left + right), 0)
    return int(max(sums.max(), np.abs(w).max() if len(w) == 2 else 0))


def _any_two(w: np.ndarray) -> int:
    rows = w.reshape(len(w), -1)
    if rows.shape[1] == 1:
        return int(np.abs(rows).max())
    worst = 0
    for signed in (np.maximum(rows, 0), np.maximum(-rows, 0)):
        worst = max(worst, int(np.sort(signed, axis=1)[:, -2:].sum(axis=1).max()))
    return worst


def pairs_into(model: Model) -> list[tuple[str, int]]:
    """Operator and input index of every consumer of an activation's Q/DQ pair, sorted."""
    return sorted(
        (consumer.op_type, index)
        for node in model.graph.graph
        if node.op_type == "DequantizeLinear" and node.inputs[0].producer() is not None
        for consumer, index in node.outputs[0].uses()
    )
