"""`drop_islands`: take integers back where converting to them costs more than they save.

An island is a set of quantized operators that hand integers to each other; its shores are the
tensors that somebody in float computes and that are quantized for it. What an operator inside
gives is quantized in the operator's own kernel, for nothing. An island is worth its conversions
where its multiply-accumulates save more time on the target than rounding its shores takes (the
cost model is that of roofline analysis, S. Williams et al., CACM 52(4), 2009, with conversions in
the place of memory). Accuracy can only gain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import onnx_ir as ir
from pydantic import Field

from edgecompile.diagnostics import Diagnostic
from edgecompile.diagnostics.catalogue import quantize as rules
from edgecompile.diagnostics.core import Where
from edgecompile.ir.model import Model
from edgecompile.ir.qdq import MOVERS
from edgecompile.passes.base import Context, Need, Note, Outcome, Pass, unchanged
from edgecompile.passes.quantize.layers import Layer, Pairing, pair
from edgecompile.passes.quantize.operands import ELEMENTWISE
from edgecompile.passes.quantize.raising import raise_layers
from edgecompile.passes.quantize.timing import CONVERSION, Rates, elements, rates_of, work
from edgecompile.targets.schema import QdqStyle, Target


@dataclass(eq=False)
class Island:
    """Layers that hand integers to each other."""

    layers: list[Layer] = field(default_factory=list)
    shores: dict[str, int] = field(default_factory=dict)
    """Tensor that is quantized for it -> its numbers in one sample."""
    known: bool = True
    """Whether all of that could be told."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one sample."""
        return sum(work(layer.original) for layer in self.layers)

    @property
    def cost(self) -> float:
        """Time of its conversions, see `timing`."""
        return CONVERSION * sum(self.shores.values())


class DropIslands(Pass):
    """Take islands of integers to float whose conversions cost clearly more than they save.

    By the target's rates (`edgecompile targets T`); where no fact tells them, only islands without
    multiply-accumulates go. In whole-graph styles nothing goes; a warning tells where conversions
    cost more than integers save.
    """

    id: ClassVar[str] = "drop_islands"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.REFERENCE})
    facts: ClassVar[tuple[str, ...]] = ("hardware", "precisions", "quantization")
    lossy: ClassVar[bool] = True
    raises: ClassVar[bool] = True

    clear: Annotated[float, Field(gt=0)] = 2.0
    """An island goes where its conversions cost this many times as much as it saves."""

    def ensures(self, before: Model, after: Model, context: Context) -> list[Diagnostic]:
        """A warning where what is left in integers costs more than it saves, in any style."""
        reference, style = context.reference, context.target.quantization
        if reference is None or style is None or not _floats(context.target):
            return []
        found = islands(pair(after, reference), style)
        cost, rates = sum(island.cost for island in found), rates_of(context.target.hardware)
        saved = rates.saved(sum(island.macs for island in found))
        if saved is None or cost <= saved or not all(island.known for island in found):
            return []
        told = rules.INTEGERS_DO_NOT_PAY.at(
            Where(step=self.id),
            ratio=cost / max(saved, 1.0),
            target=context.target.id,
            islands=len(found),
        )
        return [told]

    def run(self, model: Model, context: Context) -> Outcome:
        """Drop what is not worth it, but never all that is in integers."""
        reference, style = context.reference, context.target.quantization
        if reference is None or style is None or style.outputs or not _floats(context.target):
            return unchanged(model)
        pairing = pair(model, reference)
        found = islands(pairing, style)
        rates = rates_of(context.target.hardware)
        dropped = [island for island in found if self._costs_more(island, rates)]
        if not dropped:
            return unchanged(model)
        if len(dropped) == len(found):
            text = "no part of the model saves more in integers than its conversions cost"
            return unchanged(model, [Note(message=f"{text}: a float recipe may be faster")])
        layers = [layer for island in dropped for layer in island.layers]
        notes = [note for island in dropped for note in _notes(island, rates)]
        return Outcome(model=raise_layers(model, layers, pairing), changed=True, notes=notes)

    def _costs_more(self, island: Island, rates: Rates) -> bool:
        """Whether the evidence is clear."""
        saved = rates.saved(island.macs) if island.macs else 0.0
        return island.known and saved is not None and island.cost > self.clear * saved


def islands(pairing: Pairing, style: QdqStyle) -> list[Island]:
    """The islands of a quantized model, in the order of the graph."""
    fused = {*ELEMENTWISE, *style.fused_activations}
    at: dict[str, Island] = {}
    for layer in pairing.layers:
        island = Island(layers=[layer])
        for source in _quantized(layer.quantized):
            makers = {at[name] for name in _made_by(source, at, fused)}
            if not makers:
                count = elements(source)
                island.known &= count is not None
                island.shores[source.name or ""] = count or 0
            island = _merged(island, makers)
        at |= {other.output: island for other in island.layers}
    for name, readers in _readers({id(i): i for i in at.values()}.values()).items():
        for island in readers if len(readers) > 1 else ():
            del island.shores[name]  # another one pays for it anyway
    return list(dict.fromkeys(at.values()))


def _merged(island: Island, others: Iterable[Island]) -> Island:
    for other in others:
        if other is not island:
            joined = [*other.layers, *(x for x in island.layers if x not in other.layers)]
            shores = other.shores | island.shores
            island = Island(layers=joined, shores=shores, known=other.known and island.known)
    return island


def _readers(found: Iterable[Island]) -> Mapping[str, list[Island]]:
    readers: dict[str, list[Island]] = {}
    for island in found:
        for name in island.shores:
            readers.setdefault(name, []).append(island)
    return readers


def _quantized(node: ir.Node) -> Iterator[ir.Value]:
    """What is rounded for the inputs of `node`: sources of QuantizeLinear before them."""
    for value in node.inputs:
        maker = None if value is None else value.producer()
        while maker is not None and maker.op_type in {*MOVERS, "DequantizeLinear"}:
            first = maker.inputs[0]
            maker = None if first is None else first.producer()
        if maker is not None and maker.op_type == "QuantizeLinear" and maker.inputs[0] is not None:
            yield maker.inputs[0]


def _made_by(source: ir.Value, at: Mapping[str, Island], fused: Iterable[str]) -> list[str]:
    """Layers whose kernels can round `source`, through what the runtime fuses into them."""
    pending, seen, found = [source], set[ir.Value](), []
    while pending:
        value = pending.pop()
        maker = value.producer()
        if value in seen or maker is None:
            continue
        seen.add(value)
        if value.name in at:
            found.append(value.name or "")
        elif maker.op_type in fused or maker.op_type in MOVERS:
            pending += [other for other in maker.inputs if other is not None]
    return found


def _floats(target: Target) -> bool:
    """Whether a unit that computes in integers computes in float too."""
    units = (set(unit) for unit in target.precisions.values())
    return any("int8" in unit and {"fp16", "bf16", "fp32"} & unit for unit in units)


def _notes(island: Island, rates: Rates) -> Iterator[Note]:
    numbers = sum(island.shores.values())
    saved = f" and saves {rates.int8:.3g} to 1 on {island.macs:,} products" if island.macs else ""
    text = f"not worth it in integers: an island of {len(island.layers)} that rounds {numbers:,} "
    for layer in island.layers:
        yield Note(
            message=f"{text}numbers{saved or ' and multiplies none'}",
            node=layer.name,
            op_type=layer.original.op_type,
            kept_float=True,
        )
