"""'Did you mean': the known names nearest to a mistyped one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], *, count: int = 3) -> list[str]:
    """Up to `count` of the `known` names, nearest first; empty when none is near.

    Case and `_`/`-` do not count as differences.
    """
    folded: dict[str, str] = {}
    for candidate in sorted(known):
        folded.setdefault(_fold(candidate), candidate)
    matches = difflib.get_close_matches(_fold(name), folded, n=count, cutoff=0.6)
    return [folded[match] for match in matches]


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str) -> str:
    """A hint that offers the nearest names, or `otherwise` when none is near."""
    names = nearest(name, known)
    if not names:
        return otherwise
    return "did you mean " + " or ".join(f"'{n}'" for n in names) + "?"


def _fold(name: str) -> str:
    return name.lower().replace("_", "-")
