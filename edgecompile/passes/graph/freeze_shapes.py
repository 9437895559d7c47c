"""`freeze_shapes`: give dynamic dimensions of the inputs a value, and infer all shapes anew."""

from __future__ import annotations

from typing import ClassVar

import onnx_ir as ir
from pydantic import Field, PositiveInt

from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue.check import DYNAMIC_SHAPE
from edgecompile.diagnostics.catalogue.emit import DIMENSION_FREE
from edgecompile.diagnostics.catalogue.graph import INPUT_UNKNOWN, SHAPE_CONFLICT, SHAPE_NOT_STATIC
from edgecompile.diagnostics.catalogue.tensorrt import SHAPE_OPEN
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Outcome, Pass
from edgecompile.passes.graph.edit import graphs, rewritten
from edgecompile.passes.graph.inference import inferred_shapes

Dims = tuple[int | str | None, ...]


class FreezeShapes(Pass):
    """Fix dynamic input dimensions, by symbol, by input, or the batch alone."""

    id: ClassVar[str] = "freeze_shapes"
    mends: ClassVar[frozenset[str]] = frozenset(
        {DYNAMIC_SHAPE.code, SHAPE_OPEN.code, DIMENSION_FREE.code}
    )
    facts: ClassVar[tuple[str, ...]] = ("static_shapes",)
    libraries: ClassVar[tuple[str, ...]] = ("onnx", "onnx-ir")

    dims: dict[str, PositiveInt] = Field(default_factory=dict)
    """Symbolic dimension -> value, such as `{N: 1, L: 128}`."""
    inputs: dict[str, tuple[PositiveInt, ...]] = Field(default_factory=dict)
    """Input name -> whole shape, such as `{image: [1, 3, 224, 224]}`."""
    batch: PositiveInt | None = 1
    """Value of a dynamic first dimension that the other options do not name; null leaves it."""

    def requires(self, model: Model, context: Context) -> list[Diagnostic]:
        """Names must exist, values must agree, and a static target wants every dimension."""
        problems = self._unknown(model)
        plan = _Plan(self, model)
        problems += plan.problems
        if context.target.static_shapes and not problems:
            for value in plan.inputs:
                shape = plan.resolved(value)
                if not all(isinstance(dim, int) for dim in shape):
                    where = Where(tensor=value.name)
                    problems.append(SHAPE_NOT_STATIC.at(where, name=value.name, shape=_text(shape)))
        return problems

    def _unknown(self, model: Model) -> list[Diagnostic]:
        inputs = {value.name for value in model.graph.graph.inputs}
        symbols = {dim for value in model.graph.graph.inputs for dim in _dims(value)}
        missing = [("input", name) for name in sorted(self.inputs) if name not in inputs]
        missing += [("dimension", name) for name in sorted(self.dims) if name not in symbols]
        return [INPUT_UNKNOWN.at(kind=kind, name=name) for kind, name in missing]

    def run(self, model: Model, context: Context) -> Outcome:
        """A symbol that got a value has it everywhere; all other shapes are inferred from that."""

        def freeze(graph: ir.Model) -> None:
            plan = _Plan(self, Model(graph=graph, origin=model.origin))
            for value in plan.inputs:
                value.shape = ir.Shape(plan.resolved(value))
            if plan.symbols:
                _substitute(graph, plan.symbols)
            with inferred_shapes(graph, keep_outputs=False):
                pass

        return rewritten(model, freeze)


class _Plan:
    """What every symbol becomes, and where the options contradict the model or each other."""

    def __init__(self, options: FreezeShapes, model: Model) -> None:
        self.options = options
        self.problems: list[Diagnostic] = []
        self.symbols: dict[str, int] = dict(options.dims)
        graph = model.graph.graph
        self.inputs = [
            value
            for value in graph.inputs
            if value.name not in graph.initializers and isinstance(value.type, ir.TensorType)
        ]
        for value in self.inputs:
            if value.name in options.inputs:
                self._bind(value, options.inputs[value.name])
        if options.batch is not None:
            for value in self.inputs:
                first = next(iter(_dims(value)), None)
                if isinstance(first, str) and value.name not in options.inputs:
                    self.symbols.setdefault(first, options.batch)

    def _bind(self, value: ir.Value, wanted: tuple[int, ...]) -> None:
        declared = _dims(value)
        if value.shape is None:
            return
        if len(wanted) != len(declared):
            self._conflict(value, wanted, f"it has {len(declared)} dimensions")
            return
        for dim, number in zip(declared, wanted, strict=True):
            if isinstance(dim, int) and dim != number:
                self._conflict(value, wanted, f"dimension {dim} is fixed")
            elif isinstance(dim, str) and self.symbols.setdefault(dim, number) != number:
                self._conflict(value, wanted, f"'{dim}' is {self.symbols[dim]} elsewhere")

    def _conflict(self, value: ir.Value, wanted: tuple[int, ...], problem: str) -> None:
        self.problems.append(
            SHAPE_CONFLICT.at(
                Where(tensor=value.name),
                name=value.name,
                declared=_text(_dims(value)),
                wanted=_text(wanted),
                problem=problem,
            )
        )

    def resolved(self, value: ir.Value) -> Dims:
        """The shape of an input with everything filled in that is known."""
        if value.name in self.options.inputs:
            return self.options.inputs[value.name]
        shape = tuple(
            self.symbols.get(dim, dim) if isinstance(dim, str) else dim for dim in _dims(value)
        )
        if shape and shape[0] is None and self.options.batch is not None:
            return (self.options.batch, *shape[1:])
        return shape


def _dims(value: ir.Value) -> Dims:
    """Numbers, symbols, and None for what is not known at all."""
    return tuple(
        dim if isinstance(dim, int) else dim.value
        for dim in (() if value.shape is None else value.shape)
    )


def _text(shape: Dims) -> str:
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in shape) + "]"


def _substitute(graph: ir.Model, symbols: dict[str, int]) -> None:
    for part in graphs(graph):
        values = [output for node in part for output in node.outputs]
        for value in [*part.inputs, *values]:
            if value.shape is not None and any(dim in symbols for dim in _dims(value)):
                value.shape = ir.Shape(
                    symbols.get(dim, dim) if isinstance(dim, str) else dim for dim in _dims(value)
                )
