"""Keys of the cache: the full SHA-256 of the canonical JSON of everything a result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

Material = Mapping[str, Any]
"""What a result depends on: JSON values only (strings, numbers, booleans, null, lists, objects)."""


def canonical(value: Any) -> bytes:
    """The one JSON form of `value`: sorted keys, no spaces, UTF-8.

    Raises `ValueError` for NaN and infinities, `TypeError` for what is not JSON.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8", "surrogatepass")


def key_of(material: Material) -> str:
    """64 hex characters that stand for `material`."""
    return hashlib.sha256(canonical(material)).hexdigest()
