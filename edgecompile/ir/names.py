"""New names that clash with none in a model, and are the same in every run."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir


class Names:
    """All names in use in one graph and its subgraphs; make one and ask it often.

    ONNX wants value names to be unique over a graph and everything nested in it, so give the
    model's main graph even when the new value goes into a subgraph. Node names share the pool.
    """

    def __init__(self, graph: ir.Graph) -> None:
        """Collect the names that `graph` and its subgraphs use."""
        self._used = set(_names(graph))
        self._next: dict[str, int] = {}

    def unique(self, stem: str) -> str:
        """`stem` if it is free, else `stem_1`, `stem_2`, ...; the name then counts as used."""
        name, number = stem, self._next.get(stem, 0)
        while not name or name in self._used:
            number += 1
            name = f"{stem}_{number}"
        self._next[stem] = number
        self._used.add(name)
        return name


def unique_name(graph: ir.Graph, stem: str) -> str:
    """A name that `graph` and its subgraphs do not use yet.

    Walks the whole graph: to make many names, use one `Names`.
    """
    return Names(graph).unique(stem)


def _names(graph: ir.Graph) -> Iterator[str]:
    for part in (graph, *graph.subgraphs()):
        yield from (value.name for value in part.inputs if value.name)
        yield from part.initializers
        for node in part:
            yield from (value.name for value in node.outputs if value.name)
            yield from (value.name for value in node.inputs if value is not None and value.name)
            if node.name:
                yield node.name
