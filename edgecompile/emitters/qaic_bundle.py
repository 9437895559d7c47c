"""`qaic-bundle`: a model for Qualcomm's Cloud AI 100, and the command that compiles it.

The compiler `qaic-exec` comes with Qualcomm's SDK for Linux hosts. Where it is found it is run, and
the bundle holds the program container; else `compile.sh` in the bundle is the last step. Options:
quic/cloud-ai-sdk-pages@152427be, model-compilation/Compile-the-Model.md and
Export-the-model/Operator-and-Datatype-support.md.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from edgecompile.artifacts.types import Artifact
from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue.emit import SYMBOL_UNBOUND
from edgecompile.emitters.base import Emitter, KitScripts, kit_files
from edgecompile.emitters.files import described, place
from edgecompile.emitters.interface import opset_problems
from edgecompile.ir.facts import input_specs
from edgecompile.ir.model import Model
from edgecompile.ir.save import save
from edgecompile.targets.schema import Target
from edgecompile.vendor.guarded import run_guarded
from edgecompile.vendor.qaic.sdk import SDK, find_compiler

CONTAINER = "programqpc.bin"
_COMPILE = "edgecompile.vendor.qaic.sdk:compile_model"
_SCRIPT = """#!/bin/sh
# Compile the model beside this script with Qualcomm's Cloud AI SDK; the container is {container}.
set -eu
cd "$(dirname "$0")"
compiler=$(command -v qaic-exec || echo /opt/qti-aic/exec/qaic-exec)
[ -x "$compiler" ] || {{ echo "qaic-exec is not here: install the Cloud AI Apps SDK" >&2; exit 3; }}
rm -rf qpc
{commands}
test -s qpc/{container}
"""


class QaicBundle(Emitter):
    """Writes `model.onnx` and `compile.sh`, and `qpc/programqpc.bin` where the SDK is found."""

    id: ClassVar[str] = "qaic-bundle"
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("onnx", "onnx-ir")
    sdk: ClassVar[str | None] = SDK

    precision: Literal["fp16", "int8", "mxfp6"] = "fp16"
    """`int8` quantizes with a profile that the compiler takes from the golden inputs of the device
    kit; `mxfp6` stores weights of matrix products in 6 bits and computes in FP16."""
    batch: PositiveInt = 1
    cores: PositiveInt | None = None
    """AI cores for one copy of the network; null for all of a chip."""
    symbols: dict[str, PositiveInt] = Field(default_factory=dict)
    """Values of symbolic dimensions. That of the first axis is `batch` unless it is named here."""

    def supports(self, model: Model, target: Target) -> list[Diagnostic]:
        """An opset out of range, symbols without a value; about operators the compiler speaks."""
        found: list[Diagnostic] = []
        found += opset_problems(model, target)
        bound = self._symbols(model)
        for spec in input_specs(model):
            for dim in spec.shape:
                if not isinstance(dim, int) and dim not in bound:
                    where = Where(tensor=spec.name)
                    found.append(SYMBOL_UNBOUND.at(where, input=spec.name, symbol=dim or "?"))
        return found

    def emit(self, model: Model, target: Target, directory: Path, source: Path | None) -> Artifact:
        """Write the bundle, and compile where the SDK is. Raises EC-510 to EC-514."""
        del source
        compiler = find_compiler()
        with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
            work = Path(scratch).resolve()
            save(model, work / "model.onnx")
            commands = list(self.commands(model, target))
            lines = "\n".join(f'"$compiler" {shlex.join(c)}' for c in commands)
            script = work / "compile.sh"
            script.write_text(_SCRIPT.format(commands=lines, container=CONTAINER), "utf-8")
            script.chmod(0o755)
            made = [*sorted(work.glob("model.onnx*")), script]
            built: dict[str, str] = {}
            if compiler is not None and self.precision != "int8":
                payload = {"compiler": str(compiler), "folder": str(work), "commands": commands}
                built = run_guarded(_COMPILE, payload, tool="qaic-exec", workdir=work)
                made.append(work / CONTAINER)
            paths = place(made, directory)
        return Artifact(
            format=self.id,
            toolchain=built,
            executable=bool(built),
            reproducible=not built,
            notes=tuple(" ".join(["qaic-exec", *command]) for command in commands),
            **described(paths, directory),
        )

    def commands(self, model: Model, target: Target) -> Iterator[list[str]]:
        """Arguments of each call of the compiler; paths are relative to the bundle."""
        facts = target.qaic
        if facts is None:
            raise ValueError(f"the target '{target.id}' declares no 'qaic'")
        common = ["-m=model.onnx", "-aic-hw", f"-aic-hw-version={facts.hw_version}"]
        for name, value in sorted(self._symbols(model).items()):
            common.append(f"-onnx-define-symbol={name},{value}")
        if self.precision == "int8":
            # the list holds one line of raw input files per sample; the device kit's inputs.py
            # writes it from the golden data
            yield [*common, "-input-list-file=device/inputs.txt", "-dump-profile=profile.yaml"]
            common += [
                "-load-profile=profile.yaml",
                "-quantization-schema-activations=asymmetric",
                "-quantization-schema-constants=symmetric",
                "-enable-channelwise",
            ]
        common += ["-convert-to-fp16"]
        if self.precision == "mxfp6":
            common.append("-mxfp6-matmul")
        yield [
            *common,
            f"-aic-num-cores={self.cores or facts.cores}",
            f"-batchsize={self.batch}",
            "-compile-only",
            "-aic-binary-dir=qpc",
        ]

    def kit(self, artifact: Artifact, target: Target) -> KitScripts | None:
        """The SDK's Python package on the host of the card, which compiles first where needed."""
        return KitScripts(files=kit_files("qaic"), options={"precision": self.precision})

    def _symbols(self, model: Model) -> dict[str, int]:
        firsts = {spec.shape[0] for spec in input_specs(model) if spec.shape}
        names = {dim for dim in firsts if isinstance(dim, str)}
        found: dict[str, int] = dict.fromkeys(sorted(names), self.batch)
        return {**found, **self.symbols}
