"""`verify`: run the float model, the quantized ONNX and the artifact on the same samples."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx_ir as ir

from edgecompile.artifacts.types import (
    INTEGERS,
    Arithmetic,
    Artifact,
    Latency,
    Metric,
    StageFidelity,
)
from edgecompile.calibration.dataset import Dataset
from edgecompile.calibration.meters import METERS, Meter, metrics
from edgecompile.calibration.sample import Label, Sample, Task
from edgecompile.calibration.session import Session, run_session, weight_bytes
from edgecompile.calibration.split import spread
from edgecompile.diagnostics import Diagnostic, EdgecompileError, Where
from edgecompile.diagnostics.catalogue.budget import FLOAT_UNTIMED, NO_RUNTIME
from edgecompile.diagnostics.catalogue.qnn import FEW_SAMPLES
from edgecompile.diagnostics.catalogue.tensorrt import ENGINE_UNKNOWN
from edgecompile.ir.facts import macs
from edgecompile.ir.model import Model
from edgecompile.ir.qdq import PRODUCTS, integer_products, products_in
from edgecompile.ir.save import save
from edgecompile.store.files import sha256_of_file
from edgecompile.targets.schema import Target
from edgecompile.vendor import versions
from edgecompile.verify import gate
from edgecompile.verify.compare import Comparison, Outputs
from edgecompile.verify.results import VerifyResult
from edgecompile.verify.runtimes.base import Account, Nodes, OpenArtifact, Stage
from edgecompile.verify.runtimes.registry import all_runtimes

QUANTIZED = "quantized_onnx"
LATENCY_LIMIT_BYTES = 2**30
"""Models above this size are not timed: loading the float one again would take too long."""

BATCH_BYTES, BATCH_SAMPLES = 16 * 2**20, 32
"""Bounds of what is handed to the artifact's runtime at once, inputs and outputs together."""

Progress = Callable[[int, int], None]


def verify(
    *,
    original: Model,
    quantized: Model | None,
    artifact: Artifact,
    directory: Path,
    target: Target,
    data: Dataset,
    samples: int = 16,
    kept_float: Mapping[str, str] | None = None,
    threads: int = 1,
    time_it: bool = True,
    progress: Progress | None = None,
) -> VerifyResult:
    """Compare on `samples` of `data`, spread evenly, and measure task metrics on all labelled ones.

    `original` is the float model, `quantized` the ONNX that the artifact was made from (None when a
    pass made a vendor file instead), `directory` the build directory that holds `artifact`.
    `kept_float` maps node names to the reason why a pass left them in float. A few samples are in
    memory at a time. What speaks against the artifact is in the result's `diagnostics`.
    Raises EC-340 and EC-341 when ONNX Runtime cannot run a model, EC-500 to EC-514 for OpenVINO,
    EC-603 when the artifact has other outputs, EC-659 for labels that do not fit.
    """
    with ExitStack() as stack:
        scratch = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="edgecompile-"))
        ).resolve()
        runtime = all_runtimes().get(artifact.format)
        opened: OpenArtifact | None = None
        if runtime is not None:
            path = directory / artifact.path
            _require_own(artifact, path)
            opened = stack.enter_context(runtime().open(path, target, scratch, threads=threads))
        run = _Run(
            reference=run_session(original, threads=threads),
            onnx=None if quantized is None else run_session(quantized, threads=threads, exact=True),
            quantized=quantized is not None,
            artifact=opened,
            task=data.task,
        )
        run.all(data, set(spread(len(data), samples)), progress)
        first = data[0]
        account = None
        if opened is not None:
            nodes = _nodes(original if quantized is None else quantized)
            account = opened.account(first.feeds, kept_float or {}, nodes)
        run.close()
        latency, untimed = None, None
        if time_it:
            latency, untimed = _latency(opened, original, first, scratch)
    found = run.result(account, latency, artifact.format)
    said = () if untimed is None else (untimed,)
    return found.model_copy(update={"timing_diagnostics": (*found.timing_diagnostics, *said)})


