"""`tensorrt-rtx-engine`: a plan of TensorRT for RTX, made on the CPU for several GPUs.

The build runs in a guarded process. No GPU is here to load the plan, so it is read back as a file:
the version and the GPUs in its head, and the types that its products multiply in. What the recipe
made INT8 must be INT8 there, because TensorRT falls back to float without a word.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import onnx_ir as ir
from pydantic import Field

from edgecompile.artifacts.types import Artifact
from edgecompile.diagnostics import Diagnostic, EdgecompileError, Severity
from edgecompile.diagnostics.catalogue.tensorrt import NO_INTEGER_PLANNED
from edgecompile.diagnostics.catalogue.toolchain import TOOL_NONSENSE
from edgecompile.emitters.base import Emitter, KitScripts, kit_files
from edgecompile.emitters.files import described, place
from edgecompile.emitters.operators import operator_problems
from edgecompile.emitters.tensorrt_rules import quantization_problems
from edgecompile.emitters.tensorrt_support import Range, interface_problems, shape_ranges
from edgecompile.ir.model import Model
from edgecompile.ir.qdq import integer_products, products_in
from edgecompile.ir.save import save
from edgecompile.store.files import sha256_of_file
from edgecompile.targets.schema import Target
from edgecompile.targets.tensorrt import Capability
from edgecompile.vendor import missing, versions
from edgecompile.vendor.guarded import Json, run_guarded
from edgecompile.vendor.tensorrt.plan import Plan, read_plan

_WORKER = "edgecompile.vendor.tensorrt.builder"
_LIBRARY = "tensorrt-rtx"


class TensorRtRtxEngine(Emitter):
    """Writes `model.plan`."""

    id: ClassVar[str] = "tensorrt-rtx-engine"
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("tensorrt-rtx",)
    extra: ClassVar[str | None] = "tensorrt-rtx"

    capabilities: tuple[Capability, ...] = ()
    """Compute capabilities that the plan serves; empty takes the target's."""
    shapes: dict[str, Range] = Field(default_factory=dict)
    """Input -> its smallest, best and largest shape. An open first dimension alone takes batches of
    1 to 8, tuned for 1."""
    workspace_mib: int | None = Field(default=None, ge=1)
    """Most scratch memory that a layer may ask for on the GPU; null leaves it to the library."""
    rebuild: bool = True
    """Build a second time in another process, and tell whether the bytes are the same."""

    def supports(self, model: Model, target: Target) -> list[Diagnostic]:
        """Operators, types, opsets, open shapes, and every rule of quantization.

        The published table of operators ends before this library's parser, so where the table has
        a doubt and the library is installed, the parser decides.
        """
        found = operator_problems(model, target.operators)
        refused = [problem for problem in found if problem.severity is Severity.ERROR]
        if refused and missing(_LIBRARY) is None and _parser_accepts(model):
            found = [problem for problem in found if problem not in refused]
        borders = interface_problems(model, target, self.shapes)
        return [*borders, *found, *quantization_problems(model, self._served(target))]

    def emit(self, model: Model, target: Target, directory: Path, source: Path | None) -> Artifact:
        """Build the plan of `model`, and hold what it says of itself against the model.

        Raises EC-510 to EC-514 when the library fails, EC-680 to EC-682 when it refuses, EC-685
        when no layer is in integers that should be.
        """
        del source
        with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
            work = Path(scratch).resolve()
            payload = self._payload(model, target, work)
            made = Path(payload["engine"])
            run_guarded(f"{_WORKER}:build", payload, tool=_LIBRARY, workdir=work)
            plan = _read(made)
            promise = _promise(model)
            _require_kept(plan, promise)
            same = self._same_again(payload, work) if self.rebuild else not payload["shapes"]
            paths = place([made], directory)
        return Artifact(
            format=self.id,
            toolchain=versions(_LIBRARY),
            executable=True,
            reproducible=same,
            notes=_notes(plan, promise),
            **described(paths, directory),
        )

    def kit(self, artifact: Artifact, target: Target) -> KitScripts | None:
        """The runner, on a PC with such a GPU."""
        del artifact, target
        runner = {"runner.py": kit_files("tensorrt")["runner.py"]}
        return KitScripts(files=runner, options={"library": "tensorrt_rtx", "build": False})

    def _served(self, target: Target) -> Target:
        """`target` with the GPUs that the plan is for: the oldest decides what is there."""
        if target.tensorrt is None or not self.capabilities:
            return target
        facts = target.tensorrt.model_copy(update={"compute_capabilities": self.capabilities})
        return target.model_copy(update={"tensorrt": facts})

    def _payload(self, model: Model, target: Target, work: Path) -> dict[str, Any]:
        own = () if target.tensorrt is None else target.tensorrt.compute_capabilities
        path = work / "input" / "model.onnx"
        path.parent.mkdir()
        save(model, path)
        return {
            "library": _LIBRARY,
            "model": str(path),
            "engine": str(work / "model.plan"),
            "shapes": shape_ranges(model, self.shapes),
            "capabilities": list(self.capabilities or own),
            "workspace_mib": self.workspace_mib,
        }

    def _same_again(self, payload: Json, work: Path) -> bool:
        """Plans of fixed shapes were the same in every process; those of open ones were not."""
        again = work / "again" / "model.plan"
        again.parent.mkdir()
        second = {**payload, "engine": str(again)}
        run_guarded(f"{_WORKER}:build", second, tool=_LIBRARY, workdir=work)
        return sha256_of_file(again) == sha256_of_file(Path(payload["engine"]))


