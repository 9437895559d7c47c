"""Every pass by its id: those of this package and those that other packages register."""

from __future__ import annotations

import functools

from edgecompile.passes.base import Pass
from edgecompile.plugins.discover import discover

ENTRY_POINTS = "edgecompile.passes"
"""Entry point group under which another package registers its passes."""


@functools.cache
def all_passes() -> dict[str, type[Pass]]:
    """All passes by id, sorted. Raises `ValueError` when two of them claim the same id."""
    return discover("edgecompile.passes", Pass, ENTRY_POINTS)  # type: ignore[type-abstract]
