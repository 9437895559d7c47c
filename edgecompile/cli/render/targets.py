"""Targets for people: one line each, or everything about one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgecompile.cli.page import Cell, Column, Page, Style
from edgecompile.targets.schema import Fact, Target
from edgecompile.targets.stacks import chosen_release

STATUS_STYLES: dict[str, Style] = {
    "verified": "good",
    "simulated": "good",
    "checked": "warn",
    "needs-device-build": "warn",
}


def render_targets(page: Page, targets: Sequence[Target]) -> None:
    """A table, one target to a row."""
    columns = (
        Column("target", fixed=True, style="code"),
        Column("what it is"),
        Column("artifact", fixed=True),
        Column("status", fixed=True),
    )
    rows = [
        (
            target.id,
            target.summary,
            target.artifacts[0].format if target.artifacts else "",
            status_cell(target.artifacts[0].status if target.artifacts else ""),
        )
        for target in targets
    ]
    page.table(columns, rows)


def status_cell(status: str) -> Cell:
    """A status in its colour."""
    return Cell(status, STATUS_STYLES.get(status, ""))


def render_target(page: Page, target: Target) -> None:
    """Facts, figures with their sources, and notes."""
    page.heading(target.id)
    page.line(target.summary)
    page.heading("Facts")
    page.pairs(_facts(target))
    if target.artifacts:
        page.heading("Artifacts")
    for rule in target.artifacts:
        page.line(Cell(rule.format, "code"), "  ", status_cell(rule.status))
        page.line(rule.why, indent=2)
    if target.quantization is not None:
        style = target.quantization
        page.heading("Quantization")
        page.pairs(_flat(style.model_dump(mode="json", exclude={"notes"})))
        _notes(page, style.notes)
    if target.hardware:
        page.heading("Figures")
        _figures(page, target)
    notes = (*target.precision_notes, *filter(None, [target.opset.note]), *target.graph_notes)
    if notes:
        page.heading("Notes")
    _notes(page, notes)
    if target.sources:
        page.heading("Sources")
        page.pairs(dict(target.sources))


def _facts(target: Target) -> dict[str, str | Cell]:
    facts: dict[str, str | Cell] = {
        "aliases": ", ".join(target.aliases),
        "vendor": target.vendor,
        "soc": target.soc,
        "accelerator": target.accelerator,
        "recipe": target.recipe,
        "opsets": f"{target.opset.min} to {target.opset.max}{_cited(target.opset.source)}",
        "static shapes": "needed" if target.static_shapes else "not needed",
    }
    release = chosen_release(target)
    if target.stack is not None and release is not None:
        parts = {"TensorRT": release.tensorrt, "CUDA": release.cuda, "L4T": release.l4t}
        with_it = ", ".join(f"{name} {value}" for name, value in parts.items() if value)
        facts[target.stack.name] = f"{release.id}: {with_it}"
        facts[f"other {target.stack.name}"] = ", ".join(
            name for name in target.stack.releases if name != release.id
        )
    for unit, precisions in target.precisions.items():
        facts[f"{unit} computes in"] = ", ".join(precisions) + _cited(target.precision_source)
    return {name: value for name, value in facts.items() if value}


def _cited(sources: Sequence[str]) -> str:
    return f"  [{', '.join(sources)}]" if sources else ""


def _notes(page: Page, notes: Sequence[str]) -> None:
    for note in notes:
        page.line(f"- {note}")


def _flat(value: dict[str, Any]) -> dict[str, str | Cell]:
    flat: dict[str, str | Cell] = {}
    for name, inner in value.items():
        if isinstance(inner, dict):
            flat[name] = ", ".join(f"{k} {_text(v)}" for k, v in inner.items())
        else:
            flat[name] = _text(inner)
    return {name: text for name, text in flat.items() if text}


def _figures(page: Page, target: Target) -> None:
    columns = (
        Column("figure", fixed=True),
        Column("value", number=True),
        Column("rests on", fixed=True),
        Column("source", style="dim"),
    )
    rows = []
    for name, fact in target.hardware.items():
        known = fact.value is not None
        value = _text(fact.value) if known else Cell("unknown", "dim")
        rows.append((name, value, fact.kind.value if known else "", _origin(fact)))
    page.table(columns, rows)


def _origin(fact: Fact) -> str:
    return "; ".join((*fact.source, *((fact.note,) if fact.note else ())))


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(v) for v in value)
    return str(value)
