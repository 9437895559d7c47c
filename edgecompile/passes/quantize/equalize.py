"""`equalize`: even out the channels between two layers, so that one scale fits all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from edgecompile.ir.model import Model
from edgecompile.ir.names import Names
from edgecompile.passes.base import Context, NoteBook, Outcome, Pass, unchanged
from edgecompile.passes.quantize.channel_scale import (
    Division,
    Layer,
    Scales,
    division,
    layer_of,
    scale_inputs,
)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two layers with only operators between them that let positive scales pass."""

    second: Layer
    division: Division

    @property
    def first(self) -> Layer:
        """The layer that makes the second's input."""
        assert self.division.layer is not None
        return self.division.layer


class Equalize(Pass):
    """Cross-layer equalization of Conv, Gemm and MatMul pairs; needs no data.

    Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
    section 4.1. Pairs with Relu, LeakyRelu, PRelu, pooling or nothing between them; a Clip (Relu6)
    stays where it is, and its pair as it was: scales move what it cuts off.
    """

    id: ClassVar[str] = "equalize"
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "onnx-ir")

    rounds: Annotated[int, Field(ge=1)] = 10
    """Passes over all pairs at most: a layer is in two pairs, and the second disturbs the first."""
    tolerance: Annotated[float, Field(gt=0)] = 0.01
    """Done when no scale of a round differs from 1 by more than this."""
    largest: Annotated[float, Field(gt=1)] = 1e3
    """Keep scales between 1 / `largest` and this."""

    def run(self, model: Model, context: Context) -> Outcome:
        """Equalize every pair until the scales settle."""
        del context
        book, result = NoteBook(), model.clone()
        pairs = list(_pairs(result, book))
        scales = self._settled(pairs)
        names, count = Names(result.graph.graph), 0
        for pair, found in zip(pairs, scales, strict=True):
            if np.abs(np.log(found)).max() > np.log1p(self.tolerance):
                scale_inputs(pair.second, found, names)
                pair.division.apply(found, names)
                count += 1
        if not count:
            return unchanged(model, book.notes)
        book.fail(f"{count} pairs of layers equalized")
        return Outcome(model=result, changed=True, notes=book.notes)

    def _settled(self, pairs: Sequence[Pair]) -> list[Scales]:
        """The scales of each pair, found on copies of the weights."""
        layers = {layer.node: layer for pair in pairs for layer in (pair.first, pair.second)}
        total = [np.ones(pair.second.channels) for pair in pairs]
        for _ in range(self.rounds):
            moved = 0.0
            for number, pair in enumerate(pairs):
                first, second = layers[pair.first.node], layers[pair.second.node]
                wanted = total[number] * balance(first.output_reach(), second.input_reach())
                wanted = np.clip(wanted, 1 / self.largest, self.largest)
                step, total[number] = wanted / total[number], wanted
                layers[first.node] = _with(first, first.times_output(1 / step))
                layers[second.node] = _with(second, second.times_input(step))
                moved = max(moved, float(np.abs(np.log(step)).max()))
            if moved <= np.log1p(self.tolerance):
                break
        return total


def balance(first: Scales, second: Scales) -> Scales:
    """s with first / s = second s, for the largest weights of each channel in both layers.

    Equation 11 of the paper, section 4.1. Channels that are zero in either layer keep 1.
    """
    live = (first > 0) & (second > 0)
    scales: Scales = np.sqrt(np.where(live, first, 1.0) / np.where(live, second, 1.0))
    return scales


def _with(layer: Layer, weights: Scales) -> Layer:
    return Layer(node=layer.node, weights=weights.astype(np.float32))


def _pairs(model: Model, book: NoteBook) -> Iterator[Pair]:
    """Pairs of the main graph, by their second layer; others get a note with the reason."""
    for node in model.graph.graph:
        layer, source = layer_of(node), node.inputs[0] if node.inputs else None
        if layer is None or source is None or source.producer() is None:
            continue
        way: Division | str = division(source, [node], layer.channel_axis, layer.channels)
        if isinstance(way, Division) and way.layer is None:
            way = f"{way.end} makes its input, not a layer"
        if isinstance(way, str):
            book.fail(f"not equalized: {way}", node.name, op_type=node.op_type)
            continue
        yield Pair(second=layer, division=way)
