"""`Figure` and `Table`: one measured number beside its goal, the peer's and the floor."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = "edgecompile/bench@1"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of ours. All numbers of a figure have the same `unit`.

    `floor` is what no implementation can beat (a bare Python start, plain inference), `goal` the
    project's own limit; `lower_is_better` says on which side of it to be.
    """

    what: str
    ours: float
    unit: str
    goal: float | None = None
    floor: float | None = None
    peers: Mapping[str, float] = field(default_factory=dict)
    lower_is_better: bool = True
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.goal is None:
            return None
        return self.ours <= self.goal if self.lower_is_better else self.ours >= self.goal


@dataclass(frozen=True, kw_only=True)
class Table:
    """Figures, or rows of free columns, under a title."""

    title: str
    figures: Sequence[Figure] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """The table as GitHub-flavoured Markdown."""
        columns, rows = list(self.columns), [list(row) for row in self.rows]
        if self.figures:
            columns, rows = _figure_rows(self.figures)
        lines = [f"## {self.title}", "", *_grid(columns, rows)]
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """The same content for programs."""
        figures = [
            {**vars(f), "peers": dict(f.peers), "ratios": _ratios(f), "met": f.met}
            for f in self.figures
        ]
        return {
            "title": self.title,
            "figures": figures,
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
            "notes": list(self.notes),
        }


def write(tables: Sequence[Table], stem: Path, machine: Mapping[str, Any]) -> None:
    """`STEM.md` and `STEM.json`, with the machine that the figures come from."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    head = ["# Benchmarks", "", *(f"- {k}: {v}" for k, v in machine.items()), ""]
    text = "\n".join([*head, *(table.markdown() for table in tables)])
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    document = {
        "schema": SCHEMA,
        "machine": dict(machine),
        "tables": [table.to_json() for table in tables],
    }
    stem.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _ratios(figure: Figure) -> dict[str, float]:
    against = {**({"floor": figure.floor} if figure.floor else {}), **figure.peers}
    return {name: figure.ours / value for name, value in against.items() if value}


def _figure_rows(figures: Sequence[Figure]) -> tuple[list[str], list[list[Any]]]:
    peers = list(dict.fromkeys(name for figure in figures for name in figure.peers))
    columns = ["what", "unit", "ours", "goal", "met", "floor", "ours / floor"]
    for peer in peers:
        columns += [peer, "ours / it"]
    rows = []
    for figure in figures:
        ratios = _ratios(figure)
        met = {None: "", True: "yes", False: "NO"}[figure.met]
        row = [figure.what, figure.unit, figure.ours, figure.goal, met]
        row += [figure.floor, ratios.get("floor")]
        for peer in peers:
            row += [figure.peers.get(peer), ratios.get(peer)]
        rows.append([*row, figure.note])
    if any(figure.note for figure in figures):
        return [*columns, "note"], rows
    return columns, [row[:-1] for row in rows]


def _grid(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max([len(c), *(len(row[i]) for row in cells)]) for i, c in enumerate(columns)]

    def line(values: Sequence[str]) -> str:
        padded = (value.ljust(width) for value, width in zip(values, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return [line(list(columns)), rule, *(line(row) for row in cells)]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)
