"""Whose error is it? The error at an output, followed back to the layers that made it.

To first order the error of a tensor is the sum of what each layer before it contributes, and those
of different layers hardly correlate, so that their powers add (B. Widrow and I. Kollar,
"Quantization Noise", Cambridge University Press 2008, chapters 4 and 20). So the power at an output
can be handed back through the graph, operator by operator, without loss, as relevance is in Bach et
al., "On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance
Propagation", PLOS ONE 10(7), 2015, with measured powers in the place of their rules: a layer
keeps the share that its own rounding has of the error in its output, and the rest goes to its
operands in the proportion of what each brings.

What this leaves out: errors that meet in one tensor count as amplified alike by what follows. It
takes three inferences per sample, whatever the number of layers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgecompile.ir.facts import constant_tensor
from edgecompile.ir.model import Model
from edgecompile.passes.quantize.layers import Layer
from edgecompile.passes.quantize.side_by_side import Floats, Powers


def attribute(
    reference: Model, layers: Sequence[Layer], powers: Powers, errors: Mapping[str, float]
) -> Floats:
    """Power of the error that each of the `layers` causes in each tensor of `errors`: [L, E].

    `errors` are the powers in one sample of the errors of tensors of `reference`, whose layers'
    and flows' `powers` those of the same sample are. Rows add up to `errors` less what reaches no
    layer, which is rounding of the float arithmetic itself.
    """
    numbers = {layer.output: number for number, layer in enumerate(layers)}
    found = np.zeros((len(layers), len(errors)))
    pending: defaultdict[str, Floats] = defaultdict(lambda: np.zeros(len(errors)))
    for column, (name, power) in enumerate(errors.items()):
        pending[name][column] += power
    for node in reversed(reference.graph.graph):
        given = np.zeros(len(errors))
        for value in node.outputs:
            given = given + pending.pop(value.name or "", 0.0)
        if not given.any():
            continue
        number = numbers.get(node.outputs[0].name or "")
        if number is not None:
            share = _share(powers.own[number], powers.inherited[number])
            found[number] += share * given
            given = (1.0 - share) * given
        for name, part in _operands(node, powers).items():
            pending[name] += part * given
    return found


def _share(own: float, inherited: float) -> float:
    """Of the layer itself in the error of its output."""
    if not np.isfinite(own) or own + inherited == 0:
        return 1.0
    return float(own / (own + inherited)) if np.isfinite(inherited) else 0.0


def _operands(node: ir.Node, powers: Powers) -> dict[str, float]:
    """Operand -> the part of the error that it brings; nothing for operators without any."""
    flows = powers.flows.get(node.outputs[0].name or "")
    if flows is None:
        first = (v for v in node.inputs if v is not None and _carries(v))
        return {value.name or "": 1.0 for value in list(first)[:1]}
    finite = {name: power if np.isfinite(power) else 0.0 for name, power in flows.items()}
    total = sum(finite.values())
    return {name: power / total for name, power in finite.items()} if total else {}


def _carries(value: ir.Value) -> bool:
    known = value.dtype is None or value.dtype.is_floating_point()
    return known and value.producer() is not None and constant_tensor(value) is None
