"""`manifest.json`: what a build was made of, what came out, and the proof. DESIGN section 4.

Nothing in it depends on when or where the build ran, so equal builds give equal manifests.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from edgecompile.artifacts.document import Document, Record
from edgecompile.artifacts.kit import DeviceLatency
from edgecompile.artifacts.types import (
    Artifact,
    BudgetResult,
    Coverage,
    Metric,
    StageFidelity,
    Status,
)

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ModelRecord(Record):
    """The model that the build was given."""

    name: str
    """File name, without its directory."""
    sha256: Sha256
    """Digest of the model's content, weights included."""
    bytes: int = Field(ge=0)
    """Size of the file and its external data."""


class TargetRecord(Record):
    """The device that the build was made for."""

    id: str
    facts_sha256: Sha256


class StepRecord(Record):
    """One resolved step of the recipe: every option, defaults too."""

    step: str
    pass_: Annotated[str, Field(alias="pass")]
    options: dict[str, Any] = Field(default_factory=dict)


class RecipeRecord(Record):
    """The recipe, as it was after `--set`."""

    name: str
    sha256: Sha256
    steps: tuple[StepRecord, ...]
    emit: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options that the recipe sets for artifact formats."""


class DataRecord(Record):
    """Samples that the build used. `source` has no directory part."""

    sha256: Sha256
    samples: int = Field(ge=0)
    source: str
    random: bool = False
    """True when the samples are random numbers that the user asked for by name."""


class DeviceProof(Record):
    """What `edgecompile prove` has learned from a device."""

    device: str
    runtime: str
    samples: int = Field(ge=1)
    report_sha256: Sha256
    latency_ms: DeviceLatency
    times_ms: dict[str, float] = Field(default_factory=dict)
    """Of the `artifact` and of the same network in `fp16` and `fp32`, measured in turns there."""


class KitRecord(Record):
    """The device kit: what a device needs to prove the artifact."""

    files: tuple[str, ...]
    """Relative to the build directory."""
    sha256: Sha256
    """Of `kit.json`, which holds the digests of the rest."""
    samples: int = Field(ge=1)
    random: bool = False
    """True when the golden inputs are random numbers."""


class ArtifactRecord(Record):
    """One artifact. `path` and `files` are relative to the build directory, in POSIX form."""

    path: str
    files: tuple[str, ...] = ()
    format: str
    sha256: Sha256
    bytes: int = Field(ge=0)
    status: Status
    why: str = ""
    """Why the status is what it is."""
    toolchain: dict[str, str]
    executable: bool
    reproducible: bool = True
    """False when the vendor's format does not give the same bytes for the same input."""
    content_sha256: Sha256 | None = None
    """Then the digest of what the artifact computes, where its format can be taken apart."""
    notes: tuple[str, ...] = ()
    device: DeviceProof | None = None
    """The device that has run it, once its report was merged."""

    @classmethod
    def of(cls, artifact: Artifact, status: Status, why: str = "") -> ArtifactRecord:
        """The record of an emitted artifact with the status that verification gave it."""
        return cls(
            path=artifact.path,
            files=artifact.files,
            format=artifact.format,
            sha256=artifact.sha256,
            bytes=artifact.bytes,
            status=status,
            why=why,
            toolchain=dict(sorted(artifact.toolchain.items())),
            executable=artifact.executable,
            reproducible=artifact.reproducible,
            content_sha256=artifact.content_sha256 or None,
            notes=artifact.notes,
        )


class FidelityRecord(Record):
    """How near the result is to the float model, stage by stage."""

    samples: int = Field(ge=0)
    held_out: bool
    """True when no sample was used for calibration."""
    stages: dict[str, StageFidelity]
    """`quantized_onnx`, `artifact`, `artifact_exact` where the arithmetic differs, and `device`
    once a device has reported."""


class SizeRecord(Record):
    """Bytes of weights and graph, before and after."""

    float_bytes: int = Field(ge=0)
    artifact_bytes: int = Field(ge=0)


class DiagnosticRecord(Record):
    """A diagnostic in the form of `Diagnostic.to_json`."""

    code: str
    severity: Literal["error", "warning", "note"]
    message: str
    where: dict[str, str | int] = Field(default_factory=dict)
    why: str = ""
    hints: tuple[str, ...] = ()


class BuildFacts(Document):
    """What the manifest and the report have in common."""

    edgecompile: str
    """Version of edgecompile."""
    libraries: dict[str, str] = Field(default_factory=dict)
    """Versions of the libraries that took part: distribution -> version."""
    model: ModelRecord
    target: TargetRecord
    recipe: RecipeRecord
    calibration: DataRecord | None = None
    """None when no pass needed data."""
    evaluation: DataRecord | None = None
    """Labelled or held-out data, when it was given apart from the calibration data."""
    artifacts: tuple[ArtifactRecord, ...]
    kit: KitRecord | None = None
    """None where the build itself has run the artifact as the device does."""
    fidelity: FidelityRecord | None = None
    """None when nothing could be run."""
    metrics: dict[str, Metric] = Field(default_factory=dict)
    coverage: Coverage | None = None
    size: SizeRecord
    budgets: tuple[BudgetResult, ...] = ()
    diagnostics: tuple[DiagnosticRecord, ...] = ()


class Manifest(BuildFacts):
    """`manifest.json`, schema `edgecompile/manifest@1`."""

    schema_: Annotated[Literal["edgecompile/manifest@1"], Field(alias="schema")] = (
        "edgecompile/manifest@1"
    )


def json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of `manifest.json`."""
    schema = Manifest.model_json_schema(by_alias=True, mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
