"""What the standard streams can show: characters, colour, live progress."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO, cast


class Unbroken(io.TextIOBase):
    """A text stream whose reader may go away: what is written from then on is lost.

    Standard error tells people how a run goes; that nobody reads on (`2>&1 | head`) must neither
    end the run nor change its exit code.
    """

    def __init__(self, stream: io.TextIOWrapper) -> None:
        """Write to `stream`, which stays its owner's to close."""
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's."""
        return self._stream.encoding

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The stream's descriptor."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, text: str, /) -> int:
        """Write `text`, as long as somebody reads; its length."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            discard(self._stream)
            return len(text)

    def flush(self) -> None:
        """Give on what is buffered, as long as somebody reads."""
        if self._stream.closed:
            return
        try:
            self._stream.flush()
        except BrokenPipeError:
            discard(self._stream)


def discard(stream: TextIO) -> None:
    """Lose what `stream` still holds and what it gets: its reader has gone away."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def make_safe() -> None:
    """Never crash on a character that the terminal's code page lacks: show its escape instead.

    Nor when nobody reads standard error any more.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = cast("TextIO", Unbroken(sys.stderr))


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
