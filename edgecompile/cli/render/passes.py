"""Passes for people."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from edgecompile.cli.facts import default_text
from edgecompile.cli.page import Cell, Column, Page

ORDER = ("graph", "fuse", "quantize")


def render_passes(page: Page, passes: Sequence[dict[str, Any]]) -> None:
    """One table per group, in the order in which recipes use them."""
    columns = (
        Column("pass", fixed=True, style="code"),
        Column("what it does"),
        Column("needs", style="dim"),
    )
    for group, members in groupby(sorted(passes, key=_place), key=lambda p: str(p["group"])):
        page.heading(group)
        page.table(columns, [(p["id"], p["summary"], needs_text(p)) for p in members])


def _place(facts: dict[str, Any]) -> tuple[int, str, str]:
    group = str(facts["group"])
    return (ORDER.index(group) if group in ORDER else len(ORDER), group, str(facts["id"]))


def needs_text(facts: dict[str, Any]) -> str:
    """What a pass needs besides the model, in words."""
    words = {
        "data": "calibration data",
        "ranges": "an earlier calibrate",
        "reference": "the float model",
    }
    needs = [words.get(need, need) for need in facts["needs"]]
    if facts["extra"]:
        needs.append(f"edgecompile[{facts['extra']}]")
    if facts["toolchain"]:
        needs.append(f"the toolchain {facts['toolchain']}")
    return ", ".join(needs)


def render_pass(page: Page, facts: dict[str, Any]) -> None:
    """What it does, its options, and how a recipe says it."""
    page.heading(str(facts["id"]))
    page.line(facts["summary"])
    if facts["description"]:
        page.line("")
        page.line(facts["description"])
    page.heading("Options")
    if not facts["options"]:
        page.line("none", indent=2)
    for option in facts["options"]:
        default = "needed" if option["required"] else f"default {default_text(option)}"
        page.line(
            Cell(option["name"], "code"),
            f"  {option['type']}  ",
            Cell(f"({default})", "dim"),
            indent=2,
        )
        if option["description"]:
            page.line(option["description"], indent=4)
    page.heading("In a recipe")
    page.line(Cell(f"- pass: {facts['id']}", "code"), indent=2)
    for option in facts["options"]:
        value = default_text(option) or "..."
        page.line(Cell(f"  {option['name']}: {value}", "code"), indent=2)
    page.heading("Depends on")
    page.pairs(
        {
            "needs": needs_text(facts) or "nothing but the model",
            "target facts": ", ".join(facts["facts"]) or "none",
            "libraries": ", ".join(facts["libraries"]),
            "version": str(facts["version"]),
        }
    )
