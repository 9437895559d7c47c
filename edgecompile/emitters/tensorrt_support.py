"""What TensorRT takes at the borders of a model: element types, opsets, and open dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue.tensorrt import SHAPE_OPEN
from edgecompile.emitters.interface import opset_problems, type_problems
from edgecompile.ir.facts import TensorSpec, input_specs
from edgecompile.ir.model import Model
from edgecompile.targets.schema import Target
from edgecompile.targets.tensorrt import TensorRt

TYPES = frozenset({"float32", "float16", "bfloat16", "int32", "int64", "int8", "uint8", "bool"})
"""Types of inputs and outputs."""

Shape = Annotated[tuple[int, ...], Field(min_length=1)]
Range = tuple[Shape, Shape, Shape]
"""Smallest, best and largest shape of an input."""
BATCHES = (1, 1, 8)
"""The same of an open first dimension, when nobody says."""


def runtime_name(facts: TensorRt) -> str:
    """Library and version, for messages."""
    title = "TensorRT-RTX" if facts.library == "tensorrt-rtx" else "TensorRT"
    return title if facts.version is None else f"{title} {facts.version}"


def interface_problems(
    model: Model, target: Target, given: Mapping[str, Range]
) -> list[Diagnostic]:
    """Types that TensorRT lacks, an opset outside the parser's range, shapes without bounds."""
    found = type_problems(model, TYPES, "TensorRT") + opset_problems(model, target)
    return found + [
        SHAPE_OPEN.at(Where(tensor=spec.name), input=spec.name, shape=_shown(spec))
        for spec in input_specs(model)
        if not _static(spec) and _range(spec, given) is None
    ]


def shape_ranges(model: Model, given: Mapping[str, Range]) -> dict[str, Range]:
    """Of every input with an open dimension: its range as given, or batches of up to 8."""
    ranges: dict[str, Range] = {}
    for spec in input_specs(model):
        if not _static(spec) and (found := _range(spec, given)) is not None:
            ranges[spec.name] = found
    return ranges


def _range(spec: TensorSpec, given: Mapping[str, Range]) -> Range | None:
    """None when `given` has none that fits, and more than the batch is open."""
    if spec.name in given:
        fits = all(_fits(spec, shape) for shape in given[spec.name])
        return given[spec.name] if fits else None
    rest = tuple(dim for dim in spec.shape[1:] if isinstance(dim, int))
    if not spec.ranked or not spec.shape or len(rest) + 1 < len(spec.shape):
        return None
    low, best, high = ((batch, *rest) for batch in BATCHES)
    return low, best, high


def _fits(spec: TensorSpec, shape: Shape) -> bool:
    if not spec.ranked:
        return True
    return len(shape) == len(spec.shape) and all(
        not isinstance(dim, int) or dim == size for dim, size in zip(spec.shape, shape, strict=True)
    )


def _static(spec: TensorSpec) -> bool:
    return spec.ranked and all(isinstance(dim, int) for dim in spec.shape)


def _shown(spec: TensorSpec) -> str:
    if not spec.ranked:
        return "unknown"
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in spec.shape) + "]"
