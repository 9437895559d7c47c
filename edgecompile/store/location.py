"""Where the cache lies."""

from __future__ import annotations

import os
from pathlib import Path

ENVIRONMENT = "EDGECOMPILE_CACHE_DIR"


def cache_root(chosen: Path | None = None) -> Path:
    """`chosen`, else `$EDGECOMPILE_CACHE_DIR`, else the platform's cache folder of the user."""
    if chosen is not None:
        return chosen
    named = os.environ.get(ENVIRONMENT)
    if named:
        return Path(named)
    import platformdirs

    return platformdirs.user_cache_path("edgecompile", appauthor=False)
