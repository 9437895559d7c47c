"""`report.json`: the manifest's facts, and what only this run can tell: times, notes, latency."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from edgecompile.artifacts.document import Record
from edgecompile.artifacts.manifest import BuildFacts
from edgecompile.artifacts.types import Figure, Latency


class NoteRecord(Record):
    """Something that a step did, or the reason why it did not at one place."""

    message: str
    node: str | None = None
    tensor: str | None = None
    op_type: str | None = None
    kept_float: bool = False
    """True when this is why the node stays in floating point."""


class StepReport(Record):
    """One step of the build: a pass, or one of `load`, `check`, `emit ...`, `verify`."""

    step: str
    """Label of the recipe's step, or the stage's name."""
    seconds: float = Field(ge=0)
    """Wall time of the run that made the result; for a cached step that was an earlier build."""
    cpu_seconds: float = Field(default=0.0, ge=0)
    cached: bool = False
    changed: bool | None = None
    """Whether the pass changed the model; null for a stage that is no pass."""
    summary: str = ""
    """What it did, in a few words."""
    operators: dict[str, int] = Field(default_factory=dict)
    """Operators that it added (positive) and removed (negative)."""
    notes: tuple[NoteRecord, ...] = ()


class Report(BuildFacts):
    """`report.json`, schema `edgecompile/report@1`. Times differ from run to run."""

    schema_: Annotated[Literal["edgecompile/report@1"], Field(alias="schema")] = (
        "edgecompile/report@1"
    )
    steps: tuple[StepReport, ...]
    seconds: float = Field(ge=0)
    """Wall time of this build, cached steps included."""
    judged: tuple[str, ...] = ()
    """Stages that compute as the target does: budgets apply to the worst of them."""
    metric_samples: int = Field(default=0, ge=0)
    """Labelled samples that the metrics were measured on."""
    integer_macs: Figure | None = None
    """Share of multiply-accumulates that run in integers; null when it could not be counted."""
    latency: Latency | None = None
    host: dict[str, str] = Field(default_factory=dict)
    """The build machine: `processor`, `system`, `python`."""


def json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of `report.json`."""
    schema = Report.model_json_schema(by_alias=True, mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
