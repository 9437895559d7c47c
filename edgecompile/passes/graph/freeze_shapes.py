"""`freeze_shapes`: give dynamic dimensions of the inputs a value, and infer all shapes anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import onnx_ir as ir
from pydantic import Field, PositiveInt

from edgecompile.diagnostics import Diagnostic, EdgecompileError, Where
from edgecompile.diagnostics.catalogue.check import DYNAMIC_SHAPE
from edgecompile.diagnostics.catalogue.emit import DIMENSION_FREE, SYMBOL_UNBOUND
from edgecompile.diagnostics.catalogue.graph import INPUT_UNKNOWN, SHAPE_CONFLICT, SHAPE_NOT_STATIC
from edgecompile.diagnostics.catalogue.tensorrt import SHAPE_OPEN
from edgecompile.ir.facts import TensorSpec, tensor_inputs
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Outcome, Pass
from edgecompile.passes.graph.edit import graphs, rewritten
from edgecompile.passes.graph.inference import inferred_shapes

Dims = tuple[int | str | None, ...]


class FreezeShapes(Pass):
    """Fix dynamic input dimensions, by symbol, by input, or the batch alone."""

    id: ClassVar[str] = "freeze_shapes"
    mends: ClassVar[frozenset[str]] = frozenset(
        {DYNAMIC_SHAPE.code, SHAPE_OPEN.code, DIMENSION_FREE.code, SYMBOL_UNBOUND.code}
    )
    facts: ClassVar[tuple[str, ...]] = ("static_shapes",)
    libraries: ClassVar[tuple[str, ...]] = ("onnx", "onnx-ir")

    dims: dict[str, PositiveInt] = Field(default_factory=dict)
    """Symbolic dimension -> value, such as `{N: 1, L: 128}`."""
    inputs: dict[str, tuple[PositiveInt, ...]] = Field(default_factory=dict)
    """Input name -> whole shape, such as `{image: [1, 3, 224, 224]}`."""
    batch: PositiveInt | None = 1
    """Value of a dynamic first dimension that the other options do not name; null leaves it."""

    def takes_away(self, problem: Diagnostic, model: Model) -> bool:
        """Only of inputs that have no open dimension afterwards.

        An open batch alone is no problem to formats that take symbols.
        """
        if problem.code not in self.mends:
            return False
        frozen = {spec.name: spec for spec in self.inputs_after(tensor_inputs(model))}
        spec = frozen.get(problem.where.tensor or "")
        if spec is None or not spec.ranked:
            return False
        sides = spec.shape if problem.code == DYNAMIC_SHAPE.code else spec.shape[1:]
        return all(isinstance(dim, int) for dim in sides)

    def inputs_after(self, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
        """The inputs with the values that these options give to their dimensions.

        Raises EC-423 for names that the model does not have, EC-424 for values that contradict it.
        """
        problems = self._contradictions(inputs)
        if problems:
            raise EdgecompileError(tuple(problems), SHAPE_CONFLICT.exit_code)
        plan = _Plan(self, inputs)
        return tuple(
            replace(spec, shape=plan.resolved(spec), ranked=spec.ranked or plan.names(spec))
            for spec in inputs
        )

    def requires(self, model: Model, context: Context) -> list[Diagnostic]:
        """Names must exist, values must agree, and a static target wants every dimension."""
        inputs = tensor_inputs(model)
        problems = self._contradictions(inputs)
        if context.target.static_shapes and not problems:
            for spec in self.inputs_after(inputs):
                if not all(isinstance(dim, int) for dim in spec.shape):
                    where, shape = Where(tensor=spec.name), _text(spec.shape)
                    problems.append(SHAPE_NOT_STATIC.at(where, name=spec.name, shape=shape))
        return problems

    def _contradictions(self, inputs: Sequence[TensorSpec]) -> list[Diagnostic]:
        names = {spec.name for spec in inputs}
        symbols = {dim for spec in inputs for dim in spec.shape}
        missing = [("input", name) for name in sorted(self.inputs) if name not in names]
        missing += [("dimension", name) for name in sorted(self.dims) if name not in symbols]
        unknown = [INPUT_UNKNOWN.at(kind=kind, name=name) for kind, name in missing]
        return unknown + _Plan(self, inputs).problems

    def run(self, model: Model, context: Context) -> Outcome:
        """A symbol that got a value has it everywhere; all other shapes are inferred from that."""

        def freeze(graph: ir.Model) -> None:
            specs = {spec.name: spec for spec in tensor_inputs(model)}
            plan = _Plan(self, tuple(specs.values()))
            for value in graph.graph.inputs:
                if value.name in specs and (specs[value.name].ranked or value.name in self.inputs):
                    value.shape = ir.Shape(plan.resolved(specs[value.name]))
            if plan.symbols:
                _substitute(graph, plan.symbols)
            with inferred_shapes(graph, keep_outputs=False):
                pass

        return rewritten(model, freeze)


class _Plan:
    """What every symbol becomes, and where the options contradict the model or each other."""

    def __init__(self, options: FreezeShapes, inputs: Sequence[TensorSpec]) -> None:
        self.options = options
        self.problems: list[Diagnostic] = []
        self.symbols: dict[str, int] = dict(options.dims)
        for spec in inputs:
            if self.names(spec):
                self._bind(spec, options.inputs[spec.name])
        if options.batch is not None:
            for spec in inputs:
                first = next(iter(spec.shape), None)
                if isinstance(first, str) and not self.names(spec):
                    self.symbols.setdefault(first, options.batch)

    def names(self, spec: TensorSpec) -> bool:
        """Whether the options give the whole shape of this input."""
        return spec.name in self.options.inputs

    def _bind(self, spec: TensorSpec, wanted: tuple[int, ...]) -> None:
        if not spec.ranked:
            return
        if len(wanted) != len(spec.shape):
            self._conflict(spec, wanted, f"it has {len(spec.shape)} dimensions")
            return
        for dim, number in zip(spec.shape, wanted, strict=True):
            if isinstance(dim, int) and dim != number:
                self._conflict(spec, wanted, f"dimension {dim} is fixed")
            elif isinstance(dim, str) and self.symbols.setdefault(dim, number) != number:
                self._conflict(spec, wanted, f"'{dim}' is {self.symbols[dim]} elsewhere")

    def _conflict(self, spec: TensorSpec, wanted: tuple[int, ...], problem: str) -> None:
        self.problems.append(
            SHAPE_CONFLICT.at(
                Where(tensor=spec.name),
                name=spec.name,
                declared=_text(spec.shape),
                wanted=_text(wanted),
                problem=problem,
            )
        )

    def resolved(self, spec: TensorSpec) -> Dims:
        """The shape of an input with everything filled in that is known."""
        if self.names(spec):
            return self.options.inputs[spec.name]
        shape = tuple(
            self.symbols.get(dim, dim) if isinstance(dim, str) else dim for dim in spec.shape
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
