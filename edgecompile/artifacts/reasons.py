"""Reasons that differ only in their figures, as one: `it leaves 8.9 to 33.2 dB`."""

from __future__ import annotations

import re
from collections.abc import Iterable

_FIGURE = re.compile(r"(?<![\w.'/-])\d+(?:\.\d+)?(?![\w'/])")
"""A number by itself, and none that is part of a name."""


def kind(reason: str) -> str:
    """`reason` without its figures: the same for reasons of one kind."""
    return _FIGURE.sub("#", reason)


def merged(reasons: Iterable[str]) -> str:
    """One text for `reasons` of one kind, with the span of each figure in which they differ."""
    every = list(dict.fromkeys(reasons))
    first, columns = every[0], list(zip(*map(_FIGURE.findall, every), strict=True))
    spans = iter([_span(column) for column in columns])
    return _FIGURE.sub(lambda _: next(spans), first)


def _span(figures: tuple[str, ...]) -> str:
    low, high = min(figures, key=float), max(figures, key=float)
    return low if low == high else f"{low} to {high}"
