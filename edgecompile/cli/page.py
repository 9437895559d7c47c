"""`Page`: the few shapes that output for people is made of, and their plain form.

Commands describe headings, tables and lines; where they go decides how they look. The plain form
is for pipes, logs and CI: no colour, no boxes, no wrapping, columns two spaces apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TextIO

from edgecompile.cli.streams import printable

Style = Literal["", "good", "warn", "bad", "dim", "strong", "code"]


@dataclass(frozen=True)
class Cell:
    """Text with a meaning; the page decides on the colour."""

    text: str
    style: Style = ""


@dataclass(frozen=True)
class Column:
    """One column of a table. `number` columns are set flush right."""

    title: str
    number: bool = False
    style: Style = ""
    fixed: bool = False
    """Never wrapped: names that people copy."""


LABEL = 4
"""Width of the labels of `Page.item`."""


class Page(Protocol):
    """Somewhere to write for people."""

    def gap(self) -> None:
        """An empty line, except at the very top."""

    def heading(self, text: str) -> None:
        """A title over what follows."""

    def line(self, *parts: str | Cell, indent: int = 0) -> None:
        """One paragraph, `indent` columns from the left."""

    def item(self, label: str, *parts: str | Cell) -> None:
        """A short label and a paragraph beside it, both indented."""

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str | Cell]]) -> None:
        """Rows under column titles."""

    def pairs(self, pairs: Mapping[str, str | Cell]) -> None:
        """Names and values, one pair to a line."""

    def verbatim(self, text: str) -> None:
        """Text that a program may read back: never wrapped."""


def cell(value: str | Cell) -> Cell:
    """`value` as a cell whose text is safe to show."""
    if isinstance(value, Cell):
        return Cell(printable(value.text), value.style)
    return Cell(printable(value))


class PlainPage:
    """Text and nothing else."""

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`."""
        self._stream = stream
        self._started = False

    def _write(self, text: str) -> None:
        self._stream.write(text.rstrip() + "\n")
        self._started = True

    def gap(self) -> None:
        """An empty line when something was written before."""
        if self._started:
            self._write("")

    def heading(self, text: str) -> None:
        """A title with an empty line before it."""
        self.gap()
        self._write(printable(text))

    def line(self, *parts: str | Cell, indent: int = 0) -> None:
        """The parts, one after the other."""
        text = "".join(cell(part).text for part in parts)
        self._write("\n".join(" " * indent + row for row in text.split("\n")))

    def item(self, label: str, *parts: str | Cell) -> None:
        """The label padded to four characters, then the parts."""
        self.line(f"{label:<{LABEL}} ", *parts, indent=2)

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str | Cell]]) -> None:
        """Padded columns; newlines in cells become spaces."""
        texts = [[cell(value).text.replace("\n", " ") for value in row] for row in rows]
        titles = [column.title for column in columns]
        if any(titles):
            texts.insert(0, titles)
        widths = [max((len(row[i]) for row in texts), default=0) for i in range(len(columns))]
        for row in texts:
            padded = [
                value.rjust(width) if column.number else value.ljust(width)
                for value, width, column in zip(row, widths, columns, strict=True)
            ]
            self._write("  ".join(padded))

    def pairs(self, pairs: Mapping[str, str | Cell]) -> None:
        """Names padded to one width."""
        width = max((len(name) for name in pairs), default=0)
        for name, value in pairs.items():
            self._write(f"{name.ljust(width)}  {cell(value).text}")

    def verbatim(self, text: str) -> None:
        """The text as it is."""
        self._write(printable(text))
