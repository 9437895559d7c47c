"""Where the time went, step by step, and what each step had to say."""

from __future__ import annotations

from edgecompile.artifacts.report import NoteRecord, Report, StepReport
from edgecompile.artifacts.report_html import figures
from edgecompile.artifacts.report_html.markup import Child, Html, breakable, el, join
from edgecompile.artifacts.report_html.tables import Column, bar, chip, fold, table

MANY = 40
"""More notes than this are cut: `report.json` has them all."""


def steps(report: Report) -> Html:
    """One row per step with its time, and a foldable list of notes."""
    slowest = max((step.seconds for step in report.steps), default=0.0) or 1.0
    rows: list[list[Child]] = [
        [
            el("code", step.step),
            _what(step),
            join([figures.seconds(step.seconds), chip("cached", "plain") if step.cached else None]),
            bar(step.seconds / slowest, faint=step.cached),
        ]
        for step in report.steps
    ]
    columns = (
        Column(title="Step"),
        Column(title="What it did", wide=True),
        Column(title="Time", figure=True),
        Column(title="Compared"),
    )
    cached = sum(step.cached for step in report.steps)
    intro = f"This build took {figures.seconds(report.seconds)}."
    if cached:
        intro += f" {figures.count(cached, 'step')} came from the cache, and the time shown for "
        intro += "that is the time it took to make."
    body = table("Steps and their time", columns, rows)
    return el("section", el("h2", "Steps"), el("p", intro), el("div", body, class_="bars"))


def _what(step: StepReport) -> Html:
    parts: list[Child] = [step.summary or ("nothing to do" if step.changed is False else "")]
    if step.operators:
        changes = (f"{_signed(n)} {op}" for op, n in sorted(step.operators.items()))
        parts.append(el("span", ", ".join(changes), class_="small block"))
    notes = [note for note in step.notes if note.message != step.summary]
    if notes:
        shown = [el("li", *_note(note)) for note in notes[:MANY]]
        rest = len(notes) - len(shown)
        if rest:
            shown.append(el("li", f"and {rest:,} more, in report.json"))
        parts.append(fold(figures.count(len(notes), "note"), el("ul", *shown)))
    return join(parts)


def _note(note: NoteRecord) -> list[Child]:
    place = note.node or note.tensor
    return [el("code", breakable(place)) if place else None, " " if place else None, note.message]


def _signed(count: int) -> str:
    return f"+{count}" if count > 0 else f"{figures.MINUS}{-count}"
