"""Software that a device may run, release by release: one matrix per kind, such as JetPack.

A target lists which releases of a matrix it takes and which one is meant when nobody says. Choosing
another one changes the target's facts: the opset ceiling and the version of the vendor's library.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from edgecompile.diagnostics.catalogue.stack import (
    NO_SUCH_RELEASE,
    NO_SUCH_STACK,
    RELEASE_UNKNOWN,
)
from edgecompile.diagnostics.catalogue.target import BAD_TARGET_FILE
from edgecompile.diagnostics.located import read_yaml
from edgecompile.targets.frozen import Frozen

if TYPE_CHECKING:
    from edgecompile.targets.schema import Target


class Release(Frozen):
    """One release, and what comes with it. A null is not known."""

    id: str
    covers: tuple[str, ...] = ()
    """Other releases that carry the same libraries."""
    l4t: str | None = None
    """Jetson Linux."""
    tensorrt: str | None = None
    cuda: str | None = None
    opset_min: int = 7
    opset_max: int | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    """Operator table -> the column that holds for this release; the newest known one otherwise."""
    source: tuple[str, ...]
    note: str = ""


class Matrix(Frozen):
    """All releases of one kind of software, oldest first."""

    schema_: Annotated[Literal["edgecompile/stack@1"], Field(alias="schema")]
    name: str
    summary: str
    releases: tuple[Release, ...]
    sources: dict[str, str]

    def release(self, name: str) -> Release | None:
        """The release of that name, or the one that covers it."""
        found = (r for r in self.releases if name == r.id or name in r.covers)
        return next(found, None)


class Stack(Frozen):
    """Which releases of a matrix a target takes."""

    name: str
    releases: tuple[str, ...]
    release: str
    """The one that the target's facts are of."""
    note: str = ""


@functools.cache
def matrix(name: str) -> Matrix:
    """The matrix of that name. Raises `FileNotFoundError` when edgecompile has none."""
    entry = resources.files("edgecompile.targets").joinpath("stacks", f"{name}.yaml")
    document = read_yaml(entry.read_text(encoding="utf-8"), entry.name, BAD_TARGET_FILE)
    return Matrix.model_validate(document.value)


def chosen_release(target: Target) -> Release | None:
    """The release that the facts of `target` are of; None when it has no such software."""
    stack = target.stack
    return None if stack is None else matrix(stack.name).release(stack.release)


def with_release(target: Target, stack: str, release: str) -> Target:
    """`target` as it is with this `release` of the software `stack`.

    Raises EC-210 when the target has no such software, EC-211 when it does not take that release,
    EC-212 when what a build must know of the release is not known.
    """
    known = target.stack
    if known is None or known.name != stack:
        raise NO_SUCH_STACK.error(
            hints=_other(target), target=target.id, stack=stack, release=release
        )
    table = matrix(stack)
    found = table.release(release)
    if found is None or found.id not in known.releases:
        names = ", ".join(known.releases)
        raise NO_SUCH_RELEASE.error(target=target.id, stack=stack, release=release, known=names)
    if found.opset_max is None or found.tensorrt is None:
        raise RELEASE_UNKNOWN.error(stack=stack, release=release, note=found.note or "no source")
    opset = {"min": found.opset_min, "max": found.opset_max, "note": found.note}
    changes: dict[str, object] = {
        "stack": known.model_copy(update={"release": found.id}),
        "opset": target.opset.model_copy(update=opset),
    }
    changes["operators"] = tuple(
        support.model_copy(update={"column": found.columns.get(support.table, support.column)})
        for support in target.operators
    )
    if target.tensorrt is not None:
        changes["tensorrt"] = target.tensorrt.model_copy(update={"version": found.tensorrt})
    return target.model_copy(update=changes)


def _other(target: Target) -> tuple[str, ...] | None:
    if target.stack is None:
        return (f"leave the option out: '{target.id}' is one kind of software only",)
    return (f"choose one with --{target.stack.name}: {', '.join(target.stack.releases)}",)
