"""How much of an artifact runs in integers, and why the rest does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from edgecompile.artifacts.types import Coverage, Fallback
from edgecompile.verify.runtimes.base import Account

_PRECISIONS = {
    "u8": "int8",
    "i8": "int8",
    "u4": "int4",
    "i4": "int4",
    "nf4": "int4",
    "f16": "fp16",
    "bf16": "bf16",
    "f32": "fp32",
}
_INTEGER = {"int8", "int4"}
_ARITHMETIC = {
    "Convolution",
    "Deconvolution",
    "FullyConnected",
    "MatMul",
    "RNNCell",
    "RNNSeq",
    "ScaledDotProductAttention",
}
"""Kinds of layers that have an integer form somewhere and do the bulk of the work."""
_HAS_INTEGER_KERNEL = {"Convolution", "Deconvolution", "FullyConnected", "MatMul"}

_BIASLESS = "/WithoutBiases"
"""What OpenVINO's importer appends to the product of a node that also adds a bias."""

Layer = Mapping[str, Any]


def account(
    layers: Sequence[Layer],
    macs: Mapping[str, int],
    kept_float: Mapping[str, str],
    makers: Mapping[str, str],
) -> Account:
    """Judge executed `layers` (name, kind, precision, origins: names of fused operators).

    `macs` maps operator names to multiply-accumulates, `kept_float` node names to the reason why
    the passes left them in float, `makers` tensors to the nodes that make them: some operators are
    named after their result. An artifact without any integer layer is a float artifact: all of it
    counts as accelerated, and nothing fell back.
    """
    layers = [_renamed(layer, makers) for layer in layers]
    macs = {name.removesuffix(_BIASLESS): count for name, count in macs.items()}
    precisions = [_precision(layer) for layer in layers]
    integer = [precision in _INTEGER for precision in precisions]
    counts = Counter(precisions)
    fallback = [
        _fallback(layer, kept_float)
        for layer, whole in zip(layers, integer, strict=True)
        if not whole and any(integer) and _works(layer, macs)
    ]
    coverage = Coverage(
        nodes=len(layers),
        accelerated=sum(integer) if any(integer) else len(layers),
        fallback=tuple(fallback),
        precision=dict(sorted(counts.items())),
    )
    return Account(coverage=coverage, integer_macs=_integer_share(layers, integer, macs))


def _precision(layer: Layer) -> str:
    name = str(layer["precision"])
    return _PRECISIONS.get(name, name)


def _renamed(layer: Layer, makers: Mapping[str, str]) -> Layer:
    origins = (name.removesuffix(_BIASLESS) for name in layer["origins"])
    return {**layer, "origins": list(dict.fromkeys(makers.get(name, name) for name in origins))}


def _works(layer: Layer, macs: Mapping[str, int]) -> bool:
    return layer["kind"] in _ARITHMETIC or any(_is_part(name, layer) for name in macs)


def _fallback(layer: Layer, kept_float: Mapping[str, str]) -> Fallback:
    origins = layer["origins"] or [layer["name"]]
    reasons = [why for node, why in kept_float.items() if _is_part(node, layer)]
    if reasons:
        reason = reasons[0]
    elif layer["kind"] in _HAS_INTEGER_KERNEL:
        reason = "its inputs are not quantized"
    else:
        reason = f"the runtime computes '{layer['kind']}' in {layer['precision']} here"
    return Fallback(node=origins[0], op=layer["kind"], reason=reason)


def _is_part(name: str, layer: Layer) -> bool:
    """Whether operator `name` is in `layer`; rewritten parts are called `name/SUFFIX`.

    Layers that the runtime has put in (Reorder) come from no operator, whatever they are called.
    """
    return any(o == name or o.startswith(f"{name}/") for o in layer["origins"])


def _integer_share(
    layers: Sequence[Layer], integer: Sequence[bool], macs: Mapping[str, int]
) -> float | None:
    """Share of the multiply-accumulates; operators that no layer names count as float."""
    total = sum(macs.values())
    if total == 0:
        return None
    exact = {o: i for i, layer in enumerate(layers) for o in layer["origins"]}
    done = 0
    for name, count in macs.items():
        at = exact.get(name)
        if at is None:
            at = next((i for i, layer in enumerate(layers) if _is_part(name, layer)), None)
        if at is not None and integer[at]:
            done += count
    return round(done / total, 6)