def _parser_accepts(model: Model) -> bool:
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
        work = Path(scratch).resolve()
        path = work / "input" / "model.onnx"
        path.parent.mkdir()
        save(model, path)
        payload = {"library": _LIBRARY, "model": str(path)}
        try:
            answer = run_guarded(f"{_WORKER}:probe", payload, tool=_LIBRARY, workdir=work)
        except EdgecompileError:
            return False
    return not answer["refused"]


def _read(path: Path) -> Plan:
    try:
        return read_plan(path)
    except (OSError, ValueError) as error:
        raise TOOL_NONSENSE.error(tool=_LIBRARY, reason=str(error)) from error


@dataclass(frozen=True, kw_only=True)
class _Promise:
    """The products that the recipe made narrow, and the type that they must multiply in."""

    title: str
    planned: str
    """What the plan calls it."""
    names: tuple[str, ...]


def _promise(model: Model) -> _Promise:
    """Those in FP8, or else those in INT8."""
    floats = products_in(model, ir.DataType.FLOAT8E4M3FN)
    if floats:
        return _Promise(title="FP8", planned="f8e4m3", names=floats)
    return _Promise(title="INT8", planned="i8", names=integer_products(model))


def _require_kept(plan: Plan, promise: _Promise) -> None:
    """None of them kept is a failure; some in float are told by verification."""
    kept = any(layer.multiplies(promise.planned) for layer in plan.layers)
    if promise.names and plan.layers and not kept:
        raise NO_INTEGER_PLANNED.error(promised=len(promise.names), kind=promise.title)


def _notes(plan: Plan, promise: _Promise) -> tuple[str, ...]:
    serves = f"for {', '.join(plan.gpus)}" if plan.gpus else "it does not tell its GPUs"
    notes = [f"plan of TensorRT-RTX {'.'.join(map(str, plan.version))} {serves}"]
    if promise.names:
        layers = (layer for layer in plan.layers if layer.multiplies(promise.planned))
        done = set().union(*(layer.origins for layer in layers))
        count, kind = sum(name in done for name in promise.names), promise.title
        notes.append(
            f"{count} of {len(promise.names)} layers that were made {kind} are planned in {kind}"
        )
    return tuple(notes)
