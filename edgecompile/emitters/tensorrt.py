"""`tensorrt-engine`: an engine built by the TensorRT of this machine, for the GPU that it has.

Made only where this machine is the device: an engine runs on the kind of GPU that built it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from edgecompile.artifacts.types import Artifact
from edgecompile.diagnostics import Diagnostic
from edgecompile.diagnostics.catalogue.tensorrt import NO_GPU
from edgecompile.diagnostics.catalogue.toolchain import TOOL_NONSENSE
from edgecompile.emitters.base import Emitter
from edgecompile.emitters.files import described, place
from edgecompile.emitters.operators import operator_problems
from edgecompile.emitters.tensorrt_dla import dla_problems
from edgecompile.emitters.tensorrt_dla_layers import dla_told
from edgecompile.emitters.tensorrt_precision import constraint, layer_precisions
from edgecompile.emitters.tensorrt_rules import quantization_problems
from edgecompile.emitters.tensorrt_support import Range, interface_problems, shape_ranges
from edgecompile.ir.model import Model
from edgecompile.ir.qdq import integer_products
from edgecompile.ir.save import save
from edgecompile.store.location import cache_root
from edgecompile.targets.schema import Target
from edgecompile.vendor import missing, versions
from edgecompile.vendor.guarded import run_guarded
from edgecompile.vendor.tensorrt.gpu import gpu_capabilities

_WORKER = "edgecompile.vendor.tensorrt.builder"
_LIBRARY = "tensorrt"


class TensorRtEngine(Emitter):
    """Writes `model.engine`."""

    id: ClassVar[str] = "tensorrt-engine"
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("tensorrt",)

    shapes: dict[str, Range] = Field(default_factory=dict)
    """Input -> its smallest, best and largest shape. An open first dimension alone takes batches of
    1 to 8, tuned for 1."""
    workspace_mib: int | None = Field(default=None, ge=1)
    """Most scratch memory that a layer may ask for; null leaves it to the library."""
    optimization_level: int | None = Field(default=None, ge=0, le=5)
    """How long to look for fast kernels; null leaves it to the library."""
    dla_core: int | None = Field(default=None, ge=0)
    """Run on this core of the DLA, and on the GPU what it cannot take; null: all on the GPU."""

    def out_of_reach(self, target: Target) -> Diagnostic | None:
        """Unless this machine has a GPU of the target's kind, and TensorRT."""
        wanted = () if target.tensorrt is None else target.tensorrt.compute_capabilities
        if not set(gpu_capabilities()) & set(wanted):
            kinds = " or ".join(wanted)
            return NO_GPU.at(reason=f"this machine has no GPU of compute capability {kinds}")
        return missing(_LIBRARY)

    def supports(self, model: Model, target: Target) -> list[Diagnostic]:
        """As for the bundle: operators, types, opsets, open shapes, rules of quantization."""
        found = interface_problems(model, target, self.shapes)
        found += operator_problems(model, target.operators)
        found += quantization_problems(model, target)
        if self.dla_core is not None:
            found += dla_problems(model, target, self.dla_core)
            found += dla_told(model, target)[1]
        return found

    def emit(self, model: Model, target: Target, directory: Path, source: Path | None) -> Artifact:
        """Build the engine. Timings of kernels are kept, and make the next build faster.

        Raises EC-510 to EC-514 when the library fails, EC-680 and EC-681 when it refuses.
        """
        del source
        notes, remarks = ((), ()) if self.dla_core is None else dla_told(model, target)
        with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
            work = Path(scratch).resolve()
            made, path = work / "model.engine", work / "input" / "model.onnx"
            path.parent.mkdir()
            save(model, path)
            payload: dict[str, Any] = {
                "library": _LIBRARY,
                "model": str(path),
                "engine": str(made),
                "shapes": shape_ranges(model, self.shapes),
                "workspace_mib": self.workspace_mib,
                "optimization_level": self.optimization_level,
                "timing_cache": str(_timing_cache()),
                "precisions": ["fp16", *(["int8"] if integer_products(model) else [])],
                "layer_precisions": layer_precisions(model),
                "constraint": constraint(layer_precisions(model)),
                "dla_core": self.dla_core,
            }
            run_guarded(f"{_WORKER}:build", payload, tool=_LIBRARY, workdir=work)
            if not made.is_file() or not made.stat().st_size:
                raise TOOL_NONSENSE.error(tool=_LIBRARY, reason="the engine is empty")
            paths = place([made], directory)
        return Artifact(
            format=self.id,
            toolchain=versions(_LIBRARY),
            executable=True,
            reproducible=False,
            notes=notes,
            remarks=remarks,
            **described(paths, directory),
        )


def _timing_cache() -> Path:
    """Beside the step cache, one for each version and GPU."""
    version = versions(_LIBRARY).get(_LIBRARY, "")
    folder = cache_root(None) / "tensorrt"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"timing-{version}-sm{'-'.join(gpu_capabilities())}.cache"
