"""OpenVINO's CPU plugin, in guarded processes: as this CPU computes, and as the target does.

CPUs with AVX2 but no VNNI add pairs of u8 x s8 products in 16 bits, which saturates. So a CPU of
that kind also runs the IR in exact arithmetic (fake quantization in float), and another CPU also
runs it with kernels that do without VNNI when the target's family includes such CPUs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgecompile.artifacts.types import Latency
from edgecompile.diagnostics import Diagnostic, EdgecompileError
from edgecompile.diagnostics.catalogue.emit import SATURATION_UNKNOWN
from edgecompile.targets.schema import Saturation, Target
from edgecompile.vendor import demand, versions
from edgecompile.vendor.guarded import GuardedProcess, Json
from edgecompile.verify.compare import Array, Outputs
from edgecompile.verify.coverage import account
from edgecompile.verify.runtimes.base import Account, ArtifactRuntime, Nodes, OpenArtifact, Stage
from edgecompile.verify.runtimes.feeds import write_feeds

_RUNNER = "edgecompile.vendor.openvino.runner"
_CAPS = ("AVX2", "AVX512_CORE")
"""Instruction sets without VNNI, to which oneDNN can be capped. The first is what such CPUs mostly
have; on a CPU with AVX-512 it makes OpenVINO 2026.4 crash on some models, and the second does not.
"""
Feeds = Mapping[str, Array]
Shapes = dict[str, tuple[int, ...]]
EXACT, SATURATING = "artifact_exact", "artifact_saturating"


class OpenVinoRuntime(ArtifactRuntime):
    """Runs `openvino-ir`."""

    id: ClassVar[str] = "openvino-ir"
    extra: ClassVar[str | None] = "openvino"

    @contextmanager
    def open(
        self, path: Path, target: Target, workdir: Path, *, threads: int
    ) -> Iterator[OpenArtifact]:
        """Start a worker that holds the IR, and a second one where the target may saturate."""
        demand("openvino")
        with ExitStack() as stack:
            session = _Session(stack, path, workdir, threads)
            facts = session.start()
            may_saturate = target.quantization is not None and (
                target.quantization.saturation is not Saturation.NEVER
            )
            stages = [_stage("artifact", judged=True)]
            session.route("artifact", 0, "runtime")
            if facts["integer"] and facts["saturates"]:
                stages = [
                    _stage("artifact", judged=may_saturate, saturates=True),
                    _stage(EXACT, judged=not may_saturate),
                ]
                session.route(EXACT, 0, "exact")
            elif facts["integer"] and may_saturate and session.start_capped():
                stages.append(_stage(SATURATING, judged=True, saturates=True))
            session.stages = stages
            yield session


def _stage(name: str, *, judged: bool, saturates: bool = False) -> Stage:
    version = versions("openvino").get("openvino", "")
    how = {
        "artifact": "kernels of this CPU" + (", which saturate" if saturates else ""),
        EXACT: "fake quantization written out in float",
        SATURATING: "kernels without VNNI, which saturate",
    }[name]
    return Stage(
        name=name,
        arithmetic="exact" if name == EXACT else "runtime",
        runtime=f"openvino {version} CPU, f32, {how}",
        judged=judged,
        saturates=saturates,
    )


class _Session(OpenArtifact):
    """Workers with the IR loaded, and which stage runs where."""

    def __init__(self, stack: ExitStack, path: Path, workdir: Path, threads: int) -> None:
        self.stages: list[Stage] = []
        self.notes: list[Diagnostic] = []
        self._stack = stack
        self._path = path
        self._workdir = workdir
        self._threads = threads
        self._workers: list[GuardedProcess] = []
        self._routes: list[tuple[str, int, str]] = []
        self._outputs: list[list[str]] = []
        self._caps = list(_CAPS)

    def start(self, cap: str | None = None) -> dict[str, Any]:
        """Start one more worker, with kernels up to `cap`, and load the IR in it."""
        variables = {} if cap is None else {"ONEDNN_MAX_CPU_ISA": cap}
        worker = GuardedProcess("openvino", workdir=self._workdir, extra_environment=variables)
        self._workers.append(self._stack.enter_context(worker))
        payload = {"model": str(self._path.resolve()), "threads": self._threads}
        facts: dict[str, Any] = worker.call(f"{_RUNNER}:open_model", payload)
        self._outputs = facts["outputs"]
        return facts

    def start_capped(self) -> bool:
        """Start a worker with older kernels; false where they fail, or do not saturate (Arm)."""
        cap = self._caps.pop(0)
        try:
            saturates = bool(self.start(cap)["saturates"])
        except EdgecompileError as error:
            return self._start_next(error.diagnostics[0].message)
        if saturates:
            self.route(SATURATING, len(self._workers) - 1, "runtime")
        return saturates

    def _start_next(self, reason: str) -> bool:
        """Try the next older kernels after these failed; a note when none is left."""
        self._routes = [route for route in self._routes if route[0] != SATURATING]
        if self._caps:
            return self.start_capped()
        self.notes.append(SATURATION_UNKNOWN.at(reason=reason))
        return False

    def route(self, stage: str, worker: int, config: str) -> None:
        """Let `stage` run in a worker's `config`."""
        self._routes.append((stage, worker, config))

    def run(self, samples: Sequence[Feeds]) -> list[dict[str, Outputs]]:
        """Outputs of the samples for each stage, under every name that an output has."""
        given = write_feeds(self._workdir, samples)
        found: list[dict[str, Outputs]] = [{} for _ in samples]
        for stage in [stage.name for stage in self.stages]:
            if stage == SATURATING:
                made = self._run_capped(stage, given, [_shapes(into) for into in found])
            else:
                made = self._run(stage, given)
            for into, outputs in zip(found, made, strict=False):
                into[stage] = outputs
        return found

    def _run_capped(self, stage: str, given: Json, shapes: list[Shapes]) -> list[Outputs]:
        """As `_run`, with the next older kernels when these fail, and nothing at last.

        They only tell about another CPU than this, so that the build can go on. Outputs of other
        `shapes` than the artifact's are a failure, too: capped to AVX2 on a CPU with AVX-512,
        OpenVINO 2026.4 was seen to give empty ones.
        """
        try:
            made = self._run(stage, given)
        except EdgecompileError as error:
            reason = error.diagnostics[0].message
        else:
            if all(_shapes({stage: one}) == known for one, known in zip(made, shapes, strict=True)):
                return made
            reason = "the outputs had other shapes than with this CPU's own kernels"
        if self._start_next(reason):
            return self._run_capped(stage, given, shapes)
        self.stages = [kept for kept in self.stages if kept.name != stage]
        return []

    def _run(self, stage: str, given: Json) -> list[Outputs]:
        at, config = next((at, config) for name, at, config in self._routes if name == stage)
        results = self._workdir / "results.npz"
        payload = {**given, "config": config, "results": str(results)}
        self._workers[at].call(f"{_RUNNER}:run", payload)
        with np.load(results) as stored:
            return [
                {
                    name: stored[f"{k}/{i}"]
                    for i, names in enumerate(self._outputs)
                    for name in names
                }
                for k in range(given["samples"])
            ]

    def account(
        self,
        feeds: Feeds,
        kept_float: Mapping[str, str],
        nodes: Nodes,
    ) -> Account:
        """Layers and precisions of the compiled model."""
        payload = {"shapes": {name: list(array.shape) for name, array in feeds.items()}}
        report = self._workers[0].call("edgecompile.vendor.openvino.layers:layers", payload)
        return account(report["layers"], report["macs"], kept_float, nodes)

    def latency(self, float_model: Path, feeds: Feeds) -> Latency:
        """Medians of alternating runs of the float ONNX file and the IR."""
        payload = {"float": str(float_model), **write_feeds(self._workdir, [feeds])}
        times = self._workers[0].call(f"{_RUNNER}:latency", payload)
        return Latency(
            runtime=f"openvino {versions('openvino').get('openvino', '')} CPU, f32",
            threads=self._threads,
            float_ms=times["float_ms"],
            artifact_ms=times["artifact_ms"],
        )


def _shapes(stages: Mapping[str, Outputs]) -> Shapes:
    """Output name -> shape, of the first of `stages`."""
    outputs = next(iter(stages.values()))
    return {name: array.shape for name, array in outputs.items()}
