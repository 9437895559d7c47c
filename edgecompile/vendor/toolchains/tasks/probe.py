"""Does an environment answer, and what is in it."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from typing import Any


def probe(payload: list[str], session: Any) -> dict[str, str]:
    """Import every module of `payload`; versions of all distributions by their plain name."""
    del session
    for name in payload:
        importlib.import_module(name)
    found = importlib.metadata.distributions()
    pairs = sorted(
        (re.sub(r"[-_.]+", "-", str(one.metadata["Name"])).lower(), one.version) for one in found
    )
    return dict(pairs)
