"""`tensorrt-bundle`: everything that a Jetson or a server needs to build its own engine.

A TensorRT engine is built on the kind of GPU that runs it, by the release that loads it. The bundle
holds the quantized ONNX at the opset of that release and `build.sh`, which finds TensorRT on the
device and knows the options of every version from 8.2 to 11; the device kit beside it proves what
was built.
"""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import onnx_ir as ir
from pydantic import Field

from edgecompile.artifacts.types import Artifact
from edgecompile.diagnostics import Diagnostic
from edgecompile.emitters.base import Emitter, KitScripts, kit_files
from edgecompile.emitters.files import described, place
from edgecompile.emitters.operators import operator_problems
from edgecompile.emitters.tensorrt_dla import dla_problems, without_pairs
from edgecompile.emitters.tensorrt_dla_layers import dla_told
from edgecompile.emitters.tensorrt_precision import FP32, constraint, layer_precisions
from edgecompile.emitters.tensorrt_rules import quantization_problems
from edgecompile.emitters.tensorrt_support import Range, interface_problems, shape_ranges
from edgecompile.ir.facts import all_nodes
from edgecompile.ir.model import Model
from edgecompile.ir.qdq import PRODUCTS, integer_products
from edgecompile.ir.save import save
from edgecompile.targets.schema import Target

_MODEL, _EXPECTED, _SCALES = "model.onnx", "expected.json", "scales.json"
_FLOAT = "float.onnx"
_DEVICE_SIDE = ("runner.py",)
"""Files of the kit's folder that go to the kit; the others are part of the bundle."""
_FLOATS = {ir.DataType.FLOAT16: "half", ir.DataType.BFLOAT16: "bfloat16"}


class TensorRtBundle(Emitter):
    """Writes `model.onnx`, `build.sh`, its settings, and the precision expected of each layer."""

    id: ClassVar[str] = "tensorrt-bundle"
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ()

    shapes: dict[str, Range] = Field(default_factory=dict)
    """Input -> its smallest, best and largest shape. An open first dimension alone takes batches of
    1 to 8, tuned for 1."""
    workspace_mib: int | None = Field(default=None, ge=1)
    """Most scratch memory that a layer may ask for; null takes half of what is free there."""
    dla_core: int | None = Field(default=None, ge=0)
    """Run on this core of the DLA, and on the GPU what it cannot take; null: all on the GPU."""

    compare: bool = False
    """Carry the model without its pairs too, and time FP16 and FP32 engines of it on the device in
    turns with the real one. Makes the bundle about four times as large."""

    def supports(self, model: Model, target: Target) -> list[Diagnostic]:
        """Operators, types, opsets, open shapes, rules of quantization, and limits of the DLA."""
        found = interface_problems(model, target, self.shapes)
        found += operator_problems(model, target.operators)
        found += quantization_problems(model, target)
        if self.dla_core is not None:
            found += dla_problems(model, target, self.dla_core)
            found += dla_told(model, target)[1]
        return found

    def emit(self, model: Model, target: Target, directory: Path, source: Path | None) -> Artifact:
        """Write the bundle; for a DLA before TensorRT 11 as a float model and its scales."""
        del source
        scales: dict[str, float] = {}
        expected = _expected(model)
        notes, remarks = ((), ()) if self.dla_core is None else dla_told(model, target)
        if self.dla_core is not None and target.tensorrt is not None and target.tensorrt.major < 11:
            model, scales = without_pairs(model)
        with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
            work = Path(scratch).resolve()
            save(model, work / _MODEL)
            if self.compare:
                save(without_pairs(model)[0], work / _FLOAT)
            texts = {name: text for name, text in kit_files("tensorrt").items()
                     if name not in _DEVICE_SIDE}  # fmt: skip
            texts["settings.sh"] = self._settings(model, expected, calibrated=bool(scales))
            texts[_EXPECTED] = _json(expected)
            if scales:
                texts[_SCALES] = _json(scales)
            else:
                texts.pop("calibration.py")
            for name, text in sorted(texts.items()):
                (work / name).write_text(text, encoding="utf-8", newline="\n")
            files = [work / _MODEL, *sorted(p for p in work.iterdir() if p.name != _MODEL)]
            paths = place(files, directory)
        return Artifact(
            format=self.id,
            toolchain={},
            notes=(*_notes(target, expected), *notes),
            remarks=remarks,
            **described(paths, directory),
        )

    def kit(self, artifact: Artifact, target: Target) -> KitScripts | None:
        """The runner: it lets `build.sh` make the engine, and runs it."""
        del artifact, target
        runner = {name: kit_files("tensorrt")[name] for name in _DEVICE_SIDE}
        return KitScripts(files=runner, options={"library": "tensorrt", "build": True})

    def _settings(self, model: Model, expected: Mapping[str, str], *, calibrated: bool) -> str:
        """What `build.sh` reads. Every value is quoted: names in a model are anybody's."""
        ranges = shape_ranges(model, self.shapes)
        told = layer_precisions(model)
        flags = {"fp16"} | ({"int8"} if "int8" in expected.values() else set())
        values = {
            "model_file": _MODEL,
            "float_file": _FLOAT if self.compare else "",
            "workspace": "" if self.workspace_mib is None else str(self.workspace_mib),
            "min_shapes": _shapes(ranges, 0),
            "opt_shapes": _shapes(ranges, 1),
            "max_shapes": _shapes(ranges, 2),
            "precisions": " ".join(sorted(flags)),
            "layer_precisions": _listed(told),
            "layer_outputs": _listed({name: kind for name, kind in told.items() if kind == FP32}),
            "constraint": constraint(told),
            "dla_core": "" if self.dla_core is None else str(self.dla_core),
            "calibration": _SCALES if calibrated else "",
        }
        lines = [f"{name}={shlex.quote(value)}" for name, value in values.items()]
        return "\n".join(["# Read by build.sh.", *lines]) + "\n"


def _shapes(ranges: Mapping[str, Range], which: int) -> str:
    """`name:1x3x224x224,...`, as trtexec reads it; it takes names with : or , in single quotes."""
    return ",".join(
        f"{_quoted(name)}:{'x'.join(str(dim) for dim in found[which])}"
        for name, found in sorted(ranges.items())
    )


def _listed(precisions: Mapping[str, str]) -> str:
    """`name:fp16,...`, as trtexec reads it."""
    return ",".join(f"{_quoted(name)}:{kind}" for name, kind in sorted(precisions.items()))


def _quoted(name: str) -> str:
    return f"'{name}'" if set(name) & set(":,") else name


def _expected(model: Model) -> dict[str, str]:
    """Product -> the type that it should multiply in."""
    integer = set(integer_products(model))
    found: dict[str, str] = {}
    for node in all_nodes(model):
        if node.op_type in PRODUCTS and not node.domain:
            name = node.name or node.outputs[0].name or ""
            value = node.inputs[0]
            kind = _FLOATS.get(value.dtype, "float") if value and value.dtype else "float"
            found[name] = "int8" if name in integer else kind
    return found


def _notes(target: Target, expected: Mapping[str, str]) -> tuple[str, ...]:
    counts = sorted(
        {kind: list(expected.values()).count(kind) for kind in expected.values()}.items()
    )
    notes = [f"{count} layers expected in {kind}" for kind, count in counts]
    if target.stack is not None:
        notes.append(f"for {target.stack.name} {target.stack.release}")
    return tuple(notes)


def _json(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"
