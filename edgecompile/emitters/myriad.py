"""`openvino-blob-myriad`: a graph for the Myriad X, compiled offline in the toolchain `myriad`.

The plugin of OpenVINO 2021.4.2 compiles FP16 from ONNX of opset 13 at most. What it wrote is held
against the model by the blob's header: magic, length, version, the number of inputs and outputs
and their sizes (mv_blob_header in openvino 2021.4
inference-engine/src/vpu/graph_transformer/include/vpu/backend/blob_format.hpp).
"""

from __future__ import annotations

import math
import re
import struct
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from edgecompile.artifacts.types import Artifact
from edgecompile.diagnostics import Diagnostic, EdgecompileError, Severity, Where
from edgecompile.diagnostics.catalogue.emit import (
    ARTIFACT_DIFFERS,
    COMPILER_REFUSES,
    OPERATOR_UNSUPPORTED,
)
from edgecompile.emitters.base import Emitter, KitScripts, kit_files
from edgecompile.emitters.files import described, place
from edgecompile.emitters.openvino_support import interface_problems
from edgecompile.emitters.operators import listed, operator_problems
from edgecompile.ir.facts import TensorSpec, input_specs, output_specs
from edgecompile.ir.model import Model
from edgecompile.ir.save import save
from edgecompile.targets.schema import Target
from edgecompile.vendor.toolchains.isolated import task, worker
from edgecompile.vendor.toolchains.place import demand, find
from edgecompile.vendor.toolchains.spec import load_toolchain

RUNTIME = "the MYRIAD plugin"
_TASK = "myriad.py"
_ELF = b"\x7felf"
_HEADER_AT = 0x34
_FIELDS = struct.Struct("<10I")
_MAGIC = 9709
_MAJOR = 6
_ALIGNMENT_BYTES = 64
_TIMEOUT_S = 900.0
_LAYER = re.compile(r'layer "(.+?)": unsupported layer type "(.+?)"')


class OpenVinoBlobMyriad(Emitter):
    """Writes `model.blob`."""

    id: ClassVar[str] = "openvino-blob-myriad"
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ()
    toolchain: ClassVar[str | None] = "myriad"

    def supports(self, model: Model, target: Target) -> list[Diagnostic]:
        """The operators that the plugin refuses; it is asked itself where it is installed and the
        model is as it wants it: fixed shapes, and an opset that it reads.
        """
        found = interface_problems(model, target)
        ready = not found and all(_is_static(spec) for spec in input_specs(model))
        if ready and find(load_toolchain("myriad")) is not None:
            return _asked(model)
        refused = operator_problems(model, target.operators)
        if not ready:  # the arithmetic of shapes goes away when they are fixed
            refused = [replace(d, severity=Severity.WARNING) for d in refused]
        return [*found, *refused]

    def emit(self, model: Model, target: Target, directory: Path, source: Path | None) -> Artifact:
        """Compile. Raises EC-510 to EC-514 and EC-520, and EC-603 for a blob that is not one."""
        del target, source
        installed = demand("myriad")
        with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
            work = Path(scratch).resolve()
            made = work / "model.blob"
            payload = {"model": str(_saved(model, work)), "output": str(made)}
            _call("compile_blob", payload, work)
            problems = list(_problems(model, made.read_bytes()))
            if problems:
                raise EdgecompileError(
                    tuple(ARTIFACT_DIFFERS.at(reason=reason) for reason in problems),
                    ARTIFACT_DIFFERS.exit_code,
                )
            paths = place([made], directory)
        return Artifact(
            format=self.id,
            toolchain={"openvino": installed.versions["openvino"]},
            executable=True,
            notes=("compiled for the Myriad X (2480), in FP16",),
            **described(paths, directory),
        )

    def kit(self, artifact: Artifact, target: Target) -> KitScripts | None:
        """OpenVINO 2021.4 or 2022.x on the machine that holds the device."""
        return KitScripts(files=kit_files("myriad"), options={"device": "MYRIAD"})


def _is_static(spec: TensorSpec) -> bool:
    return spec.ranked and all(isinstance(dim, int) for dim in spec.shape)


def _asked(model: Model) -> list[Diagnostic]:
    """What the plugin refuses, in its own words.

    Asked about layers, it does not name those that it rewrites (a Sub, say) although it takes them.
    So where it left some out, it must compile; its error then names the first that it refuses.
    """
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
        work = Path(scratch).resolve()
        payload = {"model": str(_saved(model, work)), "output": str(work / "trial.blob")}
        answer = _call("query", payload, work)
        if not answer["problem"] and answer["refused"]:
            try:
                _call("compile_blob", payload, work)
            except EdgecompileError as error:
                answer["problem"] = error.diagnostics[0].message
    reason = answer["problem"]
    if not reason:
        return []
    named = _LAYER.search(reason)
    if named is None:
        return [COMPILER_REFUSES.at(compiler=RUNTIME, reason=reason)]
    kind = next((r["type"] for r in answer["refused"] if r["name"] == named[1]), named[2])
    return [_unsupported(model, kind, [r["name"] for r in answer["refused"] if r["type"] == kind])]


def _unsupported(model: Model, kind: str, layers: list[str]) -> Diagnostic:
    """All layers of one type, as the nodes that they came from."""
    makers = {v.name: n for n in model.graph.graph for v in n.outputs if v.name}
    nodes = [makers[layer] for layer in layers if layer in makers]
    op = nodes[0].op_type if nodes else kind
    names = [node.name or node.op_type for node in nodes] or layers or [kind]
    where = Where(node=names[0])
    return OPERATOR_UNSUPPORTED.at(where, runtime=RUNTIME, op=op, nodes=listed(names))


def _call(function: str, payload: dict[str, str], work: Path) -> Any:
    with worker(demand("myriad"), workdir=work, timeout_s=_TIMEOUT_S) as process:
        return process.call(task(_TASK, function), payload)


def _saved(model: Model, work: Path) -> Path:
    path = work / "model.onnx"
    save(model, path)
    return path


def _problems(model: Model, blob: bytes) -> Iterator[str]:
    """What the header of `blob` says against it."""
    if blob[:4] != _ELF or len(blob) < _HEADER_AT + _FIELDS.size:
        yield "the file does not begin like a blob"
        return
    magic, size, major, _, inputs, outputs, stages, input_bytes, output_bytes, _ = (
        _FIELDS.unpack_from(blob, _HEADER_AT)
    )
    if (magic, major) != (_MAGIC, _MAJOR):
        yield f"magic number {magic} and version {major} instead of {_MAGIC} and {_MAJOR}"
    if size != len(blob):
        yield f"it has {len(blob)} bytes, and its header says {size}"
    if not stages:
        yield "it holds no stage"
    for kind, count, given, specs in (
        ("input", inputs, input_bytes, input_specs(model)),
        ("output", outputs, output_bytes, output_specs(model)),
    ):
        if count != len(specs):
            yield f"{count} {kind}s instead of {len(specs)}"
        elif not _sizes(specs) <= given <= _sizes(specs, _ALIGNMENT_BYTES):
            yield f"its {kind}s take {given} bytes instead of {_sizes(specs)}"


def _sizes(specs: Iterable[TensorSpec], slack: int = 0) -> int:
    """Bytes of the tensors in FP16 or, with `slack` per tensor, in the widest type that it has."""
    total = 0
    for spec in specs:
        count = math.prod(dim for dim in spec.shape if isinstance(dim, int))
        width = 2 if spec.dtype.kind == "f" else spec.dtype.itemsize
        total += count * (max(4, width) if slack else min(2, width)) + slack
    return total
