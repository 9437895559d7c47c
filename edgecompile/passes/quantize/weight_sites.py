"""Which constants of a model are weights, and along which axes they may be quantized.

Found by what reads them, never by name: initializers and Constant nodes, also inside subgraphs and
with several readers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from edgecompile.ir.facts import constant_tensor
from edgecompile.passes.graph.edit import graphs, int_attribute, is_onnx
from edgecompile.passes.quantize.operands import operands_of

RECURRENT = ("LSTM", "GRU", "RNN")


@dataclass(frozen=True, kw_only=True)
class Axes:
    """`channel`: axis with one scale per index, None for one scale in all. `inner`: the axis that
    is summed over (or, of a table, read along), which blocks may divide; None where they may not.
    """

    channel: int | None
    inner: int | None = None


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One input of one node that reads a weight."""

    node: ir.Node
    index: int
    axes: Axes


@dataclass(frozen=True, kw_only=True)
class WeightSite:
    """One constant and the nodes that read it as a weight.

    `others` counts uses that are no weight operands (an Add, say): they can read restored values.
    """

    value: ir.Value
    tensor: ir.TensorProtocol
    graph: ir.Graph
    readers: tuple[Reader, ...]
    others: int

    @property
    def axes(self) -> Axes:
        """The channel axis of the first reader; blocks only where all readers divide alike."""
        first, *rest = (reader.axes for reader in self.readers)
        if all(axes.inner == first.inner for axes in rest):
            return first
        return Axes(channel=first.channel)

    @property
    def name(self) -> str:
        """Name of the tensor."""
        return self.value.name or ""

    @property
    def operators(self) -> tuple[str, ...]:
        """The kinds of operators that read it."""
        return tuple(sorted({reader.node.op_type for reader in self.readers}))

    @property
    def is_table(self) -> bool:
        """Whether rows are looked up in it (an embedding) and nothing is multiplied with it."""
        return self.operators == ("Gather",)


def weight_sites(model: ir.Model) -> Iterator[WeightSite]:
    """Every weight of the graph and its subgraphs, in order of first use."""
    seen: set[ir.Value] = set()
    for graph in graphs(model):
        for node in graph:
            for index, value in enumerate(node.inputs):
                if value is None or value in seen or _axes(node, index) is None:
                    continue
                tensor = constant_tensor(value)
                owner = _owner(value)
                if tensor is None or owner is None or value.is_graph_output():
                    continue
                seen.add(value)
                yield _site(value, tensor, owner)


def smallest(sites: Sequence[WeightSite], model: ir.Model, share: float) -> set[str]:
    """Names of the smallest weights, as many as together hold `share` of the model's numbers."""
    room, names = share * _numbers(model), set()
    for site in sorted(sites, key=lambda site: (site.tensor.size, site.name)):
        room -= site.tensor.size
        if room < 0:
            break
        names.add(site.name)
    return names


def _numbers(model: ir.Model) -> int:
    """How many numbers all constants hold, before and after compression alike."""
    total = 0
    for graph in graphs(model):
        total += sum(v.const_value.size for v in graph.initializers.values() if v.const_value)
        for node in graph:
            tensor = constant_tensor(node.outputs[0]) if node.op_type == "Constant" else None
            total += 0 if tensor is None else tensor.size
            if node.op_type == "MatMulNBits":  # two numbers in a byte
                total += int_attribute(node, "K", 0) * int_attribute(node, "N", 0) // 2
    return total


def _site(value: ir.Value, tensor: ir.TensorProtocol, owner: ir.Graph) -> WeightSite:
    readers, others = [], 0
    for use in value.uses():
        axes = _axes(use.node, use.idx)
        if axes is None:
            others += 1
        else:
            readers.append(Reader(node=use.node, index=use.idx, axes=axes))
    return WeightSite(
        value=value, tensor=tensor, graph=owner, readers=tuple(readers), others=others
    )


def _owner(value: ir.Value) -> ir.Graph | None:
    """The graph that an initializer or a Constant node belongs to."""
    producer = value.producer()
    graph = value.graph if producer is None else producer.graph
    return graph if isinstance(graph, ir.Graph) else None


def _axes(node: ir.Node, index: int) -> Axes | None:
    """How `node` reads input `index`, or None when that is no weight operand."""
    if is_onnx(node, "Gather"):
        return _table_axes(node) if index == 0 else None
    if is_onnx(node, *RECURRENT):
        return Axes(channel=1) if index in (1, 2) else None
    if not is_onnx(node, "Conv", "ConvTranspose", "MatMul", "Gemm"):
        return None
    operands = operands_of(node)
    for weight in operands.weights if operands is not None else ():
        if weight.index == index:
            product = node.op_type in ("MatMul", "Gemm")
            return Axes(channel=weight.axis, inner=weight.inner if product else None)
    return None


def _table_axes(node: ir.Node) -> Axes | None:
    """A table is a matrix whose rows are looked up."""
    source = node.inputs[0]
    rank = None if source is None or source.shape is None else len(source.shape)
    if rank != 2 or int_attribute(node, "axis", 0) not in (0, -2):
        return None
    return Axes(channel=0, inner=1)
