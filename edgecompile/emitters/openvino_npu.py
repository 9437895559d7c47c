"""`openvino-blob-npu`: a network compiled for one platform of Intel's NPU.

The compiler is in OpenVINO's wheel for Windows and not in that for Linux. Where it is missing, the
target takes the IR, and its device kit compiles that on the device.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

from pydantic import PositiveInt

from edgecompile.artifacts.types import Artifact
from edgecompile.diagnostics import Diagnostic
from edgecompile.diagnostics.catalogue.emit import TILES_PINNED
from edgecompile.diagnostics.catalogue.toolchain import NPU_COMPILER_MISSING, TOOL_NONSENSE
from edgecompile.emitters.base import Emitter, KitScripts, kit_files
from edgecompile.emitters.files import described, place
from edgecompile.emitters.openvino import OpenVinoIr
from edgecompile.ir.model import Model
from edgecompile.targets.schema import Target
from edgecompile.vendor import versions
from edgecompile.vendor.guarded import run_guarded
from edgecompile.vendor.openvino.npu import COMPILER, npu_compiler

_COMPILE = "edgecompile.vendor.openvino.npu:compile_blob"


class OpenVinoBlobNpu(Emitter):
    """Writes `model.blob`."""

    id: ClassVar[str] = "openvino-blob-npu"
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("openvino",)
    extra: ClassVar[str | None] = "openvino"
    sdk: ClassVar[str | None] = COMPILER

    tiles: PositiveInt | None = None
    """Tiles to compile for; null lets the compiler choose, which fits every chip of a platform."""

    def out_of_reach(self, target: Target) -> Diagnostic | None:
        """OpenVINO, and the compiler in it."""
        found = super().out_of_reach(target)
        return NPU_COMPILER_MISSING.at() if found is None and npu_compiler() is None else found

    def supports(self, model: Model, target: Target) -> list[Diagnostic]:
        """As of the IR that it is compiled from; and a warning about a fixed number of tiles."""
        found = OpenVinoIr().supports(model, target)
        return found if self.tiles is None else [*found, TILES_PINNED.at(tiles=self.tiles)]

    def emit(self, model: Model, target: Target, directory: Path, source: Path | None) -> Artifact:
        """Convert and compile. Raises EC-510 to EC-514, and EC-603 to EC-605 for the IR."""
        with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
            work = Path(scratch).resolve()
            ir = OpenVinoIr().emit(model, target, work, source)
            made = work / "model.blob"
            config = dict(target.openvino.config) if target.openvino else {}
            if self.tiles is not None:
                config["NPU_TILES"] = str(self.tiles)
            payload = {"model": str(work / ir.path), "blob": str(made), "config": config}
            run_guarded(_COMPILE, payload, tool="openvino", workdir=work)
            if not made.is_file() or not made.stat().st_size:
                raise TOOL_NONSENSE.error(tool="openvino", reason="it compiled nothing")
            paths = place([made], directory)
        return Artifact(
            format=self.id,
            toolchain=versions("openvino"),
            executable=True,
            coverage=ir.coverage,
            remarks=ir.remarks,
            notes=tuple(f"{name}={value}" for name, value in sorted(config.items())),
            **described(paths, directory),
        )

    def kit(self, artifact: Artifact, target: Target) -> KitScripts | None:
        """OpenVINO on the device, which imports the blob."""
        return KitScripts(files=kit_files("openvino"), options={"device": "NPU", "config": {}})
