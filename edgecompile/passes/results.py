"""What a step gave, in the form that the cache keeps and the report shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgecompile.diagnostics import Diagnostic
from edgecompile.passes.base import Note


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """One step of a build. `seconds` and `cpu_seconds` are those of the run that made the result,
    which for a cached one was an earlier build.
    """

    label: str
    id: str
    key: str
    cached: bool
    changed: bool
    seconds: float
    cpu_seconds: float
    input_digest: str
    output_digest: str
    ops_before: Mapping[str, int]
    ops_after: Mapping[str, int]
    """Nodes by operator."""
    notes: tuple[Note, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()

    @property
    def summary(self) -> str:
        """What the step did, in a few words.

        Notes about single nodes and tensors say why the step left them alone: they are no news
        where nothing is wrong, and stand in the report.
        """
        if not self.changed:
            told = (n.message for n in self.notes if n.node is None and n.tensor is None)
            return next(told, "nothing to do")
        before, after = sum(self.ops_before.values()), sum(self.ops_after.values())
        return f"{before} -> {after} nodes" if before != after else f"{after} nodes, rewritten"

    @property
    def operators(self) -> dict[str, int]:
        """Nodes that the step added (positive) and removed (negative), by operator."""
        every = sorted({*self.ops_before, *self.ops_after})
        change = {op: self.ops_after.get(op, 0) - self.ops_before.get(op, 0) for op in every}
        return {op: count for op, count in change.items() if count}

    def to_json(self) -> dict[str, Any]:
        """What the cache keeps beside the files."""
        return {
            "changed": self.changed,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "model": self.output_digest,
            "ops_before": dict(self.ops_before),
            "ops_after": dict(self.ops_after),
            "notes": [asdict(note) for note in self.notes],
            "warnings": [warning.to_json() for warning in self.warnings],
        }

    @classmethod
    def from_json(
        cls, document: Mapping[str, Any], *, label: str, id: str, key: str, input_digest: str
    ) -> StepResult:
        """The result of a cached step."""
        return cls(
            label=label,
            id=id,
            key=key,
            cached=True,
            changed=document["changed"],
            seconds=document["seconds"],
            cpu_seconds=document["cpu_seconds"],
            input_digest=input_digest,
            output_digest=document["model"],
            ops_before=document["ops_before"],
            ops_after=document["ops_after"],
            notes=tuple(Note(**note) for note in document["notes"]),
            warnings=tuple(map(Diagnostic.from_json, document["warnings"])),
        )
