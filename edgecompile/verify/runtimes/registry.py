"""Every runtime by the artifact format that it runs."""

from __future__ import annotations

import functools

from edgecompile.plugins.discover import discover
from edgecompile.verify.runtimes.base import ArtifactRuntime

ENTRY_POINTS = "edgecompile.runtimes"
"""Entry point group under which another package registers its runtimes."""


@functools.cache
def all_runtimes() -> dict[str, type[ArtifactRuntime]]:
    """All runtimes by format, sorted. Raises `ValueError` when two claim the same format."""
    return discover("edgecompile.verify.runtimes", ArtifactRuntime, ENTRY_POINTS)  # type: ignore[type-abstract]
