"""Every emitter by the format that it writes: ours and those that other packages register."""

from __future__ import annotations

import functools

from edgecompile.diagnostics.catalogue.emit import FORMAT_UNKNOWN
from edgecompile.diagnostics.nearest import did_you_mean
from edgecompile.emitters.base import Emitter
from edgecompile.plugins.discover import discover

ENTRY_POINTS = "edgecompile.emitters"
"""Entry point group under which another package registers its emitters."""


@functools.cache
def all_emitters() -> dict[str, type[Emitter]]:
    """All emitters by format, sorted. Raises `ValueError` when two claim the same format."""
    return discover("edgecompile.emitters", Emitter, ENTRY_POINTS)  # type: ignore[type-abstract]


def emitter_for(format: str) -> type[Emitter]:
    """The emitter that writes `format`. Raises EC-606 when there is none."""
    emitters = all_emitters()
    if format not in emitters:
        hint = did_you_mean(format, emitters, otherwise=FORMAT_UNKNOWN.fix[0])
        raise FORMAT_UNKNOWN.error(hints=(hint,), format=format)
    return emitters[format]
