"""What a build gives: `Artifact`, its `Status`, and figures of fidelity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Status(StrEnum):
    """How far an artifact was proven here. Never upgraded silently; see DESIGN section 3."""

    VERIFIED = "verified"
    SIMULATED = "simulated"
    CHECKED = "checked"
    NEEDS_DEVICE_BUILD = "needs-device-build"


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
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class OutputFidelity:
    """How near one output is to the float model's, over all samples.

    `cosine` is the mean over samples of the cosine of the flattened output; `sqnr_db` is
    10 log10(sum of squares of the reference / sum of squares of the error), infinite errors are
    -inf; `max_abs` the largest absolute difference; `top1_agreement` the share of rows whose
    largest entry stays the same, for outputs that look like class scores.
    """

    cosine: float
    sqnr_db: float
    max_abs: float
    top1_agreement: float | None = None


@dataclass(frozen=True, kw_only=True)
class StageFidelity:
    """Fidelity of one stage (`quantized_onnx` or `artifact`) and the arithmetic it ran in."""

    arithmetic: str
    """`exact` (fake quantization in float) or `runtime` (the kernels of this machine)."""
    runtime: str
    """Which runtime and precision, such as `onnxruntime 1.32.0, QDQ fusion off`."""
    outputs: Mapping[str, OutputFidelity] = field(default_factory=dict)
