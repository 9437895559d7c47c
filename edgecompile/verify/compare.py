"""Figures of fidelity of all outputs of a model, accumulated one sample at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgecompile.artifacts.types import OutputFidelity
from edgecompile.calibration.fidelity import Array, OutputSums
from edgecompile.diagnostics import Where
from edgecompile.diagnostics.catalogue.emit import ARTIFACT_DIFFERS

__all__ = ["Array", "Comparison", "OutputSums", "Outputs", "compare"]

Outputs = Mapping[str, Array]


@dataclass
class Comparison:
    """Running comparison of all outputs of a model against the reference."""

    outputs: dict[str, OutputSums] = field(default_factory=dict)

    def add(self, reference: Outputs, actual: Outputs) -> None:
        """Take in the outputs of one sample; outputs that are text are left out.

        Raises EC-603 when `actual` lacks an output or has it in another shape.
        """
        for name, want in reference.items():
            if want.dtype.kind not in "fiub" and want.dtype.name not in {"bfloat16"}:
                continue
            if name not in actual:
                raise ARTIFACT_DIFFERS.error(Where(tensor=name), reason=f"no output '{name}'")
            try:
                self.outputs.setdefault(name, OutputSums()).add(want, actual[name])
            except ValueError as error:
                reason = f"output '{name}' has {error}"
                raise ARTIFACT_DIFFERS.error(Where(tensor=name), reason=reason) from None

    def fidelity(self) -> dict[str, OutputFidelity]:
        """Figures of every output, by name."""
        return {name: self.outputs[name].fidelity() for name in sorted(self.outputs)}

    def not_finite(self) -> dict[str, int]:
        """Outputs with NaN or infinity that the reference has not, and in how many samples."""
        return {name: s.not_finite for name, s in sorted(self.outputs.items()) if s.not_finite}

    def reference_nan(self) -> dict[str, int]:
        """Outputs that are NaN in the reference, and in how many samples."""
        return {
            name: s.reference_nan for name, s in sorted(self.outputs.items()) if s.reference_nan
        }


def compare(
    reference: Mapping[str, Sequence[Array]], actual: Mapping[str, Sequence[Array]]
) -> dict[str, OutputFidelity]:
    """Figures for outputs that are already in memory: name -> one array per sample.

    Raises EC-603 when an output is missing or has another shape or number of samples.
    """
    comparison = Comparison()
    for name, wanted in reference.items():
        given = actual.get(name, ())
        if len(given) != len(wanted):
            reason = f"output '{name}' has {len(given)} samples instead of {len(wanted)}"
            raise ARTIFACT_DIFFERS.error(Where(tensor=name), reason=reason)
        for want, got in zip(wanted, given, strict=True):
            comparison.add({name: want}, {name: got})
    return comparison.fidelity()
