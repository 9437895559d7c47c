"""YAML read as plain data, with the line and column of every key and value.

Strict on purpose: no tags, anchors, aliases or second document, so a file can neither construct
objects nor grow in memory, and every value has exactly one place that a diagnostic can point at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgecompile.diagnostics.core import EdgecompileError, Rule, Where

Loc = tuple[str | int, ...]
"""Path of keys and indices from the top of the document, as pydantic reports it."""

MAX_TEXT_LENGTH = 256 * 1024
MAX_DEPTH = 24
MAX_VALUES = 20_000


@dataclass(frozen=True, kw_only=True)
class Located:
    """A document and the place of everything in it."""

    file: str
    value: Any
    values: Mapping[Loc, Where] = field(default_factory=dict)
    keys: Mapping[Loc, Where] = field(default_factory=dict)

    def where(self, loc: Loc, *, key: bool = False) -> Where:
        """The place of the value at `loc` (or of its key); of the nearest parent if unknown."""
        if key and loc in self.keys:
            return self.keys[loc]
        for length in range(len(loc), -1, -1):
            if loc[:length] in self.values:
                return self.values[loc[:length]]
        return Where(file=self.file)


def read_yaml(text: str, file: str, rule: Rule, **fields: Any) -> Located:
    """Parse `text`; `file` is the name for messages.

    Raises `rule`, given `fields` and the field `problem`, at the place of the first problem: wrong
    syntax, a duplicate key, a tag, anchor or alias, too large, too deep.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError
    from ruamel.yaml.reader import ReaderError

    if len(text) > MAX_TEXT_LENGTH:
        problem = f"longer than {MAX_TEXT_LENGTH} characters"
        raise rule.error(Where(file=file), **fields, problem=problem)
    yaml = YAML(typ="safe", pure=True)

    def error(where: Where, problem: str) -> EdgecompileError:
        return rule.error(where, **fields, problem=problem)

    builder = _Builder(yaml=yaml, file=file, error=error)
    try:
        for event in yaml.parse(text):
            builder.take(event)
    except MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        where = _where(file, mark) if mark else Where(file=file)
        raise error(where, wrong.problem or str(wrong.context)) from None
    except ReaderError as wrong:
        before = text[: wrong.position].splitlines() or [""]
        where = Where(file=file, line=len(before), column=len(before[-1]) + 1)
        raise error(where, f"unacceptable character #x{wrong.character:04x}") from None
    return Located(file=file, value=builder.root, values=builder.values, keys=builder.keys)


def _where(file: str, mark: Any) -> Where:
    return Where(file=file, line=mark.line + 1, column=mark.column + 1)


def _scalar(yaml: Any, text: str) -> str | int | float | bool | None:
    from ruamel.yaml.nodes import ScalarNode

    tag = str(yaml.resolver.resolve(ScalarNode, text, (True, False)))
    kind = tag.rsplit(":", 1)[-1]
    if kind == "null":
        return None
    node = ScalarNode(tag, text)
    if kind == "bool":
        return bool(yaml.constructor.construct_yaml_bool(node))
    if kind == "int":
        return int(yaml.constructor.construct_yaml_int(node))
    if kind == "float":
        number = float(yaml.constructor.construct_yaml_float(node))
        return text if math.isnan(number) else number
    return text


class _Builder:
    """Builds values from parser events, without recursion, and notes where each stands."""

    def __init__(
        self, *, yaml: Any, file: str, error: Callable[[Where, str], EdgecompileError]
    ) -> None:
        self.root: Any = None
        self.values: dict[Loc, Where] = {}
        self.keys: dict[Loc, Where] = {}
        self._yaml = yaml
        self._file = file
        self._error = error
        self._stack: list[tuple[dict[str, Any] | list[Any], Loc]] = []
        self._key: list[str | None] = []
        self._documents = 0

    def take(self, event: Any) -> None:
        """Handle one event of the parser."""
        name = type(event).__name__
        if name == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                raise self._problem(event, "a second document starts here")
        if name in {"MappingStartEvent", "SequenceStartEvent", "ScalarEvent", "AliasEvent"}:
            self._check(event, name)
        if name == "ScalarEvent":
            self._take_scalar(event)
        elif name == "MappingStartEvent":
            self._open(event, {})
        elif name == "SequenceStartEvent":
            self._open(event, [])
        elif name in {"MappingEndEvent", "SequenceEndEvent"}:
            self._stack.pop()
            self._key.pop()

    def _problem(self, event: Any, problem: str) -> EdgecompileError:
        return self._error(_where(self._file, event.start_mark), problem)

    def _check(self, event: Any, name: str) -> None:
        if name == "AliasEvent" or getattr(event, "anchor", None) is not None:
            raise self._problem(event, "anchors and aliases are not allowed: write the value out")
        if getattr(event, "tag", None) is not None:
            raise self._problem(event, f"the tag '{event.tag}' is not allowed")
        if len(self._stack) > MAX_DEPTH:
            raise self._problem(event, f"nested deeper than {MAX_DEPTH} levels")
        if len(self.values) >= MAX_VALUES:
            raise self._problem(event, f"more than {MAX_VALUES} values")

    def _take_scalar(self, event: Any) -> None:
        if self._stack and isinstance(self._stack[-1][0], dict) and self._key[-1] is None:
            self._take_key(event)
            return
        try:
            plain = event.style is None or event.style == ""
            value = _scalar(self._yaml, event.value) if plain else event.value
        except ValueError as error:
            raise self._problem(event, str(error)) from None
        self._place(event, value)

    def _take_key(self, event: Any) -> None:
        container, loc = self._stack[-1]
        key = str(event.value)
        if key in container:
            raise self._problem(event, f"the key '{key}' appears twice")
        self._key[-1] = key
        self.keys[(*loc, key)] = _where(self._file, event.start_mark)

    def _open(self, event: Any, container: dict[str, Any] | list[Any]) -> None:
        if self._stack and isinstance(self._stack[-1][0], dict) and self._key[-1] is None:
            raise self._problem(event, "a key must be a plain word")
        loc = self._place(event, container)
        self._stack.append((container, loc))
        self._key.append(None)

    def _place(self, event: Any, value: Any) -> Loc:
        loc: Loc = ()
        if not self._stack:
            self.root = value
        else:
            container, parent = self._stack[-1]
            if isinstance(container, dict):
                key = self._key[-1]
                assert key is not None
                container[key] = value
                self._key[-1] = None
                loc = (*parent, key)
            else:
                container.append(value)
                loc = (*parent, len(container) - 1)
        self.values[loc] = _where(self._file, event.start_mark)
        return loc
