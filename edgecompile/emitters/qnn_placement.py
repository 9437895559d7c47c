"""Which nodes the processor takes, which stay on the CPU, and the vendor's reasons in plain words.

The account comes from two sources that must agree: what the compiled wrapper leaves outside of its
contexts, and the provider's trace of the nodes that it refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from edgecompile.artifacts.types import Coverage, Fallback
from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue.qnn import LEFT_TO_CPU
from edgecompile.emitters.qnn_support import (
    PRODUCTS,
    QUANTIZERS,
    arithmetic_of,
    is_work,
    names_of,
    shown,
)
from edgecompile.ir.facts import macs
from edgecompile.ir.model import Model
from edgecompile.targets.schema import Qnn

NPU = "npu"
_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
_TOKEN = re.compile(r"_token_\d+$")
"""What the provider appends to a node that its layout change has rebuilt."""
_REASONS = (
    (r"Operators of type `(\w+)` are not supported", r"the compiler has no operator \1"),
    (r"Failed to add node", "the compiler does not take this form of it, and does not say why"),
    (r"not take Q nodes that consume a graph input", "inputs are quantized outside, as asked for"),
    (r"not take DQ nodes that generate a graph output", "outputs are left quantized, as asked for"),
    (r"output shape must be static", "the shape of its output depends on the data"),
    (r"dynamic shape|[Uu]nknown shape", "one of its shapes is not fixed"),
    (r"alidateOpConfig|error code:? ?3110", "the processor refuses this form of it"),
)
"""The vendor's message -> what it means. The first that fits is taken."""


def translated(reason: str) -> str:
    """The vendor's `reason` in plain words; most of its texts are, and are only cited."""
    text = " ".join(reason.split())
    for pattern, meaning in _REASONS:
        match = re.search(pattern, text)
        if match:
            return match.expand(meaning)
    return f"QNN: {_short(text)}" if text else "the compiler gives no reason"


def fallbacks(
    others: Sequence[Mapping[str, str]], left_out: Sequence[Mapping[str, str]]
) -> list[Fallback]:
    """The nodes outside of every context (`others`), with the reasons in `left_out`."""
    reasons = {_plain(entry["node"]): entry["reason"] for entry in left_out}
    found = [
        Fallback(
            node=_plain(other["node"]),
            op=other["op"],
            reason=translated(reasons.get(_plain(other["node"]), "")),
        )
        for other in others
    ]
    # The pairs around a node go where it goes.
    return [one for one in found if one.op not in QUANTIZERS] or found


def beside_the_dsp(model: Model, facts: Qnn) -> list[Fallback]:
    """What SNPE leaves to its CPU runtime beside a DSP: float, and tensors of too many dimensions.

    From the facts of the DSP, since nothing here asks it. With fallback to the CPU enabled, SNPE
    partitions a DLC between layers that the DSP takes and the rest ("Snapdragon NPE Runtime" in
    Qualcomm's reference guide). Empty for other processors.
    """
    found = []
    work = [node for node in model.graph.graph if is_work(node)] if facts.backend == "dsp" else []
    for node, name in zip(work, names_of(work), strict=True):
        ranks = [len(v.shape) for v in (*node.inputs, *node.outputs) if v is not None and v.shape]
        reason = ""
        if max(ranks, default=0) > facts.max_rank:
            reason = f"the DSP takes up to {facts.max_rank} dimensions"
        elif node.outputs[0].dtype in _FLOATS and arithmetic_of(node) == "fp16":
            reason = "the DSP computes in integers only"
        if reason:
            found.append(Fallback(node=name, op=node.op_type, reason=reason))
    return found


def coverage(model: Model, elsewhere: Sequence[Fallback]) -> Coverage:
    """Of the nodes of `model` that compute, those that are not `elsewhere` run on the processor."""
    work = [node for node in model.graph.graph if is_work(node)]
    outside = {fallback.node for fallback in elsewhere}
    names = names_of(work)
    inside = [node for node, name in zip(work, names, strict=True) if name not in outside]
    precisions = Counter(map(arithmetic_of, inside))
    precisions["fp32"] += len(work) - len(inside)
    counted = {name: macs(node) for node, name in zip(work, names, strict=True)}
    unknown = any(
        node.op_type in PRODUCTS and counted[name] is None
        for node, name in zip(work, names, strict=True)
    )
    total = sum(count or 0 for count in counted.values())
    done = sum(count or 0 for name, count in counted.items() if name not in outside)
    return Coverage(
        nodes=len(work),
        accelerated=len(inside),
        fallback=tuple(elsewhere),
        precision={name: count for name, count in sorted(precisions.items()) if count},
        unit=NPU,
        accelerated_macs=None if unknown or not total else round(done / total, 6),
    )


def remarks(elsewhere: Sequence[Fallback]) -> list[Diagnostic]:
    """One warning per operator and reason."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in elsewhere:
        groups.setdefault((one.op, one.reason), []).append(one.node)
    return [
        LEFT_TO_CPU.at(Where(node=names[0]), op=op, nodes=shown(names), reason=reason)
        for (op, reason), names in groups.items()
    ]


def _plain(name: str) -> str:
    return _TOKEN.sub("", name)


def _short(text: str, limit: int = 160) -> str:
    return text if len(text) <= limit else f"{text[:limit]} ..."
