"""The chips that QNN's compiler knows, as it was measured, to hold a target's facts against.

The compiler gives any number a binary: for a chip that it does not know, one with default values
that no such chip can load. So a number is only good when this table says that it is a real one.
"""

from __future__ import annotations

import functools
import json
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from edgecompile.targets.schema import QnnChip, QnnPrecision


class ChipEntry(BaseModel):
    """One row of `chips/qnn.json`; the source of all rows is at its head."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    soc_model: int
    soc_type: str | None
    arch: int | None
    vtcm_mb: int | None
    htp: bool
    """Whether a Hexagon Tensor Processor is known under this number."""
    accepts: tuple[QnnPrecision, ...]
    note: str = ""


@functools.cache
def known_chips() -> dict[int, ChipEntry]:
    """Every number that was tried -> what the compiler makes of it."""
    text = files("edgecompile.targets").joinpath("chips/qnn.json").read_text("utf-8")
    rows = (ChipEntry.model_validate(row) for row in json.loads(text)["chips"])
    return {row.soc_model: row for row in rows}


def chip_problem(chip: QnnChip) -> str:
    """Why the compiler would build something else than for `chip`; empty when it would not."""
    entry = known_chips().get(chip.soc_model)
    if entry is None:
        return "the number is not one that was tried, and the compiler replaces chips silently"
    if not entry.htp:
        return entry.note or "no Hexagon Tensor Processor is known under this number"
    for name in ("soc_type", "arch", "vtcm_mb"):
        built, said = getattr(entry, name), getattr(chip, name)
        if built != said:
            return f"the compiler builds {name} {built} for it, and the target says {said}"
    extra = [name for name in chip.accepts if name not in entry.accepts]
    return f"the compiler refuses {', '.join(extra)} for it" if extra else ""
