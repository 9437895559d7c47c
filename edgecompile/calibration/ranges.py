"""`Ranges`: what calibration makes and quantize passes consume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCHEMA = "edgecompile/ranges@1"


@dataclass(frozen=True, kw_only=True)
class Range:
    """Calibrated interval of one tensor, in the tensor's own units. `min <= max`, both finite.

    `observed_min` and `observed_max` are the exact extremes seen; a method may clip inside them.
    `samples` counts the samples in which the tensor had any value: a branch may run in some only.
    `wide_min` and `wide_max` are the interval for integers of 16 bits, where that may be wanted:
    with 256 times the levels there is next to no reason to clip.
    """

    min: float
    max: float
    observed_min: float
    observed_max: float
    samples: int = 0
    wide_min: float | None = None
    wide_max: float | None = None

    def interval(self, bits: int) -> tuple[float, float]:
        """The ends for integers of `bits` bits."""
        if bits <= 8 or self.wide_min is None or self.wide_max is None:
            return self.min, self.max
        return self.wide_min, self.wide_max


@dataclass(frozen=True, kw_only=True)
class Convergence:
    """How much the ranges still moved when the number of samples was last doubled."""

    tolerance: float
    """Calibration stops below this."""
    drift: float | None
    """Largest move of an end, as a share of its range's width; None when too few samples ran."""
    tensor: str | None
    """The tensor that moved most."""
    available: int
    """Samples that there were, of which `Ranges.samples` were run."""

    @property
    def reached(self) -> bool:
        """Whether the ranges have converged."""
        return self.drift is not None and self.drift <= self.tolerance

    def __str__(self) -> str:
        """One line for people."""
        if self.drift is None:
            return f"too few of {self.available} samples to see whether ranges converge"
        verdict = "converged" if self.reached else "not converged"
        moved = f"the last doubling moved '{self.tensor}' most, by {self.drift:.2%} of its width"
        return f"ranges have {verdict} within {self.tolerance:.2%}: {moved}"


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """Calibrated range of every observed tensor, and how it came about."""

    tensors: Mapping[str, Range]
    method: str
    samples: int
    data_sha256: str
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Tensor name -> why it has no range (never executed, not finite, empty)."""
    convergence: Convergence | None = None
    """None when all samples were asked for."""

    def to_json(self) -> dict[str, Any]:
        """One JSON document; tensors sorted by name so that equal ranges give equal bytes."""
        return {
            "schema": SCHEMA,
            "method": self.method,
            "samples": self.samples,
            "data_sha256": self.data_sha256,
            "tensors": {
                name: {**_known(self.tensors[name]), "method": self.method}
                for name in sorted(self.tensors)
            },
            "skipped": {k: self.skipped[k] for k in sorted(self.skipped)},
            **({"convergence": vars(self.convergence)} if self.convergence else {}),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Ranges:
        """The inverse of `to_json`. Raises `ValueError` for a document of another schema."""
        if document.get("schema") != SCHEMA:
            raise ValueError(f"schema is {document.get('schema')!r}, not {SCHEMA!r}")
        convergence = document.get("convergence")
        tensors = {
            name: Range(**{key: value[key] for key in value if key != "method"})
            for name, value in document["tensors"].items()
        }
        return cls(
            tensors=tensors,
            method=document["method"],
            samples=document["samples"],
            data_sha256=document["data_sha256"],
            skipped=document.get("skipped", {}),
            convergence=Convergence(**convergence) if convergence else None,
        )


def _known(found: Range) -> dict[str, float]:
    return {key: value for key, value in vars(found).items() if value is not None}


def json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of the document that `Ranges.to_json` gives."""
    from pydantic import TypeAdapter

    schema = TypeAdapter(Ranges).json_schema()
    tag = {"const": SCHEMA}
    each = schema["$defs"]["Range"]
    each["properties"]["method"] = {"type": "string"}
    each["required"] = [*each["required"], "method"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "properties": {"schema": tag, **schema["properties"]},
        "required": ["schema", *schema["required"]],
    }
