"""`qnn-dlc`: Qualcomm's container, of the graph itself or compiled for several chips at once.

For one chip it is what QNN's IR back end writes: the graph and its weights, which the QAIRT or SNPE
tools of the device prepare for the chip. For several (`--target a,b`) it is one file with a
compiled graph for each and the weights once, and a wrapper as for a context binary.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar, Literal

from edgecompile.artifacts.types import Artifact
from edgecompile.diagnostics import Diagnostic, EdgecompileError, ExitCode
from edgecompile.diagnostics.catalogue.qnn import DLC_PARTIAL
from edgecompile.emitters.base import Emitter, KitScripts, kit_files
from edgecompile.emitters.files import described, place
from edgecompile.emitters.qnn_built import (
    check_built,
    interface_differences,
    raise_differences,
    refuse_refused,
    weights_problem,
)
from edgecompile.emitters.qnn_context_binary import TOOL, WORKER, WRAPPER, put
from edgecompile.emitters.qnn_placement import beside_the_dsp, coverage, fallbacks, remarks
from edgecompile.emitters.qnn_support import qnn_problems
from edgecompile.ir.model import Model
from edgecompile.ir.save import save
from edgecompile.targets.schema import QnnChip, Target
from edgecompile.vendor import versions
from edgecompile.vendor.guarded import run_guarded
from edgecompile.vendor.qnn.sdk import NAME as SDK

NAME = "model.dlc"
_SHOWN = 3


class QnnDlc(Emitter):
    """Writes `model.dlc`, and for several chips `model_ctx.onnx`."""

    id: ClassVar[str] = "qnn-dlc"
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("onnxruntime-qnn", "onnxruntime")
    extra: ClassVar[str | None] = "qnn"
    sdk: ClassVar[str | None] = SDK
    for_several: ClassVar[bool] = True

    io_quantization: Literal["inside", "outside"] = "inside"
    """Whether the graph quantizes its inputs and dequantizes its outputs, or the application."""
    optimization_level: Literal[1, 2, 3] = 3
    """How hard the compiler works on the graphs of several chips."""

    def supports(self, model: Model, target: Target) -> list[Diagnostic]:
        """What the target's facts speak against; no compiler is asked."""
        return qnn_problems(model, target)

    def emit(self, model: Model, target: Target, directory: Path, source: Path | None) -> Artifact:
        """Write the container, parse it back and hold it against `model`.

        Raises EC-510 to EC-514 when the compiler fails, EC-603, EC-605, EC-625 to EC-627 when what
        it wrote is not the model.
        """
        assert target.qnn is not None
        with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
            work = Path(scratch).resolve()
            if len(target.qnn.chips) > 1:
                return self._for_chips(model, target, work, directory)
            return self._of_graph(model, target, work, directory)

    def _of_graph(self, model: Model, target: Target, work: Path, directory: Path) -> Artifact:
        save(model, work / "model.onnx")
        options = {"backend_type": "ir", "offload_graph_io_quantization": self._offload}
        payload = {"folder": str(work), "model": "model.onnx", "options": options}
        report = run_guarded(
            "edgecompile.vendor.qnn.dlc:make_dlc", payload, tool=TOOL, workdir=work / "process"
        )
        _refuse_partial(report)
        ((name, dlc),) = report["files"].items()
        (graph,) = dlc["graphs"]
        if self.io_quantization == "inside":
            raise_differences(interface_differences(model, graph))
        problems = weights_problem(model, dlc["weight_bytes"])
        if problems:
            raise EdgecompileError(tuple(problems), ExitCode.REJECTED)
        made = (work / name).rename(work / NAME)
        made.chmod(0o644)
        assert target.qnn is not None
        elsewhere = beside_the_dsp(model, target.qnn)
        return Artifact(
            format=self.id,
            toolchain=versions(*self.libraries),
            reproducible=False,
            content_sha256=dlc["content_sha256"],
            notes=(
                f"{len(graph['operators'])} operators, {_prepared(target)}",
                "the container holds the time of its making: equal builds differ in bytes",
            ),
            coverage=coverage(model, elsewhere),
            remarks=tuple(remarks(elsewhere)),
            **described(place([made], directory), directory),
        )

    def _for_chips(self, model: Model, target: Target, work: Path, directory: Path) -> Artifact:
        assert target.qnn is not None
        chips = target.qnn.chips
        payload = {
            "folder": str(work),
            "models": [put(model, "model", work)],
            "options": self._options(chips),
            "embed": False,
            "binary": NAME,
        }
        report = run_guarded(
            f"{WORKER}:compile_models", payload, tool=TOOL, workdir=work / "process"
        )
        refuse_refused(report, target)
        wrapper, dlc = report["models"][0], report["binaries"][NAME]
        raise_differences([] if dlc["kind"] == "dlc" else ["it is no DLC"])
        for chip in chips:
            _check_cache(model, dlc["caches"], wrapper, chip)
        elsewhere = fallbacks(wrapper["others"], wrapper["left_out"])
        made = [work / WRAPPER, work / NAME]
        made[1].chmod(0o644)
        return Artifact(
            format=self.id,
            toolchain=versions(*self.libraries),
            reproducible=False,
            content_sha256=dlc["content_sha256"],
            notes=(
                f"one graph for each of {', '.join(chip.soc_type for chip in chips)}",
                "the container holds the time of its making: equal builds differ in bytes",
            ),
            coverage=coverage(model, elsewhere),
            remarks=tuple(remarks(elsewhere)),
            **described(place(made, directory), directory),
        )

    def kit(self, artifact: Artifact, target: Target) -> KitScripts | None:
        """The runner of the device's SDK: QNN's for a tensor processor, SNPE's for a DSP."""
        assert target.qnn is not None
        if len(target.qnn.chips) > 1:  # onnxruntime-qnn picks the graph of its own chip
            return KitScripts(files=kit_files("qnn"), options={"provider": {"backend_type": "htp"}})
        tool = "qnn-net-run" if target.qnn.backend == "htp" else "snpe-net-run"
        return KitScripts(files=kit_files("qnn_dlc"), options={"tool": tool})

    @property
    def _offload(self) -> str:
        return "1" if self.io_quantization == "outside" else "0"

    def _options(self, chips: tuple[QnnChip, ...]) -> dict[str, str]:
        return {
            "backend_type": "htp",
            "soc_model": ",".join(str(chip.soc_model) for chip in chips),
            "htp_arch": ",".join(str(chip.arch) for chip in chips),
            "htp_graph_finalization_optimization_mode": str(self.optimization_level),
            "offload_graph_io_quantization": self._offload,
        }


def _prepared(target: Target) -> str:
    assert target.qnn is not None
    if target.qnn.backend == "dsp":
        return "for SNPE on the DSP, whose runtime order needs the CPU behind it for the rest"
    return "not prepared for any chip"


def _check_cache(
    model: Model, caches: dict[str, Any], wrapper: dict[str, Any], chip: QnnChip
) -> None:
    mine = [cache for cache in caches.values() if cache["soc_model"] == chip.soc_model]
    raise_differences([] if mine else [f"no compiled graph for {chip.soc_type}"])
    for cache in mine:
        check_built(model, cache, wrapper, chip, chip.vtcm_mb)


def _refuse_partial(report: dict[str, Any]) -> None:
    left = fallbacks(report["left_out"], report["left_out"])
    asked = [one for one in left if "as asked for" not in one.reason]
    if len(report["files"]) == 1 and not asked:
        return
    told = "; ".join(f"{one.op} '{one.node}': {one.reason}" for one in asked[:_SHOWN])
    raise DLC_PARTIAL.error(reasons=told or f"it is written as {len(report['files'])} files")
