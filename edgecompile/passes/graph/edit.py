"""Small, safe graph surgery that the graph and fusion passes share.

Everything here keeps the names of graph inputs and outputs, and derives new names from old ones,
so that the same model always gives the same result.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecompile.ir.facts import constant_array
from edgecompile.ir.model import Model
from edgecompile.ir.names import Names
from edgecompile.passes.base import Note, Outcome, unchanged

Array = npt.NDArray[np.generic]


def rewritten(
    model: Model, edit: Callable[[ir.Model], None], notes: Sequence[Note] = ()
) -> Outcome:
    """The outcome of `edit` on a copy of `model`; `changed` is decided by the digests.

    `notes` is read after the edit, so the list may be filled by it.
    """
    copy = model.clone()
    edit(copy.graph)
    if copy.digest == model.digest:
        return unchanged(model, tuple(notes))
    return Outcome(model=copy, changed=True, notes=tuple(notes))


def is_onnx(node: ir.Node, *op_types: str) -> bool:
    """Whether `node` is one of the standard operators named."""
    return node.op_type in op_types and not node.domain


def int_attribute(node: ir.Node, name: str, default: int) -> int:
    """An integer attribute, or `default` where it is absent or a reference."""
    attribute = node.attributes.get(name)
    return default if attribute is None or attribute.is_ref() else attribute.as_int()


def float_attribute(node: ir.Node, name: str, default: float) -> float:
    """A float attribute, or `default` where it is absent or a reference."""
    attribute = node.attributes.get(name)
    return default if attribute is None or attribute.is_ref() else attribute.as_float()


def string_attribute(node: ir.Node, name: str, default: str) -> str:
    """A string attribute, or `default` where it is absent or a reference."""
    attribute = node.attributes.get(name)
    return default if attribute is None or attribute.is_ref() else attribute.as_string()


def ints_attribute(node: ir.Node, name: str, default: Sequence[int]) -> tuple[int, ...]:
    """A list attribute as a tuple, or `default` where it is absent or a reference."""
    attribute = node.attributes.get(name)
    if attribute is None or attribute.is_ref():
        return tuple(default)
    return tuple(int(i) for i in attribute.as_ints())


def input_at(node: ir.Node, index: int) -> ir.Value | None:
    """Input `index` of `node`; None where it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def constant_at(node: ir.Node, index: int) -> Array | None:
    """The constant that input `index` holds; None where it is absent or computed."""
    return constant_array(input_at(node, index))


def only_consumer(value: ir.Value) -> ir.Node | None:
    """The one node that uses `value` once; None for graph outputs and for several uses."""
    uses = value.uses()
    if value.is_graph_output() or len(uses) != 1:
        return None
    (use,) = uses
    return use.node


def graphs(model: ir.Model) -> Iterator[ir.Graph]:
    """The main graph and every subgraph; functions are not visited."""
    yield model.graph
    yield from model.graph.subgraphs()


def graph_of(node: ir.Node) -> ir.Graph:
    """The graph that holds `node`. Raises `TypeError` for a detached node or a function body."""
    if not isinstance(node.graph, ir.Graph):
        raise TypeError(f"node '{node.name}' is not in a graph")
    return node.graph


def earliest(graph: ir.Graph, nodes: Iterable[ir.Node]) -> ir.Node:
    """The one of `nodes` that comes first in `graph`, which holds them all."""
    wanted = set(nodes)
    return next(iter(wanted)) if len(wanted) == 1 else next(n for n in graph if n in wanted)


def add_constant(graph: ir.Graph, array: Array, stem: str, names: Names | None = None) -> ir.Value:
    """A new initializer that holds `array`, named after `stem`. Give `names` when adding many."""
    name = (names or Names(graph)).unique(stem)
    tensor = ir.Tensor(np.asarray(array, order="C"), name=name)
    value = ir.Value(
        name=name,
        shape=ir.Shape(tensor.shape),
        type=ir.TensorType(tensor.dtype),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def replace_node(last: ir.Node, new: ir.Node) -> None:
    """Put `new` where `last` is: it takes over the names, types and uses of its outputs."""
    for old, value in zip(last.outputs, new.outputs, strict=True):
        hand_over(old, value)
    ir.convenience.replace_nodes_and_values(
        graph_of(last), last, [last], [new], last.outputs, new.outputs
    )


def hand_over(old: ir.Value, new: ir.Value) -> None:
    """Give `new` what is written on `old`, besides its name, type and shape."""
    new.doc_string = old.doc_string
    new.metadata_props.update(old.metadata_props)
    new.meta.update(old.meta)


def remove_unread(graph: ir.Graph, value: ir.Value | None) -> None:
    """Remove a constant (an initializer, or a node that makes it) that nobody reads any more."""
    if value is None or value.uses() or value.is_graph_output():
        return
    producer = value.producer()
    if producer is not None:
        graph.remove(producer, safe=True)
    elif value.is_initializer() and not value.is_graph_input():
        graph.initializers.pop(value.name or "")


def bypass(node: ir.Node, source: ir.Value) -> bool:
    """Let users of the first output of `node` read `source`, and remove `node`.

    False, and nothing done, where that would rename a graph input or output.
    """
    output, graph = node.outputs[0], graph_of(node)
    if any(other.uses() or other.is_graph_output() for other in node.outputs[1:]):
        return False
    if output.is_graph_output():
        producer = source.producer()
        if producer is None or producer.graph is not graph or source.is_graph_output():
            return False
        name, shape, kind = output.name, output.shape, output.type
        output.replace_all_uses_with(source, replace_graph_outputs=True)
        graph.remove(node, safe=True)
        # a tensor remembered here may be shared with other models, and must keep its name
        source.const_value = None
        source.name = name
        source.shape = shape if shape is not None else source.shape
        source.type = kind if kind is not None else source.type
        return True
    if source.type is None:
        source.type = output.type
    if source.shape is None:
        source.shape = output.shape
    output.replace_all_uses_with(source)
    graph.remove(node, safe=True)
    return True


def prune(*nodes: ir.Node) -> None:
    """Remove those of `nodes` whose results nobody uses, and what then is dead before them."""
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if node.graph is None or any(v.uses() or v.is_graph_output() for v in node.outputs):
            continue
        sources = [value.producer() for value in node.inputs if value is not None]
        node.graph.remove(node, safe=True)
        todo += [source for source in sources if source is not None]


@contextlib.contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Keep libraries that log what they skip off the terminal; numpy warnings of folds too."""
    before = {name: logging.getLogger(name).level for name in loggers}
    for name in loggers:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def hidden(nodes: Sequence[ir.Node]) -> Iterator[None]:
    """Keep a library away from nodes that it would get wrong, behind a domain of our own."""
    for node in nodes:
        node.domain = "edgecompile.hidden"
    try:
        yield
    finally:
        for node in nodes:
            node.domain = ""
