"""Every graph and fusion pass keeps what ONNX's own back-end tests compute.

For each model that ONNX Runtime's CPU can run: the outputs stay (up to rounding), the names of
inputs and outputs stay, the model given is not edited, `changed` tells the truth, and the pass
leaves its own output alone. A model that a pass leaves as it is needs no second run: its digest is
the proof. The node tests feed constants as inputs, so folding is also tested with the inputs baked
into the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgecompile.diagnostics import EdgecompileError
from edgecompile.ir import Model, load, to_bytes
from edgecompile.ir.digest import model_digest
from edgecompile.passes.base import Context, Pass
from edgecompile.passes.fuse.fuse_activation import FuseActivation
from edgecompile.passes.fuse.fuse_conv_batchnorm import FuseConvBatchnorm
from edgecompile.passes.fuse.fuse_conv_pad import FuseConvPad
from edgecompile.passes.fuse.fuse_normalization import FuseNormalization
from edgecompile.passes.graph.convert_opset import ConvertOpset
from edgecompile.passes.graph.freeze_shapes import FreezeShapes
from edgecompile.passes.graph.remove_dead import RemoveDead
from edgecompile.passes.graph.remove_identity import RemoveIdentity
from edgecompile.passes.graph.simplify import Simplify
from tests.support.models import context, interface
from tests.support.onnx_corpus import Case, node_cases, reference, run_model, runnable

LEAST_RUNNABLE = 1861


def _frozen(case: Case) -> FreezeShapes:
    """Freeze tensor inputs to the shapes of the data; empty tensors cannot be frozen."""
    graph = onnx.load(case.model_path).graph
    constants = {tensor.name for tensor in graph.initializer}
    infos = [info for info in graph.input if info.name not in constants]
    inputs = case.data_sets[0][0] if len(case.data_sets) == 1 else ()
    shapes = {
        info.name: np.shape(value)
        for info, value in zip(infos, inputs, strict=False)
        if info.type.HasField("tensor_type") and isinstance(value, np.ndarray) and np.size(value)
    }
    return FreezeShapes(inputs=shapes, batch=None)


PASSES: dict[str, tuple[Callable[[Case], Pass], int]] = {
    "simplify": (lambda _: Simplify(), 400),
    "remove_identity": (lambda _: RemoveIdentity(), 250),
    "remove_dead": (lambda _: RemoveDead(), 130),
    "freeze_shapes to those of the data": (_frozen, 200),
    "convert_opset": (lambda _: ConvertOpset(), 165),
    "convert_opset to 17": (lambda _: ConvertOpset(target=17), 1100),
    "convert_opset to 21": (lambda _: ConvertOpset(target=21), 1600),
    "fuse_conv_batchnorm": (lambda _: FuseConvBatchnorm(), 0),
    "fuse_conv_pad": (lambda _: FuseConvPad(), 0),
    "fuse_activation": (lambda _: FuseActivation(), 4),
    "fuse_normalization": (lambda _: FuseNormalization(), 0),
}
"""What runs, and how many models it changes at least. The zoo of small models covers the rest."""

MOST_REFUSED = {"convert_opset": 1, "convert_opset to 17": 660, "convert_opset to 21": 240}
"""Models that a pass may refuse with a diagnostic: operators that the opset asked for lacks."""


@dataclass
class Tally:
    """What happened to the cases of one test."""

    cases: int = 0
    changed: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, str] = field(default_factory=dict)


def wide_context() -> Context:
    """The real target, except that it takes every opset."""
    return context(opset_max=onnx.defs.onnx_opset_version())


@pytest.mark.parametrize("name", PASSES)
def test_pass_keeps_every_model(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    make, least_changed = PASSES[name]
    cases = [case for case in node_cases() if runnable(case)]
    tally = Tally()
    for case in cases:
        _try(tally, make(case), case, reference(case))
    _report(name, tally, capsys)
    assert tally.wrong == {}
    assert tally.cases + tally.refused.total() == len(cases) >= LEAST_RUNNABLE
    assert tally.changed >= least_changed
    assert tally.refused.total() <= MOST_REFUSED.get(name, 0), tally.refused


def test_simplify_folds_baked_inputs_to_the_same_outputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tally, folded = Tally(), 0
    for case in node_cases():
        baked = _baked(case, tmp_path) if runnable(case) and case.repeatable else None
        if baked is None or not runnable(baked):
            tally.refused["has no tensors to bake, or draws numbers, or does not run"] += 1
            continue
        simple = _try(tally, Simplify(), baked, reference(baked))
        folded += simple is not None and not len(simple.graph.graph)
    _report(f"simplify of baked inputs ({folded} to nothing)", tally, capsys)
    assert tally.wrong == {}
    assert tally.cases >= 1680
    assert tally.changed >= 1380
    assert folded >= 1320


def _report(name: str, tally: Tally, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        refused = f", {tally.refused.total()} refused" if tally.refused else ""
        print(f"\n{name}: {tally.cases} cases, {tally.changed} changed{refused}", end=" ")


def _try(
    tally: Tally, operation: Pass, case: Case, expected: list[list[Any]] | str
) -> Model | None:
    """Apply the pass to the case and count; the new model where there is one."""
    model = load(case.model_path)
    try:
        outcome = operation.run(model, wide_context())
    except EdgecompileError as error:
        tally.refused[str(error)] += 1
        return None
    tally.cases += 1
    tally.changed += outcome.changed
    problem = _problem(operation, model, outcome.model, outcome.changed)
    if problem is None and outcome.changed:
        actual = run_model(to_bytes(outcome.model), case)
        if isinstance(actual, str):
            problem = f"no longer runs: {actual}"
        elif case.repeatable and not _close(expected, actual):
            problem = "the outputs change"
    if problem is not None:
        tally.wrong[case.name] = problem
    return outcome.model


def _problem(operation: Pass, before: Model, after: Model, changed: bool) -> str | None:
    if model_digest(before.graph) != before.digest:
        return "the model given was edited"
    if changed != (after.digest != before.digest):
        return f"claims changed={changed}"
    if interface(after) != interface(before):
        return "names of inputs or outputs, or metadata, change"
    if changed and operation.run(after, wide_context()).changed:
        return "the pass changes its own output"
    return None


def _baked(case: Case, directory: Path) -> Case | None:
    """The case with its inputs made constants; None where one of them is not a plain tensor."""
    proto = onnx.load(case.model_path)
    inputs, outputs = case.data_sets[0]
    constants = {tensor.name for tensor in proto.graph.initializer}
    infos = [info for info in proto.graph.input if info.name not in constants]
    for info, value in zip(infos, inputs, strict=True):
        kind = info.type.tensor_type.elem_type
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biufc":
            return None
        if onnx.helper.np_dtype_to_tensor_dtype(value.dtype) != kind:
            return None
        array = np.ascontiguousarray(value).reshape(value.shape)
        proto.graph.initializer.append(numpy_helper.from_array(array, info.name))
        proto.graph.input.remove(info)
    proto.ir_version = max(proto.ir_version, 8)
    path = directory / f"{case.name}.onnx"
    onnx.save(proto, path)
    return Case(f"{case.name} baked", path, [([], outputs)])


def _close(expected: Sequence[Any] | str, actual: Sequence[Any]) -> bool:
    """Whether nested lists of arrays agree: floats up to rounding, everything else exactly."""
    if isinstance(expected, np.ndarray | np.generic):
        left, right = np.asarray(expected), np.asarray(actual)
        if left.dtype != right.dtype or left.shape != right.shape:
            return False
        if left.dtype.kind not in "fc":
            return bool((left == right).all())
        relative = 1e-2 if left.dtype == np.float16 else 1e-4
        wide = [
            a.astype(np.complex128 if a.dtype.kind == "c" else np.float64) for a in (left, right)
        ]
        return np.allclose(*wide, rtol=relative, atol=relative / 10, equal_nan=True)
    if isinstance(expected, list):
        return len(expected) == len(actual) and all(map(_close, expected, actual))
    return expected == actual
