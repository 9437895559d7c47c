"""`declared`: what a pass sees of a target, so that its cache key cannot miss a fact it read."""

from __future__ import annotations

from typing import Any, cast

from edgecompile.targets.schema import Target


class UndeclaredFactError(RuntimeError):
    """A pass read a fact that its `facts` do not name: a bug in the pass."""


def declared(target: Target, fields: tuple[str, ...]) -> Target:
    """`target` reduced to `fields`; reading another one raises `UndeclaredFactError`.

    Raises `KeyError` for a field that `Target` does not have.
    """
    for name in fields:
        Target.model_fields[name]
    return cast("Target", _Declared(target, frozenset(fields)))


class _Declared:
    __slots__ = ("_fields", "_target")

    def __init__(self, target: Target, fields: frozenset[str]) -> None:
        self._target = target
        self._fields = fields

    def __getattr__(self, name: str) -> Any:
        if name in self._fields:
            return getattr(self._target, name)
        if name in Target.model_fields:
            raise UndeclaredFactError(f"the pass reads '{name}' but does not declare it in 'facts'")
        raise AttributeError(name)

    def __repr__(self) -> str:
        return f"declared({self._target.id!r}, {sorted(self._fields)})"
