"""`edgecompile explain`: what a diagnostic code means, and what to do."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edgecompile.cli.common import new_app, replies
from edgecompile.cli.completion import complete_codes
from edgecompile.cli.page import Cell, Column, Page
from edgecompile.cli.reply import Reply
from edgecompile.cli.usage import nearest
from edgecompile.diagnostics.catalogue import all_rules
from edgecompile.diagnostics.catalogue.usage import UNKNOWN_CODE
from edgecompile.diagnostics.core import Rule

app = new_app()


@app.command(rich_help_panel="Look up")
@replies
def explain(
    code: Annotated[
        str | None,
        typer.Argument(
            metavar="CODE",
            help="Such as EC-203; all codes when left out.",
            autocompletion=complete_codes,
        ),
    ] = None,
) -> Reply:
    """Say what a code means, why it is raised and how to mend it."""
    if code is None:
        rules = list(all_rules().values())
        return Reply(result=[rule_json(r) for r in rules], render=lambda page: _list(page, rules))
    rule = find_rule(code)
    return Reply(result=rule_json(rule), render=lambda page: _one(page, rule))


def find_rule(text: str) -> Rule:
    """The rule of `EC-203`, `ec203`, `203` or of its name. Raises EC-266 for anything else."""
    rules = all_rules()
    wanted = text.strip().lower()
    for rule in rules.values():
        number = rule.code.removeprefix("EC-")
        if wanted in (rule.code.lower(), f"ec{number}", number, rule.name):
            return rule
    names = [*rules, *(rule.name for rule in rules.values())]
    raise UNKNOWN_CODE.error(name=text, hints=nearest(text, names, UNKNOWN_CODE))


def rule_json(rule: Rule) -> dict[str, Any]:
    """A rule as data."""
    return {
        "code": rule.code,
        "name": rule.name,
        "message": rule.message,
        "why": rule.why,
        "fix": list(rule.fix),
        "example": rule.example,
        "severity": rule.severity.value,
        "exit_code": int(rule.exit_code),
    }


def _list(page: Page, rules: list[Rule]) -> None:
    columns = (
        Column("code", fixed=True, style="code"),
        Column("name"),
        Column("exit", number=True),
    )
    page.table(columns, [(r.code, r.name, str(int(r.exit_code))) for r in rules])


def _one(page: Page, rule: Rule) -> None:
    page.line(Cell(rule.code, "code"), Cell(f"  {rule.name}", "strong"))
    page.line(rule.message, indent=2)
    page.heading("Why")
    page.line(rule.why, indent=2)
    if rule.fix:
        page.heading("Fix")
    for hint in rule.fix:
        page.line(hint, indent=2)
    if rule.example:
        page.heading("Example")
        page.line(Cell(rule.example, "code"), indent=2)
    page.heading("Exit code")
    page.line(str(int(rule.exit_code)), indent=2)
