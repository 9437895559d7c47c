"""Every diagnostic code is documented, unique, used, and tells to type only what exists."""

from __future__ import annotations

import importlib
import pkgutil
import re
from functools import cache
from pathlib import Path

import typer

from edgecompile.cli.app import command_names, load_command, new_app
from edgecompile.diagnostics import Severity, catalogue
from edgecompile.diagnostics.catalogue import all_rules
from edgecompile.diagnostics.core import Rule

PACKAGE = Path(catalogue.__file__).resolve().parents[2]
RULES = all_rules()


def test_every_rule_says_why_and_what_to_do():
    for rule in RULES.values():
        assert re.fullmatch(r"EC-\d{3}", rule.code)
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.name), rule.code
        assert rule.why.endswith("."), rule.code
        assert rule.fix or rule.severity is Severity.NOTE, rule.code


def test_every_error_has_an_example():
    errors = [rule for rule in RULES.values() if rule.severity is Severity.ERROR]
    assert [rule.code for rule in errors if not rule.example] == []


def test_messages_and_hints_are_phrases():
    wrong = []
    for rule in RULES.values():
        for text in (rule.message, *rule.fix):
            first = text.split()[0].strip(",.'")
            if text.endswith(".") or (first[0].isupper() and first.istitle()):
                wrong.append((rule.code, text))
    assert wrong == []


def test_only_messages_are_filled_in():
    texts = {rule.code: (rule.why, *rule.fix, rule.example) for rule in RULES.values()}
    assert [code for code, told in texts.items() if any("{{" in text for text in told)] == []


def test_names_are_unique():
    names = [rule.name for rule in RULES.values()]
    assert sorted({n for n in names if names.count(n) > 1}) == []


def test_the_codes_of_a_file_are_of_one_family():
    for path in sorted((PACKAGE / "diagnostics/catalogue").glob("[a-z]*.py")):
        codes = re.findall(r'code="EC-(\d)\d\d"', path.read_text(encoding="utf-8"))
        assert len(set(codes)) == 1, path.name


def test_every_rule_is_used():
    modules = [
        importlib.import_module(f"{catalogue.__name__}.{info.name}")
        for info in pkgutil.iter_modules(catalogue.__path__)
    ]
    constants = {n for m in modules for n, value in vars(m).items() if isinstance(value, Rule)}
    used: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        if "catalogue" not in path.parts:
            used |= set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", path.read_text(encoding="utf-8")))
    assert sorted(constants - used) == []


@cache
def options() -> dict[str, set[str]]:
    """Command line ('cache gc') -> its options."""
    found = {"": _options_of(typer.main.get_command(new_app()))}
    for name in command_names():
        command = load_command(name)
        found[name] = _options_of(command)
        for sub, inner in getattr(command, "commands", {}).items():
            found[f"{name} {sub}"] = _options_of(inner)
    return found


def _options_of(command) -> set[str]:
    return {"--help", "-h", *(o for p in command.params for o in p.opts)}


def test_the_options_and_commands_in_hints_exist():
    every = set().union(*options().values())
    foreign = {"--force-reinstall"}
    wrong = []
    for rule in RULES.values():
        for text in (*rule.fix, rule.why):
            named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
            wrong += [(rule.code, option) for option in sorted(named - every - foreign)]
        for text in rule.fix:
            named = set(re.findall(r"(?<![\w/-])edgecompile ([a-z]+)\b", text))
            # "edgecompile may ..." is a sentence.
            wrong += [(rule.code, c) for c in sorted(named - options().keys() - {"may"})]
    assert wrong == []
