"""`manifest.json` of a linked folder: several builds in one artifact that shares what is equal."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgecompile.artifacts.document import Document, Record
from edgecompile.artifacts.manifest import ArtifactRecord, DiagnosticRecord, Sha256, TargetRecord
from edgecompile.artifacts.types import OutputFidelity


class MemberRecord(Record):
    """One of the builds that were linked."""

    name: str
    """What its wrapper is called after."""
    manifest_sha256: Sha256
    """Digest of the manifest of its build."""
    model_sha256: Sha256
    wrapper: str
    """Relative to the folder, in POSIX form."""
    alone_bytes: int = Field(ge=0)
    """Size of the artifact of its own build."""
    samples: int = Field(ge=0)
    """Golden samples that it ran here."""
    outputs: dict[str, OutputFidelity]
    """How near its outputs are to those of the quantized ONNX model."""


class LinkManifest(Document):
    """Schema `edgecompile/link@1`."""

    schema_: Annotated[Literal["edgecompile/link@1"], Field(alias="schema")] = "edgecompile/link@1"
    edgecompile: str
    target: TargetRecord
    artifacts: tuple[ArtifactRecord, ...]
    """One: the artifact that all members share."""
    members: tuple[MemberRecord, ...]
    diagnostics: tuple[DiagnosticRecord, ...] = ()