def _require_own(artifact: Artifact, path: Path) -> None:
    """Executable artifacts are loaded only as the bytes that were built. Raises EC-687."""
    if artifact.executable and len(artifact.files) == 1 and sha256_of_file(path) != artifact.sha256:
        reason = "its SHA-256 is not that of the artifact that was built"
        raise ENGINE_UNKNOWN.error(Where(file=str(path)), path=artifact.path, reason=reason)


def _nodes(model: Model) -> Nodes:
    """Those of the main graph."""
    named = [(node, node.name or node.outputs[0].name or "") for node in model.graph.graph]
    floats = products_in(model, ir.DataType.FLOAT8E4M3FN)
    return Nodes(
        makers={v.name: name for node, name in named for v in node.outputs if v.name},
        operators={name: node.op_type for node, name in named},
        macs={name: macs(node, dynamic=1) for node, name in named if node.op_type in PRODUCTS},
        integer=floats or integer_products(model),
        narrow_floats=bool(floats),
    )


def _batch_size(arrays: Sequence[Outputs]) -> int:
    """How many samples to run at once: few enough to stay small, enough to save round trips."""
    each = sum(array.nbytes for named in arrays for array in named.values())
    return max(1, min(BATCH_SAMPLES, BATCH_BYTES // max(1, each)))


def _latency(
    opened: OpenArtifact | None, original: Model, first: Sample, scratch: Path
) -> tuple[Latency | None, Diagnostic | None]:
    """Times of both models, or why there are none: the artifact is as good without."""
    if opened is None or not opened.stages or weight_bytes(original) > LATENCY_LIMIT_BYTES:
        return None, None
    path = scratch / "float.onnx"
    save(original, path, inline_bytes=0)
    try:
        return opened.latency(path, first.feeds), None
    except EdgecompileError as error:
        return None, FLOAT_UNTIMED.at(reason=error.diagnostics[0].message)


@dataclass(kw_only=True)
class _Run:
    """The three models side by side, and the sums over the samples that they have seen."""

    reference: Session | None
    onnx: Session | None
    quantized: bool
    artifact: OpenArtifact | None
    task: Task | None
    compared: dict[str, Comparison] = field(default_factory=dict)
    meters: dict[str, Meter] = field(default_factory=dict)
    samples: int = 0
    labelled: int = 0

    @property
    def stages(self) -> Sequence[Stage]:
        return self.artifact.stages if self.artifact else ()

    @property
    def judged(self) -> tuple[str, ...]:
        """Stages that budgets apply to; without an artifact that runs, the quantized ONNX."""
        judged = tuple(stage.name for stage in self.stages if stage.judged)
        return judged or ((QUANTIZED,) if self.quantized else ())

    @property
    def measured(self) -> tuple[str, ...]:
        """Stages that task metrics are taken from: no emulator has the time for all samples."""
        slow = {stage.name for stage in self.stages if stage.emulated}
        fast = tuple(name for name in self.judged if name not in slow)
        return fast or ((QUANTIZED,) if self.quantized else self.judged)

    def close(self) -> None:
        """Let the models go: what comes after the samples needs the memory for its own."""
        self.reference = self.onnx = None

    def _runs(self, index: int, chosen: set[int]) -> bool:
        """Whether the artifact runs the sample."""
        return index in chosen or any(not stage.emulated for stage in self.stages)

    def all(self, data: Dataset, chosen: set[int], progress: Progress | None) -> None:
        """Run what each sample is for: the `chosen` are compared, the labelled are counted."""
        wanted = [i for i in range(len(data)) if self.task is not None or i in chosen]
        done, size = 0, 1
        while done < len(wanted):
            batch = {i: data[i] for i in wanted[done : done + size]}
            feeds = [sample.feeds for sample in batch.values()]
            run = [index for index in batch if self._runs(index, chosen)] if self.artifact else []
            made = self.artifact.run([batch[i].feeds for i in run]) if self.artifact else []
            got = dict(zip(run, made, strict=True))
            for index, sample in batch.items():
                self.one(sample, got.get(index, {}), compare=index in chosen)
            done += len(batch)
            size = _batch_size([*feeds[:1], *next(iter(got.values()), {}).values()])
            if progress is not None:
                progress(done, len(wanted))

    def one(self, sample: Sample, got: dict[str, Outputs], *, compare: bool) -> None:
        """Add a sample, with the artifact's outputs for each stage, to the sums."""
        assert self.reference is not None
        want = self.reference.run(sample.feeds, sample=sample.name)
        if self.onnx is not None and (compare or QUANTIZED in self.measured):
            got[QUANTIZED] = self.onnx.run(sample.feeds, sample=sample.name)
        if compare:
            self.samples += 1
            for stage, outputs in got.items():
                self.compared.setdefault(stage, Comparison()).add(want, outputs)
        if self.task is not None and sample.label is not None:
            self.count(want, got, sample.label)

    def count(self, want: Outputs, got: Mapping[str, Outputs], label: Label) -> None:
        assert self.task is not None
        self.labelled += 1
        meter = METERS[self.task.kind]
        judged = {stage: {name: got[stage][name] for name in want} for stage in self.measured}
        for stage, outputs in {"": want, **judged}.items():
            self.meters.setdefault(stage, meter(self.task)).add(outputs, label)

    def metrics(self) -> dict[str, Metric]:
        """Float against the worst judged stage."""
        if not self.meters:
            return {}
        found: dict[str, Metric] = {}
        for stage in self.measured:
            for name, plain in metrics(self.meters[""], self.meters[stage]).items():
                metric = replace(plain, arithmetic=self._arithmetic(stage))
                worse = max if metric.kind == "error" else min
                found[name] = worse((metric, found.get(name, metric)), key=lambda m: m.quantized)
        return found

    def result(
        self, account: Account | None, latency: Latency | None, artifact_format: str
    ) -> VerifyResult:
        kept = {QUANTIZED, *(stage.name for stage in self.stages)}
        self.compared = {name: sums for name, sums in self.compared.items() if name in kept}
        fidelity = {name: self._fidelity(name) for name in sorted(self.compared)}
        integer = account is not None and bool(set(INTEGERS) & set(account.coverage.precision))
        notes: list[Diagnostic] = [
            *gate.broken(self.compared, self.stages),
            *gate.saturation(self.stages, fidelity),
        ]
        notes += [NO_RUNTIME.at(format=artifact_format)] if self.artifact is None else []
        notes += self.artifact.notes if self.artifact else ()
        if self.labelled and any(stage.emulated for stage in self.stages):
            notes.append(FEW_SAMPLES.at(ran=self.samples))
        return VerifyResult(
            samples=self.samples,
            stages=fidelity,
            judged=self.judged,
            metrics=self.metrics(),
            metric_samples=self.labelled,
            coverage=account.coverage if account else None,
            integer_macs=account.integer_macs if account else None,
            latency=latency,
            diagnostics=tuple(notes),
            timing_diagnostics=tuple(
                gate.slower(
                    latency, integer=integer, coverage=account.coverage if account else None
                )
            ),
        )

    def _arithmetic(self, name: str) -> Arithmetic:
        stage = next((stage for stage in self.stages if stage.name == name), None)
        return stage.arithmetic if stage else "exact"

    def _fidelity(self, name: str) -> StageFidelity:
        stage = next((stage for stage in self.stages if stage.name == name), None)
        version = versions("onnxruntime").get("onnxruntime", "")
        return StageFidelity(
            arithmetic=self._arithmetic(name),
            runtime=stage.runtime if stage else f"onnxruntime {version} CPU, QDQ fusion off",
            outputs=self.compared[name].fidelity(),
        )
