"""What `build --dry-run` shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edgecompile.cli.page import Cell, Column, Page


def render_plan(page: Page, plan: Mapping[str, Any]) -> None:
    """The plan of `driver.plan` for people."""
    page.heading(f"{plan['model']} for {plan['target']}")
    tools = ", ".join(f"{name} {version}" for name, version in plan["toolchain"].items())
    page.pairs(
        {
            "model": f"{plan['nodes']} nodes, opset {plan['opset']}",
            "recipe": plan["recipe"],
            "calibrate on": f"{plan['calibrate_samples']} samples",
            "verify on": f"{plan['verify_samples']} samples",
            "budgets": ", ".join(plan["budgets"]) or "none",
            "artifacts": ", ".join(plan["artifacts"]),
            "output": plan["output"],
            "with": tools,
        }
    )
    page.heading("Steps")
    columns = (
        Column("", fixed=True, style="code"),
        Column("", fixed=True),
        Column("", style="dim"),
    )
    page.table(columns, [_row(step) for step in plan["steps"]])


def _row(step: Mapping[str, Any]) -> tuple[str, Cell, str]:
    state = Cell("cached", "good") if step["cached"] else Cell("runs", "warn")
    options = ", ".join(f"{name}={_value(value)}" for name, value in step["options"].items())
    return step["step"], state, options


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
