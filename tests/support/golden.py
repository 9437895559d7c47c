"""Golden files: text that must stay as it is until somebody changes it on purpose."""

from __future__ import annotations

import os
from pathlib import Path

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def check_golden(name: str, text: str) -> None:
    """Hold `text` against tests/golden/NAME; with EDGECOMPILE_UPDATE_GOLDEN=1, write it there."""
    path = GOLDEN / name
    if os.environ.get("EDGECOMPILE_UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    assert text == path.read_text(encoding="utf-8"), f"differs from {path.name}"
