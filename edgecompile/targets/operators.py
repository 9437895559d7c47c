"""Operator tables: which operators a runtime or compiler has, as published, one JSON each.

`operator_tables/<name>.json` holds `source` and `operators`: domain -> operator -> entries. An
entry is one kernel or one row of a page; all of its keys may be left out:

    since, until   opset versions of the operator's definition that it serves; without `until`
                   exactly the definition `since`, without both every one
    types          type parameter of the definition (`T`) -> element types
    columns        where the page has columns (precisions, devices): those that list the operator
    limitation     in words
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

DEFAULT_DOMAIN = "ai.onnx"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Entry(_Frozen):
    """One kernel, or one row; see the head of the module."""

    since: int | None = None
    until: int | None = None
    types: Mapping[str, frozenset[str]] = Field(default_factory=dict)
    columns: frozenset[str] | None = None
    limitation: str = ""

    def serves(self, since_version: int) -> bool:
        """Whether it takes the definition of the operator that opset `since_version` brought."""
        if self.since is None or self.since == since_version:
            return True
        return self.until is not None and self.since < since_version <= self.until

    def in_column(self, column: str | None) -> bool:
        """Whether it counts in `column` (None: in any)."""
        return column is None or self.columns is None or column in self.columns


class OperatorTable(_Frozen):
    """One file."""

    schema_: Annotated[Literal["edgecompile/operators@1"], Field(alias="schema")]
    source: Mapping[str, str]
    """Repository, path and commit that the table was read from."""
    operators: Mapping[str, Mapping[str, tuple[Entry, ...]]]

    def entries(self, domain: str, op: str, column: str | None = None) -> tuple[Entry, ...]:
        """What the table says about an operator; empty when it is not there."""
        found = self.operators.get(domain or DEFAULT_DOMAIN, {}).get(op, ())
        return tuple(entry for entry in found if entry.in_column(column))

    @property
    def columns(self) -> frozenset[str]:
        """Every column that an entry names."""
        entries = (e for ops in self.operators.values() for many in ops.values() for e in many)
        return frozenset(column for entry in entries for column in entry.columns or ())


@functools.cache
def operator_table(name: str) -> OperatorTable:
    """The table of this name. Raises `LookupError` when there is none."""
    entry = resources.files("edgecompile.targets").joinpath("operator_tables", f"{name}.json")
    if not entry.is_file():
        raise LookupError(f"there is no operator table '{name}'")
    document: dict[str, Any] = json.loads(entry.read_text(encoding="utf-8"))
    return OperatorTable.model_validate(document)
