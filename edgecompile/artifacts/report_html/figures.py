"""Numbers as people read them. Nothing is rounded to look better than it is."""

from __future__ import annotations

import math

MINUS = "\u2212"


def size(count: int) -> str:
    """Decimal units, as disks and downloads are sold: `812 B`, `96.7 kB`, `4.81 MB`."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} B" if units[0] == "B" else f"{value:.3g} {units[0]}"


def seconds(value: float) -> str:
    """`3 ms`, `1.2 s`, `2 min 05 s`."""
    if value < 0.0995:
        return f"{value * 1000:.0f} ms"
    if value < 99.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s"


def milliseconds(value: float) -> str:
    """Three significant digits: `0.412 ms`, `13.7 ms`."""
    return f"{value:.3g} ms"


def cosine(value: float) -> str:
    """Five decimals; one that is not quite 1 is never shown as 1."""
    if not math.isfinite(value):
        return "not a number"
    if 0.999995 <= value < 1:
        return "> 0.99999"
    return f"{value:.5f}".replace("-", MINUS)


def decibels(value: float) -> str:
    """`34.8 dB`; equal outputs have no noise at all."""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "no error" if value > 0 else "infinite error"
    return f"{value:.1f} dB".replace("-", MINUS)


def fixed(value: float) -> str:
    """Four decimals, for figures that are compared with each other."""
    return f"{value:.4f}".replace("-", MINUS) if math.isfinite(value) else number(value)


def number(value: float) -> str:
    """Four significant digits."""
    if not math.isfinite(value):
        return {math.inf: "infinite", -math.inf: f"{MINUS}infinite"}.get(value, "not a number")
    return f"{value:.4g}".replace("-", MINUS)


def percent(share: float, digits: int = 1) -> str:
    """`97.3 %`; 100 % and 0 % only when it is all or nothing."""
    if not math.isfinite(share):
        return "not a number"
    shown, step = f"{100 * share:.{digits}f}", 10.0**-digits
    if float(shown) == 100 and share < 1:
        return f"> {100 - step:.{digits}f} %"
    if float(shown) == 0 and share > 0:
        return f"< {step:.{digits}f} %"
    return f"{shown} %"


def points(difference: float) -> str:
    """A difference of two shares, in percentage points with its sign."""
    if not math.isfinite(difference):
        return "not a number"
    sign = "+" if difference > 0 else MINUS if difference < 0 else "\u00b1"
    return f"{sign}{abs(100 * difference):.2f} points"


def count(value: int, noun: str) -> str:
    """`1 node`, `12,345 nodes`."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def signed(value: float) -> str:
    """Three significant digits with a sign."""
    if not math.isfinite(value):
        return "not a number"
    sign = "+" if value > 0 else MINUS if value < 0 else "\u00b1"
    return f"{sign}{abs(value):.3g}"
