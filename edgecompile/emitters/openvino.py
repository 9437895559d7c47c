"""`openvino-ir`: OpenVINO's intermediate representation, an .xml and a .bin.

The conversion runs in a guarded process; what it wrote is read back and held against the model
before it counts: interface, metadata, and that integer weights are stored as integers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from edgecompile.artifacts.types import Artifact
from edgecompile.diagnostics import Diagnostic, EdgecompileError, Severity
from edgecompile.diagnostics.catalogue.emit import (
    ARTIFACT_DIFFERS,
    METADATA_LOST,
    WEIGHTS_INFLATED,
)
from edgecompile.diagnostics.catalogue.toolchain import TOOL_NONSENSE
from edgecompile.emitters import openvino_placement as placement
from edgecompile.emitters.base import Emitter, KitScripts, kit_files
from edgecompile.emitters.files import described, place
from edgecompile.emitters.openvino_support import ELEMENT_TYPES, interface_problems
from edgecompile.emitters.operators import operator_problems
from edgecompile.ir.facts import TensorSpec, all_nodes, constant_tensor, input_specs, output_specs
from edgecompile.ir.model import Model
from edgecompile.ir.save import save
from edgecompile.targets.schema import Target
from edgecompile.vendor import missing, versions
from edgecompile.vendor.guarded import run_guarded

_WORKER = "edgecompile.vendor.openvino.convert"
_SMALL_BYTES = 64
"""Constants up to this size may be folded away without it mattering."""
_STORED_SHARE = 0.9
_INTEGERS = ("i4", "u4", "i8", "u8")


class OpenVinoIr(Emitter):
    """Writes `model.xml` and `model.bin`."""

    id: ClassVar[str] = "openvino-ir"
    version: ClassVar[int] = 2
    libraries: ClassVar[tuple[str, ...]] = ("openvino", "nncf")
    extra: ClassVar[str | None] = "openvino"

    compress_to_fp16: bool = False
    """Store float constants in half precision; the runtime widens them when it loads the file."""

    def supports(self, model: Model, target: Target) -> list[Diagnostic]:
        """Operators, types and opsets that OpenVINO's importer refuses.

        The table of the documentation is asked first; where it has a doubt and OpenVINO is
        installed, its importer decides.
        """
        found = operator_problems(model, target.operators)
        refused = [problem for problem in found if problem.severity is Severity.ERROR]
        if refused and missing("openvino") is None and _importer_accepts(model):
            found = [problem for problem in found if problem not in refused]
        return [*interface_problems(model, target), *found, *placement.asked(model, target)]

    def emit(self, model: Model, target: Target, directory: Path, source: Path | None) -> Artifact:
        """Write the IR of `model`, or of the IR `source` that NNCF made from it.

        Raises EC-510 to EC-514 when OpenVINO fails, EC-603 to EC-605 when what it wrote is not
        the model.
        """
        metadata = dict(model.graph.metadata_props)
        with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
            work = Path(scratch).resolve()
            made = work / "model.xml"
            payload = {
                "model": str(source.resolve() if source else _saved(model, work)),
                "xml": str(made),
                "compress_to_fp16": self.compress_to_fp16,
                "metadata": metadata,
                "products_as_convolutions": _as_convolutions(target),
            }
            report = run_guarded(f"{_WORKER}:convert", payload, tool="openvino", workdir=work)
            if not made.is_file() or not made.with_suffix(".bin").is_file():
                raise TOOL_NONSENSE.error(tool="openvino", reason="the IR is not complete")
            problems = [*_interface(model, report), *_metadata(metadata, report)]
            if source is None:
                problems += _weights(model, report)
            if problems:
                raise EdgecompileError(tuple(problems), ARTIFACT_DIFFERS.exit_code)
            paths = place([made, made.with_suffix(".bin")], directory)
        elsewhere = placement.elsewhere(report["operators"], target)
        return Artifact(
            format=self.id,
            remarks=tuple(placement.remarks(elsewhere, target)),
            toolchain=versions("openvino") if source is None else versions("openvino", "nncf"),
            notes=(
                *(("float constants in FP16",) if self.compress_to_fp16 else ()),
                *((f"device {placement.device(elsewhere, target)}",) if elsewhere else ()),
            ),
            **described(paths, directory),
        )

    def kit(self, artifact: Artifact, target: Target) -> KitScripts | None:
        """OpenVINO itself, on the device of the target."""
        if target.openvino is None:
            return None
        split = next((n.split()[1] for n in artifact.notes if n.startswith("device ")), "")
        device = split or target.openvino.device
        options = {"device": device, "export": target.openvino.device == "NPU" and not split}
        return KitScripts(files=kit_files("openvino"), options=options)


def _as_convolutions(target: Target) -> bool:
    facts = target.openvino
    return facts is not None and facts.integer_products == "convolution"


def _saved(model: Model, work: Path) -> Path:
    path = work / "input" / "model.onnx"
    path.parent.mkdir()
    save(model, path)
    return path


def _importer_accepts(model: Model) -> bool:
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
        work = Path(scratch).resolve()
        payload = {"model": str(_saved(model, work))}
        try:
            answer = run_guarded(f"{_WORKER}:probe", payload, tool="openvino", workdir=work)
        except EdgecompileError:
            return False
    return not answer["refused"]


def _interface(model: Model, report: Mapping[str, Any]) -> list[Diagnostic]:
    found: list[str] = []
    for kind, specs in (("input", input_specs(model)), ("output", output_specs(model))):
        ports = report[f"{kind}s"]
        if len(ports) != len(specs):
            found.append(f"{len(ports)} {kind}s instead of {len(specs)}")
        for spec in specs:
            port = next((p for p in ports if spec.name in p["names"]), None)
            if port is None:
                found.append(f"no {kind} '{spec.name}'")
            else:
                found += _port(kind, spec, port)
    return [ARTIFACT_DIFFERS.at(reason=reason) for reason in found]


def _port(kind: str, spec: TensorSpec, port: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    wanted = ELEMENT_TYPES.get(spec.dtype.name, spec.dtype.name)
    if port["dtype"] != wanted:
        found.append(f"{kind} '{spec.name}' is {port['dtype']} instead of {wanted}")
    shape = port["shape"]
    if spec.ranked and shape is not None:
        same = len(shape) == len(spec.shape) and all(
            have == want if isinstance(want, int) else kind == "output" or have is None
            for want, have in zip(spec.shape, shape, strict=True)
        )
        if not same:
            shown = [dim if isinstance(dim, int) else "?" for dim in spec.shape]
            got = ["?" if dim is None else dim for dim in shape]
            found.append(f"{kind} '{spec.name}' has shape {got} instead of {shown}")
    return found


def _metadata(metadata: Mapping[str, str], report: Mapping[str, Any]) -> list[Diagnostic]:
    kept = report["metadata"]
    lost = [key for key, value in sorted(metadata.items()) if kept.get(key) != value]
    return [METADATA_LOST.at(keys="', '".join(lost))] if lost else []


def _weights(model: Model, report: Mapping[str, Any]) -> list[Diagnostic]:
    """Integer weights behind DequantizeLinear must be integers in the file too."""
    expected: dict[str, int] = {}
    for node in all_nodes(model):
        tensor = constant_tensor(node.inputs[0]) if node.op_type == "DequantizeLinear" else None
        value = node.inputs[0] if node.inputs else None
        if tensor is None or value is None or tensor.nbytes <= _SMALL_BYTES:
            continue
        if ELEMENT_TYPES.get(tensor.dtype.numpy().name) in _INTEGERS:
            expected[value.name or ""] = tensor.nbytes
    total = sum(expected.values())
    stored = sum(report["constants"].get(kind, 0) for kind in _INTEGERS)
    if stored >= _STORED_SHARE * total:
        return []
    return [WEIGHTS_INFLATED.at(stored_bytes=stored, expected_bytes=total)]
