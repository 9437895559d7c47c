"""Recognising activations in arithmetic; the equations head `fuse_activation`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from edgecompile.passes.fuse.terms import close, made_by, plus, product, scalar
from edgecompile.passes.graph.edit import float_attribute, input_at, only_consumer


@dataclass(frozen=True, kw_only=True)
class Activation:
    """An activation `op` of `source`."""

    op: str
    source: ir.Value
    approximate: str = ""


def recognise(root: ir.Node) -> Activation | None:
    """The activation whose last step is the product `root`."""
    whole = product(root)
    if len(whole.factors) != 2:
        return None
    first, second = whole.factors
    for source, gate in ((first, second), (second, first)):
        found = _gated(source, gate, whole.scalar)
        if found is not None and _keeps_rank(root.outputs[0], source):
            return found
    return None


def _keeps_rank(made: ir.Value, source: ir.Value) -> bool:
    return made.shape is None or source.shape is None or len(made.shape) == len(source.shape)


def _gated(source: ir.Value, gate: ir.Value, factor: float) -> Activation | None:
    if only_consumer(gate) is None:
        return None
    if _is_hard_gate(gate, source, factor):
        return Activation(op="HardSwish", source=source)
    inner = plus(gate, 1.0)
    if inner is None or not close(factor, 0.5):
        return None
    if _is_erf(inner, source):
        return Activation(op="Gelu", source=source)
    if _is_tanh(inner, source):
        return Activation(op="Gelu", source=source, approximate="tanh")
    return None


def _is_hard_gate(gate: ir.Value, source: ir.Value, factor: float) -> bool:
    """`6 * hard sigmoid` with the factor 1/6, or the operator HardSigmoid with the factor 1."""
    hard = made_by(gate, "HardSigmoid")
    if hard is not None:
        return (
            close(factor, 1)
            and hard.inputs[0] is source
            and close(float_attribute(hard, "alpha", 0.2), 1 / 6)
            and close(float_attribute(hard, "beta", 0.5), 0.5)
        )
    clip = made_by(gate, "Clip")
    if clip is None or not close(factor, 1 / 6) or clip.inputs[0] is None:
        return False
    low, high = (_bound(clip, index, name) for index, name in ((1, "min"), (2, "max")))
    return low == 0 and close(high, 6) and plus(clip.inputs[0], 3.0) is source


def _bound(clip: ir.Node, index: int, name: str) -> float | None:
    if name in clip.attributes:
        return float_attribute(clip, name, 0.0)
    return scalar(input_at(clip, index))


def _is_erf(value: ir.Value, source: ir.Value) -> bool:
    node = made_by(value, "Erf")
    return node is not None and _is_scaled(node.inputs[0], source, 1 / math.sqrt(2))


def _is_scaled(value: ir.Value | None, source: ir.Value, factor: float) -> bool:
    node = made_by(value, "Mul", "Div")
    if node is None:
        return False
    found = product(node)
    return len(found.factors) == 1 and found.factors[0] is source and close(found.scalar, factor)


def _is_tanh(value: ir.Value, source: ir.Value) -> bool:
    tanh = made_by(value, "Tanh")
    scaled = None if tanh is None else made_by(tanh.inputs[0], "Mul", "Div")
    if scaled is None:
        return False
    found = product(scaled)
    if len(found.factors) != 1 or not close(found.scalar, math.sqrt(2 / math.pi)):
        return False
    total = made_by(found.factors[0], "Add")
    if total is None:
        return False
    return any(total.inputs[i] is source and _is_cube(total.inputs[1 - i], source) for i in (0, 1))


def _is_cube(value: ir.Value | None, source: ir.Value) -> bool:
    """`0.044715 x^3`, by Pow or by products."""
    node = made_by(value, "Mul", "Div")
    if node is None:
        return False
    found = product(node)
    if not close(found.scalar, 0.044715):
        return False
    if len(found.factors) == 3:
        return all(factor is source for factor in found.factors)
    power = made_by(found.factors[0], "Pow") if len(found.factors) == 1 else None
    return power is not None and power.inputs[0] is source and close(scalar(power.inputs[1]), 3)
