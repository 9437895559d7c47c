"""The page on a terminal: colour by meaning, thin rules, tables that fit the width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TextIO

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edgecompile.cli.page import LABEL, Cell, Column, cell

MIN_WIDTH = 10
"""Characters below which a column of text is no longer readable."""
STYLES = {
    "": "",
    "good": "green",
    "warn": "yellow",
    "bad": "bold red",
    "dim": "dim",
    "strong": "bold",
    "code": "cyan",
}


def new_console(stream: TextIO) -> Console:
    """A console that takes no markup and guesses no highlights from what users named."""
    return Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=False)


def text_of(*parts: str | Cell) -> Text:
    """The parts as one styled text."""
    text = Text()
    for part in parts:
        value = cell(part)
        text.append(value.text, style=STYLES[value.style])
    return text


class RichPage:
    """Writes to a terminal."""

    def __init__(self, console: Console) -> None:
        """Write to `console`."""
        self.console = console
        self._started = False

    def gap(self) -> None:
        """An empty line when something was written before."""
        if self._started:
            self.console.print()

    def heading(self, text: str) -> None:
        """A bold title with an empty line before it."""
        self.gap()
        self._started = True
        self.console.print(text_of(Cell(text, "strong")))

    def line(self, *parts: str | Cell, indent: int = 0) -> None:
        """One paragraph; wrapped lines keep the indent."""
        self._started = True
        self.console.print(Padding(text_of(*parts), (0, 0, 0, indent)))

    def item(self, label: str, *parts: str | Cell) -> None:
        """The parts wrap beside the label, not below it."""
        self._started = True
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=LABEL, style=STYLES["dim"])
        grid.add_column(overflow="fold")
        grid.add_row(label, text_of(*parts))
        self.console.print(Padding(grid, (0, 0, 0, 2)))

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str | Cell]]) -> None:
        """A table with a rule under its titles."""
        self._started = True
        titled = any(column.title for column in columns)
        table = Table(
            box=box.SIMPLE_HEAD if titled else None,
            show_header=titled,
            header_style="bold",
            pad_edge=False,
            show_edge=False,
        )
        for column in columns:
            table.add_column(
                column.title,
                justify="right" if column.number else "left",
                style=STYLES[column.style],
                no_wrap=column.number or column.fixed,
                min_width=0 if column.number or column.fixed else MIN_WIDTH,
                overflow="fold",
            )
        for row in rows:
            table.add_row(*(text_of(value) for value in row))
        self.console.print(table)

    def pairs(self, pairs: Mapping[str, str | Cell]) -> None:
        """A borderless table of names and values."""
        rows = [(Cell(name, "dim"), value) for name, value in pairs.items()]
        self.table((Column("", fixed=True), Column("")), rows)

    def verbatim(self, text: str) -> None:
        """The text without wrapping."""
        self._started = True
        self.console.print(text_of(text), soft_wrap=True)
