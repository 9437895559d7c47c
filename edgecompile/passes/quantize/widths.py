"""Which widths of integers a layer can take, told from what it costs at the one that it has.

Rounding of activations and of weights adds up in power. That of the weights needs no inference: the
error of a product is to the product as that of the weights is to the weights, when it does not
correlate with them (Nagel et al., "A White Paper on Neural Network Quantization", arXiv:2106.08295,
section 2). So what another width leads to at the model's outputs is the layer's measured cost,
scaled by how its own error grows or shrinks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecompile.ir.facts import constant_array
from edgecompile.passes.quantize.layers import Layer
from edgecompile.passes.quantize.operands import operands_of
from edgecompile.passes.quantize.sensitivity import Cost

BLOCK = 32
"""Weights of 4 bits that share a scale."""
HEALTHY_DB = 17.0
"""SQNR of a cosine of 0.99: 1 - 1/(2 * 10^1.7)."""

Floats = npt.NDArray[np.float64]


def widths_db(cost: Cost) -> dict[str, float]:
    """Width -> SQNR at the worst output with only this layer at that width, the rest in float.

    `int8` and `int16` are activations of that width and INT8 weights, `int8_weights` and
    `int4_weights` (in blocks of 32) weights alone. That of the model at hand was found by
    `sensitivity`, the others are estimates.
    """
    layer = cost.layer
    found, of_weights = {_built(layer): cost.alone_db}, weight_noise(layer)
    own = math.pow(10.0, -cost.local_db / 10.0)
    if not math.isfinite(cost.alone_db) or own == 0.0 or not math.isfinite(own):
        return found
    estimates = {f"{name}_weights": noise for name, noise in of_weights.items()}
    if "int8" in found:
        estimates["int16"] = of_weights.get("int8", 0.0) + own / 2**16
    for name, noise in estimates.items():
        if noise > 0.0:
            found.setdefault(name, cost.alone_db - 10.0 * math.log10(noise / own))
    return found


def takes(widths: Mapping[str, float], layers: int) -> list[str]:
    """Those that are good enough: `layers` of that cost together keep a cosine of 0.99."""
    needed = HEALTHY_DB + 10.0 * math.log10(max(1, layers))
    return sorted(name for name, db in widths.items() if db >= needed)


def weight_noise(layer: Layer) -> dict[str, float]:
    """Power of the rounding error of the layer's weights over theirs, by width of integers."""
    operands = operands_of(layer.original)
    for weight in operands.weights if operands else ():
        array = constant_array(layer.original.inputs[weight.index])
        if array is None or not array.size or not array.any():
            continue
        rows = np.moveaxis(array.astype(np.float64), weight.axis or 0, 0)
        rows = rows.reshape(rows.shape[0], -1)
        return {"int8": _noise(rows, 127), "int4": _noise(_blocks(rows), 7)}
    return {}


def _built(layer: Layer) -> str:
    """The width that the layer has now."""
    operands = operands_of(layer.original)
    constant = {weight.index for weight in operands.weights} if operands else set[int]()
    kinds = {
        index in constant: kind
        for index, value in enumerate(layer.quantized.inputs)
        if (kind := _integers(value)) is not None and index < 2
    }
    if False in kinds:
        return f"int{kinds[False]}"
    return f"int{kinds.get(True, 8)}_weights"


def _integers(value: ir.Value | None) -> int | None:
    """Bits of the integers behind a DequantizeLinear, looking through what passes them on."""
    node = None if value is None else value.producer()
    while node is not None and node.op_type not in ("DequantizeLinear", "QuantizeLinear"):
        before = node.inputs[0] if node.inputs else None
        node = None if before is None else before.producer()
    if node is None or node.op_type != "DequantizeLinear":
        return None
    stored = node.inputs[0]
    kind = None if stored is None else stored.dtype
    return None if kind is None else int(kind.bitwidth)


def _noise(rows: Floats, steps: int) -> float:
    """Of rounding each row to `steps` positive integers, its largest number the last of them."""
    reach = np.abs(rows).max(axis=1, keepdims=True)
    scale = np.where(reach > 0, reach / steps, 1.0)
    error = np.round(rows / scale) * scale - rows
    return float(np.square(error).sum() / np.square(rows).sum())


def _blocks(rows: Floats) -> Floats:
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % BLOCK)))
    return padded.reshape(-1, BLOCK)
