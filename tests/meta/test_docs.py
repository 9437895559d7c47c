"""The documentation says what the code does: reference pages, links, commands, exit codes."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import typer

from edgecompile.cli.app import command_names, load_command, new_app
from edgecompile.cli.reference import pages
from edgecompile.diagnostics import ExitCode
from edgecompile.diagnostics.catalogue import all_rules
from edgecompile.passes.registry import all_passes
from edgecompile.recipes import shipped_recipes
from tests.support.cli import ROOT

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
    *sorted((ROOT / "calibration_data").rglob("*.md")),
]
WRITTEN = [page for page in PAGES if "reference" not in page.parts]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", pages())
def test_the_committed_reference_is_up_to_date(page):
    committed = (ROOT / "docs/reference" / page).read_text(encoding="utf-8")
    assert committed == pages()[page], "run 'make docs' and commit docs/reference"


def test_there_is_no_reference_page_of_nothing():
    found = {path.name for path in (ROOT / "docs/reference").iterdir()}
    assert found == set(pages())


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", re.sub(r"```.*?```", "", text, flags=re.S))
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []


@cache
def options(command: str) -> set[str]:
    """Options of `build` or `cache gc`; those of the program for an empty name."""
    name, _, sub = command.partition(" ")
    parsed = load_command(name) if name else typer.main.get_command(new_app())
    if sub:
        parsed = parsed.commands[sub]
    return {"--help", "-h", *(o for p in parsed.params for o in p.opts)}


def commands(text: str) -> list[str]:
    """Every line of `edgecompile ...` in code, continued lines joined."""
    blocks = re.findall(r"```[a-z]*\n(.*?)```", text, flags=re.S)
    inline = re.findall(r"`(edgecompile [^`]*)`", text)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [
        m[1] for line in lines if (m := re.search(r"(?:^|[ :])(edgecompile [a-z-][^)]*)", line))
    ]
    return [*found, *inline]


def first_command(line: str) -> list[str]:
    """The words after `edgecompile`, up to a pipe, a redirection, a list or a comment."""
    words = shlex.split(line, comments=True)[1:]
    ends = [i for i, word in enumerate(words) if set(word) <= set("|>&;)")]
    return words[: ends[0]] if ends else words


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_the_commands_in_the_text_exist(page):
    wrong = []
    for line in commands(page.read_text(encoding="utf-8")):
        words = first_command(line)
        names = command_names()
        command = words[0] if words and words[0] in names else ""
        if words and not command and not words[0].startswith("-"):
            wrong.append(line)
            continue
        if command and hasattr(load_command(command), "commands") and len(words) > 1:
            command = f"{command} {words[1]}"
        given = {w.split("=")[0] for w in words if w.startswith("-")}
        wrong += [f"{line}: {option}" for option in sorted(given - options(command))]
    assert wrong == []


def test_every_exit_code_is_in_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [code for code in ExitCode if f"| {int(code)} |" not in text] == []


def test_every_recipe_is_in_the_guide():
    text = (ROOT / "docs/guide.md").read_text(encoding="utf-8")
    assert [recipe for recipe in shipped_recipes() if f"`{recipe}`" not in text] == []


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_the_overrides_in_the_text_exist(page):
    text = page.read_text(encoding="utf-8")
    assert unknown_overrides(text) == []


def test_the_overrides_in_hints_exist():
    texts = [t for rule in all_rules().values() for t in (*rule.fix, rule.example)]
    assert unknown_overrides("\n".join(texts)) == []


def unknown_overrides(text: str) -> list[str]:
    """`--set STEP.OPTION=...` of a pass or option that there is not."""
    known = all_passes()
    found = re.findall(r"--set '?([a-z0-9_]+)(?:#\d)?\.([a-z0-9_]+)", text)
    return [f"{s}.{o}" for s, o in found if s not in known or o not in known[s].model_fields]
