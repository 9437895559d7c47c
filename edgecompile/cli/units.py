"""Sizes and durations as people write and read them."""

from __future__ import annotations

import re

from edgecompile.diagnostics.catalogue.usage import BAD_VALUE

_SIZES = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_AGES_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def bytes_text(count: float) -> str:
    """A size in decimal units: `812 B`, `96.7 kB`, `4.81 MB`."""
    value = float(count)
    units = ("B", "kB", "MB", "GB", "TB")
    power = 0
    while abs(value) >= 999.5 and power < len(units) - 1:
        value /= 1000
        power += 1
    return f"{value:.0f} B" if power == 0 else f"{value:.3g} {units[power]}"


def parse_bytes(text: str) -> int:
    """`500MB`, `5 GB`, `1000`. Raises EC-263 for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", text.strip().lower())
    if match is None:
        raise BAD_VALUE.error(name="--max-size", reason=f"'{text}' is not a size such as 5GB")
    return int(float(match[1]) * _SIZES[match[2]])


def parse_age_s(text: str) -> float:
    """`30d`, `12h`, `45m` in seconds. Raises EC-263 for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip().lower())
    if match is None:
        raise BAD_VALUE.error(name="--older-than", reason=f"'{text}' is not an age such as 30d")
    return float(match[1]) * _AGES_S[match[2]]


def seconds_text(seconds: float) -> str:
    """A duration in the unit that reads best: `3 ms`, `1.2 s`, `2 min 05 s`."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
