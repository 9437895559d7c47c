"""What a build gives: `Artifact`, its `Status`, and figures of fidelity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import WithJsonSchema

from edgecompile.diagnostics import Diagnostic

Figure = Annotated[
    float,
    WithJsonSchema(
        {"anyOf": [{"type": "number"}, {"enum": ["Infinity", "-Infinity", "NaN"]}]},
    ),
]
"""A measured number. JSON has no infinities: they are written as strings."""


INTEGERS = ("int4", "int8", "int16")
"""The precisions of `Coverage` that are integers."""


class Status(StrEnum):
    """How far an artifact was proven here. Never upgraded silently; see DESIGN section 3."""

    VERIFIED = "verified"
    SIMULATED = "simulated"
    CHECKED = "checked"
    NEEDS_DEVICE_BUILD = "needs-device-build"


@dataclass(frozen=True, kw_only=True)
class Fallback:
    """A node that the target does not accelerate, or that stays in float, and why."""

    node: str
    op: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How much of the artifact runs accelerated, from the runtime's own account of it.

    `precision` counts nodes by the precision they compute in (`int8`, `int4`, `fp16`, `fp32`).
    """

    nodes: int
    accelerated: int
    fallback: tuple[Fallback, ...] = ()
    precision: Mapping[str, int] = field(default_factory=dict)
    unit: str = ""
    """The compute unit that `accelerated` counts, where a compiler has placed the nodes: `npu`."""
    accelerated_macs: Figure | None = None
    """Share of the multiply-accumulates that run there; None when they could not be counted."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One file set for the device. `path` is relative to the build directory, in POSIX form.

    `files` are all files of the artifact (an IR is an .xml and a .bin), relative like `path`.
    """

    path: str
    files: tuple[str, ...]
    format: str
    sha256: str
    bytes: int
    toolchain: Mapping[str, str]
    executable: bool = False
    reproducible: bool = True
    content_sha256: str = ""
    """Digest of what it computes, for a format whose bytes differ from build to build."""
    notes: tuple[str, ...] = ()
    coverage: Coverage | None = None
    """Where the compiler has placed the nodes, when it tells without running the artifact."""
    remarks: tuple[Diagnostic, ...] = ()
    """What the emitter has to say about the result: warnings and notes."""


@dataclass(frozen=True, kw_only=True)
class OutputFidelity:
    """How near one output is to the float model's, over all samples.

    `cosine` is the mean over samples of the cosine of the flattened output; `sqnr_db` is
    10 log10(sum of squares of the reference / sum of squares of the error), infinite errors are
    -inf; `max_abs` the largest absolute difference; `top1_agreement` the share of rows whose
    largest entry stays the same, for outputs that look like class scores.
    """

    cosine: Figure
    sqnr_db: Figure
    max_abs: Figure
    top1_agreement: Figure | None = None


Arithmetic = Literal["exact", "runtime"]
"""`exact` (fake quantization in float) or `runtime` (the kernels of the machine that ran it)."""


@dataclass(frozen=True, kw_only=True)
class StageFidelity:
    """Fidelity of one stage and the arithmetic it ran in.

    Stages are `quantized_onnx`, `artifact` (as the runtime runs it here) and, where that can
    differ from the target's arithmetic, `artifact_exact` (the same artifact, integer kernels off).
    """

    arithmetic: Arithmetic
    runtime: str
    """Which runtime and precision, such as `onnxruntime 1.32.0, QDQ fusion off`."""
    outputs: Mapping[str, OutputFidelity] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One task metric on labelled data. `kind` is `accuracy`, `error` (less is better), ..."""

    float: Figure
    quantized: Figure
    kind: str
    arithmetic: Arithmetic | None = None
    """That of `quantized`; the float model runs in ONNX Runtime. None where nobody noted it."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Median time of one inference on the build machine, which is not the device."""

    runtime: str
    threads: int
    float_ms: float
    artifact_ms: float


@dataclass(frozen=True, kw_only=True)
class BudgetResult:
    """One budget and what was reached; `actual` is None when the figure was not measured."""

    metric: str
    required: str
    actual: Figure | None
    met: bool
    arithmetic: Arithmetic | None = None
    """That of `actual`; None when it was not measured."""
