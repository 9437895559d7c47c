"""Which integers an operator takes: the target's style, its rules by operator, and the recipe's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple, cast

import numpy as np
import onnx_ir as ir

from edgecompile.passes.quantize.affine import (
    AffineParameters,
    integer_type,
    power_of_two_above,
    tensor_parameters,
)
from edgecompile.passes.quantize.operands import MATRIX_PRODUCTS, Operands
from edgecompile.targets.schema import ActivationType, OperatorRule, QdqStyle, WeightType

Precision = Literal["int8", "int16", "float"]
Interval = tuple[float, float]
OPSET_OF_ALL_TYPES = 21
"""From here on QuantizeLinear and DequantizeLinear have 16-bit and 4-bit types."""


class Zero(StrEnum):
    """Where an operator can take the zero point of an activation."""

    ANY = "any"
    MIDDLE = "middle"
    """0 of a signed type, the middle of an unsigned one."""
    ZERO = "zero"
    """0: a signed type, or an unsigned one of what is nowhere negative."""
    SIGNED = "signed"
    """0 of a signed type."""


class Form(NamedTuple):
    """The integers of one activation, as an operator takes them."""

    type: ActivationType
    zero: Zero

    @property
    def bits(self) -> int:
        """Width of the integers."""
        return integer_type(self.type).bits

    def parameters(
        self, low: float, high: float, *, power_of_two: bool = False
    ) -> AffineParameters:
        """Scale and zero point that represent [low, high]."""
        dtype, symmetric = integer_type(self.type), self.zero is Zero.MIDDLE
        # an unsigned type has the zero point 0 by itself where nothing is negative
        unsure = dtype.signed or low < 0
        if self.zero is Zero.SIGNED or (self.zero is Zero.ZERO and unsure):
            dtype, symmetric = integer_type(f"int{dtype.bits}"), True
        return tensor_parameters(low, high, dtype, symmetric=symmetric, power_of_two=power_of_two)

    def fixed_parameters(self, low: float, high: float) -> AffineParameters:
        """Those of the fixed range [low, high): one step is (high - low) / 2^bits."""
        dtype = integer_type(self.type)
        if self.zero in (Zero.SIGNED, Zero.ZERO):
            dtype = integer_type(f"int{dtype.bits}")
        count = 1 << dtype.bits
        if self.zero is Zero.ANY:
            scale = (high - low) / count
            zero = round(-low / scale) + dtype.qmin
        else:
            scale = 2 * max(abs(low), abs(high)) / count
            zero = dtype.qmin + count // 2
        return AffineParameters(
            scale=np.asarray(np.float32(scale)),
            zero_point=np.asarray(zero, dtype.storage),
            type=dtype,
        )

    def step(self, interval: Interval, *, power_of_two: bool = False) -> float:
        """Distance of two neighbouring numbers where the integers span `interval`."""
        low, high = min(interval[0], 0.0), max(interval[1], 0.0)
        count = (1 << self.bits) - 1
        reach = high - low if self.zero is Zero.ANY else 2 * max(-low, high)
        step = reach / count
        return power_of_two_above(step) if power_of_two and step > 0 else step


class WeightForm(NamedTuple):
    """The integers of one constant operand, as its operator takes them."""

    type: WeightType
    per_channel: bool
    axis: int | None
    """The only axis that may carry scales; None for any."""


@dataclass(frozen=True, kw_only=True)
class Forms:
    """What each operator takes under `style`; `precision` names nodes that take something else."""

    style: QdqStyle
    precision: Mapping[str, Precision] = field(default_factory=dict)
    all_types: bool = True
    """Whether the opset has more types than 8 bits, so that `wide` can be chosen freely."""

    def activation(self, node: ir.Node, name: str, operands: Operands | None = None) -> Form:
        """The form of the activations of `node`, called `name`."""
        style, kind = self.style, node.op_type
        chosen = self._ruled(kind, "activations") or style.activations.type
        kind_of_type = self._asked(cast("ActivationType", chosen), name)
        product = operands is not None and operands.product and kind in MATRIX_PRODUCTS
        if product and style.symmetric_products:
            return Form(kind_of_type, Zero.SIGNED)
        if kind in style.zero_point_0:
            return Form(kind_of_type, Zero.ZERO)
        symmetric = self._ruled(kind, "symmetric")
        middle = style.activations.symmetric if symmetric is None else bool(symmetric)
        return Form(kind_of_type, Zero.MIDDLE if middle else Zero.ANY)

    def plain(self, type_: ActivationType | None = None) -> Form:
        """The form of what no rule speaks of, in the style's type unless another is given."""
        activations = self.style.activations
        zero = Zero.MIDDLE if activations.symmetric else Zero.ANY
        return Form(type_ or activations.type, zero)

    @property
    def wide(self) -> Form | None:
        """The 16-bit form; None where the target or the opset has none."""
        chosen = self._wide_type() if self.all_types else None
        return None if chosen is None else self.plain(chosen)

    def weight(self, node: ir.Node) -> WeightForm:
        """The form of the constant operands of `node`."""
        weights, kind = self.style.weights, node.op_type
        per_channel = self._ruled(kind, "per_channel")
        return WeightForm(
            type=cast("WeightType", self._ruled(kind, "weights") or weights.type),
            per_channel=weights.per_channel if per_channel is None else bool(per_channel),
            axis=cast("int | None", self._ruled(kind, "weight_axis")),
        )

    def output_range(self, node: ir.Node) -> Interval | None:
        """The fixed range of the output of `node`, if it has one."""
        return cast("Interval | None", self._ruled(node.op_type, "output_range"))

    def _wide_type(self) -> ActivationType | None:
        activations = self.style.activations
        return activations.type if activations.type.endswith("16") else activations.wide

    def _asked(self, chosen: ActivationType, name: str) -> ActivationType:
        """`chosen`, unless the recipe wants another width of the node `name`."""
        wanted = self.precision.get(name)
        if wanted == "int16":
            return self._wide_type() or chosen
        if wanted == "int8" and chosen.endswith("16"):
            return "int8" if chosen == "int16" else "uint8"
        return chosen

    def _ruled(self, kind: str, what: str) -> object:
        found = [getattr(rule, what) for rule in self._rules(kind)]
        return next((value for value in reversed(found) if value is not None), None)

    def _rules(self, kind: str) -> list[OperatorRule]:
        return [rule for rule in self.style.rules if kind in rule.operators]
