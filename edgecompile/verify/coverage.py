"""How much of an artifact runs in integers, and why the rest does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from edgecompile.artifacts.types import Coverage, Fallback
from edgecompile.verify.runtimes.base import Account, Nodes

_PRECISIONS = {
    "u8": "int8",
    "i8": "int8",
    "u4": "int4",
    "i4": "int4",
    "nf4": "int4",
    "f8e4m3": "fp8",
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
    macs: Mapping[str, int | None],
    kept_float: Mapping[str, str],
    nodes: Nodes,
) -> Account:
    """Judge executed `layers` (name, kind, precision, origins: names of fused operators).

    `macs` maps operator names to multiply-accumulates, None where they cannot be told;
    `kept_float` node names to the reason why the passes left them in float. An artifact without
    any integer layer is a float artifact: all of it counts as accelerated, and nothing fell back.
    """
    layers = [_renamed(layer, nodes.makers) for layer in layers]
    macs = {name.removesuffix(_BIASLESS): count for name, count in macs.items()}
    precisions = [_precision(layer) for layer in layers]
    integer = [precision in _INTEGER for precision in precisions]
    counts = Counter(precisions)
    fallback: list[Fallback] = []
    if any(integer):
        done = [layer for layer, whole in zip(layers, integer, strict=True) if whole]
        rest = [layer for layer, whole in zip(layers, integer, strict=True) if not whole]
        kept = _kept(kept_float, nodes.operators, done)
        fallback = [*kept, *(_fallback(x) for x in rest if _works(x, macs) and not _told(x, kept))]
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


def _works(layer: Layer, macs: Mapping[str, int | None]) -> bool:
    return layer["kind"] in _ARITHMETIC or any(_is_part(name, layer) for name in macs)


def _kept(
    kept_float: Mapping[str, str], operators: Mapping[str, str], done: Sequence[Layer]
) -> list[Fallback]:
    """The nodes of the model that passes left in float, without those that run in integers yet:
    a bias, for one, is added inside the kernel of the product before it.

    The runtime may fuse several of them into one layer under the name of another.
    """
    return [
        Fallback(node=node, op=operators[node], reason=reason)
        for node, reason in kept_float.items()
        if node in operators and not any(_is_part(node, layer) for layer in done)
    ]


def _told(layer: Layer, kept: Sequence[Fallback]) -> bool:
    return any(_is_part(fallback.node, layer) for fallback in kept)


def _fallback(layer: Layer) -> Fallback:
    origins = layer["origins"] or [layer["name"]]
    if layer["kind"] in _HAS_INTEGER_KERNEL:
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
    layers: Sequence[Layer], integer: Sequence[bool], macs: Mapping[str, int | None]
) -> float | None:
    """Share of the multiply-accumulates; operators that no layer names count as float.

    None when some cannot be told: a share of the rest would be a guess.
    """
    counts = {name: count for name, count in macs.items() if count is not None}
    total = sum(counts.values())
    if total == 0 or len(counts) < len(macs):
        return None
    exact = {o: i for i, layer in enumerate(layers) for o in layer["origins"]}
    done = 0
    for name, count in counts.items():
        at = exact.get(name)
        if at is None:
            at = next((i for i, layer in enumerate(layers) if _is_part(name, layer)), None)
        if at is not None and integer[at]:
            done += count
    return round(done / total, 6)
