"""`VerifyResult`: the figures of a verification, in a form that the cache can keep."""

from __future__ import annotations

import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from edgecompile.artifacts.types import Coverage, Latency, Metric, StageFidelity
from edgecompile.diagnostics import Diagnostic


class VerifyResult(BaseModel):
    """What was measured, and what there is to say about it."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    samples: int
    """Samples that the fidelity was measured on."""
    stages: dict[str, StageFidelity]
    """`quantized_onnx`, `artifact`, and `artifact_exact` or `artifact_saturating`."""
    judged: tuple[str, ...]
    """Stages that compute as the target does: budgets apply to the worst of them."""
    metrics: dict[str, Metric] = {}
    """Task metrics, float against the artifact in the judged arithmetic (the worst of several)."""
    metric_samples: int = 0
    coverage: Coverage | None = None
    integer_macs: float | None = None
    """Share of multiply-accumulates that run in integers; None when it could not be counted."""
    latency: Latency | None = None
    """Measured on the build machine and different each time: for the report, not the manifest."""
    diagnostics: tuple[Diagnostic, ...] = ()
    """What speaks against the artifact or should be known; the same in every build."""
    timing_diagnostics: tuple[Diagnostic, ...] = ()
    """What `latency` gives reason to say: for the report, not the manifest."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; the inverse of `from_json`."""
        document: dict[str, Any] = json.loads(self.model_dump_json())  # writes infinities as text
        return document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Read what `to_json` gave. Raises `pydantic.ValidationError` for anything else."""
        return cls.model_validate(document)
