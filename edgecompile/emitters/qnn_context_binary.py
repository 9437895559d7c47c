"""`qnn-context-binary`: a graph compiled for one Hexagon processor, and its ONNX wrapper.

The wrapper is what an application opens with onnxruntime-qnn: one EPContext node for the compiled
graph, and the nodes that stay on the CPU, if any. The compile runs in a guarded process; what the
binary says about itself is held against the chip before it counts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from edgecompile.artifacts.types import Artifact, Fallback
from edgecompile.diagnostics import Diagnostic
from edgecompile.diagnostics.catalogue.qnn import VTCM_TOO_LARGE
from edgecompile.emitters.base import Emitter, KitScripts, kit_files
from edgecompile.emitters.files import described, place
from edgecompile.emitters.qnn_built import check_built, refuse_refused
from edgecompile.emitters.qnn_placement import coverage, fallbacks, remarks
from edgecompile.emitters.qnn_support import qnn_problems
from edgecompile.ir.model import Model
from edgecompile.ir.save import save
from edgecompile.targets.schema import QnnChip, Target
from edgecompile.vendor import versions
from edgecompile.vendor.guarded import run_guarded

TOOL = "onnxruntime-qnn"
WORKER = "edgecompile.vendor.qnn.compile"
WRAPPER, BINARY = "model_ctx.onnx", "model_ctx_qnn.bin"
SHARED = "shared_qnn.bin"

Profile = Literal[
    "default", "burst", "sustained_high_performance", "high_performance", "balanced",
    "low_balanced", "high_power_saver", "power_saver", "low_power_saver",
    "extreme_power_saver",
]  # fmt: skip


class QnnContextBinary(Emitter):
    """Writes `model_ctx.onnx` and, unless it is embedded, `model_ctx_qnn.bin`."""

    id: ClassVar[str] = "qnn-context-binary"
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("onnxruntime-qnn", "onnxruntime")
    extra: ClassVar[str | None] = "qnn"
    links: ClassVar[bool] = True

    wrapper: Literal["external", "embedded"] = "external"
    """Whether the binary lies beside the wrapper or inside of it."""
    optimization_level: Literal[1, 2, 3] = 3
    """How hard the compiler works on the graph; higher takes longer to build and runs faster."""
    vtcm_mb: Annotated[int, Field(ge=1)] | None = None
    """Tightly coupled memory to use, in MiB; null is all that the chip has."""
    io_quantization: Literal["inside", "outside"] = "inside"
    """Whether the processor quantizes inputs and dequantizes outputs, or the application's CPU."""
    spill_fill_buffer: bool = False
    """Let the contexts of one application share the buffer for what does not fit on the chip."""
    performance_profile: Profile = "burst"
    """Clock and power of the processor while it runs; the wrapper keeps it for the runtime."""

    def supports(self, model: Model, target: Target) -> list[Diagnostic]:
        """What the target's facts speak against; no compiler is asked."""
        return [*self._memory(target), *qnn_problems(model, target)]

    def _memory(self, target: Target) -> list[Diagnostic]:
        chips = target.qnn.chips if target.qnn else ()
        return [
            VTCM_TOO_LARGE.at(asked=self.vtcm_mb, chip=chip.soc_type, has=chip.vtcm_mb)
            for chip in chips
            if self.vtcm_mb is not None and self.vtcm_mb > chip.vtcm_mb
        ]

    def provider_options(self, chip: QnnChip) -> dict[str, str]:
        """The options of the provider, in its own names: no others ever reach it."""
        options = {
            "backend_type": "htp",
            "soc_model": str(chip.soc_model),
            "htp_graph_finalization_optimization_mode": str(self.optimization_level),
            "offload_graph_io_quantization": "1" if self.io_quantization == "outside" else "0",
            "enable_htp_spill_fill_buffer": "1" if self.spill_fill_buffer else "0",
            "htp_performance_mode": self.performance_profile,
        }
        return options if self.vtcm_mb is None else {**options, "vtcm_mb": str(self.vtcm_mb)}

    def emit(self, model: Model, target: Target, directory: Path, source: Path | None) -> Artifact:
        """Compile `model` for the target's chip.

        Raises EC-510 to EC-514 when the compiler fails, EC-603, EC-625 and EC-626 when what it
        wrote is not what was asked for.
        """
        assert target.qnn is not None
        (chip,) = target.qnn.chips
        with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
            work = Path(scratch).resolve()
            report = self._compiled({"model": model}, chip, work, BINARY)
            refuse_refused(report, target)
            wrapper = report["models"][0]
            (binary,) = report["binaries"].values()
            check_built(model, binary, wrapper, chip, self.vtcm_mb or chip.vtcm_mb)
            names = [WRAPPER] if self.wrapper == "embedded" else [WRAPPER, BINARY]
            paths = place([work / name for name in names], directory)
        elsewhere = self._elsewhere(wrapper)
        return Artifact(
            format=self.id,
            toolchain={**versions(*self.libraries), "qnn": str(binary["build_id"])},
            notes=_notes(chip, self.vtcm_mb or chip.vtcm_mb, wrapper),
            coverage=coverage(model, elsewhere),
            remarks=tuple(remarks(elsewhere)),
            **described(paths, directory),
        )

    def link(self, models: Mapping[str, Model], target: Target, directory: Path) -> Artifact:
        """Compile all `models` into one binary, with a wrapper for each.

        Raises as `emit` does.
        """
        assert target.qnn is not None
        (chip,) = target.qnn.chips
        with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
            work = Path(scratch).resolve()
            report = self._compiled(models, chip, work, SHARED)
            refuse_refused(report, target)
            elsewhere: list[Fallback] = []
            for model, wrapper in zip(models.values(), report["models"], strict=True):
                binary = report["binaries"][SHARED]
                check_built(model, binary, wrapper, chip, self.vtcm_mb or chip.vtcm_mb)
                elsewhere += self._elsewhere(wrapper)
            paths = place([work / f"{n}_ctx.onnx" for n in models] + [work / SHARED], directory)
        return Artifact(
            format=self.id,
            toolchain={**versions(*self.libraries), "qnn": str(binary["build_id"])},
            notes=(f"{chip.soc_type}, {len(models)} models in one binary",),
            remarks=tuple(remarks(elsewhere)),
            **described(paths, directory),
        )

    def kit(self, artifact: Artifact, target: Target) -> KitScripts | None:
        """onnxruntime-qnn on the device, with the profile that was asked for."""
        assert target.qnn is not None
        (chip,) = target.qnn.chips
        known = ("backend_type", "soc_model", "htp_performance_mode")
        options = {k: v for k, v in self.provider_options(chip).items() if k in known}
        return KitScripts(files=kit_files("qnn"), options={"provider": options})

    def _elsewhere(self, wrapper: Mapping[str, Any]) -> list[Fallback]:
        found = fallbacks(wrapper["others"], wrapper["left_out"])
        if self.io_quantization == "outside":
            return [one for one in found if "as asked for" not in one.reason]
        return found

    def _compiled(
        self, models: Mapping[str, Model], chip: QnnChip, work: Path, binary: str
    ) -> dict[str, Any]:
        """Let the compiler write into `work`; its report."""
        payload = {
            "folder": str(work),
            "models": [put(model, name, work) for name, model in models.items()],
            "options": self.provider_options(chip),
            "embed": self.wrapper == "embedded" and len(models) == 1,
            "binary": binary,
        }
        answer: dict[str, Any] = run_guarded(
            f"{WORKER}:compile_models", payload, tool=TOOL, workdir=work / "process"
        )
        return answer


def put(model: Model, name: str, work: Path) -> dict[str, Any]:
    """Save a model into the worker's folder; how its payload names it."""
    save(model, work / f"{name}.onnx")
    metadata = dict(model.graph.metadata_props)
    return {"model": f"{name}.onnx", "wrapper": f"{name}_ctx.onnx", "metadata": metadata}


def _notes(chip: QnnChip, vtcm_mb: int, wrapper: Mapping[str, Any]) -> tuple[str, ...]:
    parts = len(wrapper["contexts"])
    split = f", in {parts} parts" if parts > 1 else ""
    return (f"{chip.soc_type}, Hexagon v{chip.arch}, {vtcm_mb} MiB VTCM{split}",)
