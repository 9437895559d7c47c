"""What the standard streams can show: characters, colour, live progress."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


def make_safe() -> None:
    """Never crash on a character that the terminal's code page lacks: show its escape instead."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def is_rich(stream: TextIO) -> bool:
    """Whether `stream` is a terminal for a person: colour, boxes and live progress are welcome.

    Not in CI (`CI`), not under `NO_COLOR` (any value, see no-color.org), not on `TERM=dumb`, and
    not where box characters cannot be shown.
    """
    if os.environ.get("NO_COLOR") or os.environ.get("CI") or os.environ.get("TERM") == "dumb":
        return False
    encoding = (stream.encoding or "").lower().replace("-", "")
    return stream.isatty() and encoding.startswith("utf")


def printable(text: str) -> str:
    """`text` without control characters: a node's name must not drive the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)
