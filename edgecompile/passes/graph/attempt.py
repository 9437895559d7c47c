"""Let a library work on a copy, and take its result only if it does not give up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import onnx_ir as ir

from edgecompile.diagnostics import Where
from edgecompile.diagnostics.catalogue.graph import LIBRARY_GAVE_UP
from edgecompile.passes.base import NoteBook

T = TypeVar("T")


def attempt(
    graph: ir.Model,
    work: Callable[[ir.Model], T],
    *,
    library: str,
    known: tuple[type[Exception], ...],
    book: NoteBook,
) -> T | None:
    """What `work` returns, with what it made in `graph`; None, and nothing done, if it gave up.

    `known` are the exceptions that the library is known to raise on models that it cannot handle.
    """
    copy = graph.clone()
    try:
        result = work(copy)
    except known as error:
        cause = error.__cause__ or error
        problem = f"{type(cause).__name__}: {cause}".splitlines()[0]
        told = LIBRARY_GAVE_UP.at(Where(), library=library, problem=problem)
        book.fail(f"{told.code}: {told.message}")
        return None
    graph.graph = copy.graph
    graph.functions.clear()
    graph.functions.update(copy.functions)
    return result


def inline_functions(graph: ir.Model, book: NoteBook) -> bool:
    """Replace calls of model-local functions by their bodies; False where that is not possible."""
    from onnx_ir.passes import PreconditionError, common

    done = attempt(
        graph,
        common.InlinePass(),
        library="onnx_ir's inliner",
        # functions that call themselves, or are written for another opset than the model
        known=(PreconditionError, ValueError),
        book=book,
    )
    return done is not None
