"""Live progress on a terminal: finished steps stay, the running one moves."""

from __future__ import annotations

from typing import TextIO

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from edgecompile.cli.page import Cell
from edgecompile.cli.rich_page import new_console, text_of
from edgecompile.cli.sink import CliSink
from edgecompile.cli.units import seconds_text


class RichSink(CliSink):
    """Draws with rich; everything goes to standard error."""

    def __init__(self, stream: TextIO) -> None:
        """Draw on `stream`."""
        super().__init__()
        self._console = new_console(stream)
        self._progress = Progress(
            SpinnerColumn(style="cyan"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}", style="dim", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._task: TaskID | None = None

    def step_started(self, name: str) -> None:
        """Show a spinner and the time that passes."""
        self._progress.start()
        self._task = self._progress.add_task(name, total=None, count="")

    def progress(self, name: str, done: int, total: int) -> None:
        """Turn the spinner's bar into a measure."""
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total, count=f"{done}/{total}")

    def step_finished(self, name: str, *, seconds: float, cached: bool, summary: str) -> None:
        """Leave one line behind."""
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        taken = Cell("cached", "dim") if cached else Cell(seconds_text(seconds))
        padding = " " * max(0, 9 - len(taken.text))
        line = text_of(
            Cell("✓ ", "good"), f"{name:<26}", padding, taken, Cell(f"  {summary}", "dim")
        )
        self._console.print(line, no_wrap=True, overflow="ellipsis")

    def close(self) -> None:
        """Take the live area off the screen."""
        self._progress.stop()
