"""What an artifact without integers computes in: a share of integers says nothing about it."""

from __future__ import annotations

from collections.abc import Mapping

from edgecompile.artifacts.types import INTEGERS

NARROW_FLOATS = {"fp8": "8-bit float", "bf16": "bfloat16", "fp16": "half precision"}
"""Precision of a node -> its name in prose, the narrowest first."""


def narrow_float(precision: Mapping[str, int]) -> str | None:
    """The narrowest float of `precision` (kind -> nodes); None where some nodes run in integers,
    and where all run in single precision."""
    if any(precision.get(kind) for kind in INTEGERS):
        return None
    return next((kind for kind in NARROW_FLOATS if precision.get(kind)), None)
