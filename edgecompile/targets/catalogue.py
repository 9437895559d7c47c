"""The catalogue: one YAML per target, found by id or alias.

Looking a name up reads only the head of each file (`schema`, `id`, `aliases` come first); one file
is parsed in full.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from pydantic import ValidationError

from edgecompile.diagnostics import EdgecompileError, Where
from edgecompile.diagnostics.catalogue.target import (
    BAD_TARGET_FILE,
    PLANNED_TARGET,
    TARGET_NAME_TWICE,
    UNKNOWN_TARGET,
)
from edgecompile.diagnostics.located import read_yaml
from edgecompile.diagnostics.nearest import did_you_mean
from edgecompile.plugins.resources import yaml_files
from edgecompile.targets.schema import Target

GROUP = "edgecompile.targets"


def load_target(name: str) -> Target:
    """The target with this id or alias.

    Raises EC-201 for an unknown name (nearest names offered), EC-202 for a device that is known
    but not served by this version, and EC-203 for a file that breaks the schema.
    """
    served = _names()
    if name in served:
        return _load(served[name])
    planned = _planned()
    if name in planned:
        raise PLANNED_TARGET.error(name=name, id=planned[name])
    hint = did_you_mean(name, [*served, *planned], otherwise=UNKNOWN_TARGET.fix[0])
    hints = tuple(dict.fromkeys((hint, *UNKNOWN_TARGET.fix)))
    raise UNKNOWN_TARGET.error(name=name, hints=hints)


def all_targets() -> dict[str, Target]:
    """Every target that this version serves, by id."""
    return {id_: _load(id_) for id_ in sorted(_files())}


def planned_targets() -> dict[str, tuple[str, ...]]:
    """Devices that are known but not served yet: id -> aliases."""
    found: dict[str, list[str]] = {}
    for name, id_ in _planned().items():
        found.setdefault(id_, [])
        if name != id_:
            found[id_].append(name)
    return {id_: tuple(aliases) for id_, aliases in sorted(found.items())}


def declared_facts(target: Target, fields: tuple[str, ...]) -> dict[str, Any]:
    """The named fields of `target` as JSON values, sorted, for cache keys.

    Raises `KeyError` for a field that `Target` does not have.
    """
    facts = target.model_dump(mode="json")
    return {name: facts[name] for name in sorted(set(fields))}


def facts_sha256(target: Target) -> str:
    """SHA-256 of all facts: changes whenever any fact or source of the target does."""
    text = json.dumps(
        target.model_dump(mode="json", by_alias=True),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
    )
    return hashlib.sha256(text.encode()).hexdigest()


def parse_target(text: str, file: str) -> Target:
    """The target that YAML `text` describes. Raises EC-203 with every problem and its place."""
    document = read_yaml(text, file, BAD_TARGET_FILE)
    try:
        return Target.model_validate(document.value)
    except ValidationError as invalid:
        problems = tuple(
            BAD_TARGET_FILE.at(
                document.where(error["loc"], key=error["type"] == "extra_forbidden"),
                problem=f"{'.'.join(map(str, error['loc']))}: {error['msg']}",
            )
            for error in invalid.errors(include_url=False)
        )
        raise EdgecompileError(problems, BAD_TARGET_FILE.exit_code) from None


@functools.cache
def _files() -> Mapping[str, Traversable]:
    return yaml_files(resources.files("edgecompile.targets").joinpath("data"), GROUP)


@functools.cache
def _load(id_: str) -> Target:
    entry = _files()[id_]
    target = parse_target(entry.read_text(encoding="utf-8"), entry.name)
    if target.id != id_:
        problem = f"it holds the target '{target.id}', so its name must be '{target.id}.yaml'"
        raise BAD_TARGET_FILE.error(Where(file=entry.name), problem=problem)
    return target


@functools.cache
def _names() -> Mapping[str, str]:
    """Id or alias -> id, of the targets served."""
    names: dict[str, str] = {}
    for id_, entry in _files().items():
        for name in (id_, *_head_aliases(entry.read_text(encoding="utf-8"))):
            if names.setdefault(name, id_) != id_:
                raise TARGET_NAME_TWICE.error(name=name, first=names[name], second=id_)
    return names


@functools.cache
def _planned() -> Mapping[str, str]:
    """Id or alias -> id, of the devices known but not served."""
    entry = resources.files("edgecompile.targets").joinpath("planned.yaml")
    document = read_yaml(entry.read_text(encoding="utf-8"), entry.name, BAD_TARGET_FILE)
    pairs = ((name, id_) for id_, more in (document.value or {}).items() for name in (id_, *more))
    return dict(pairs)


def _head_aliases(text: str) -> Iterator[str]:
    """The scalars under the top-level key `aliases`, reading no further than that."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    top = 3  # inside the stream, the document and its mapping
    depth, inside = 0, False
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            kind = type(event).__name__
            depth += kind.endswith("StartEvent") - kind.endswith("EndEvent")
            if inside and kind == "SequenceEndEvent":
                return
            if inside and kind == "ScalarEvent":
                yield str(event.value)
            elif depth == top and kind == "ScalarEvent":
                inside = event.value == "aliases"
    except YAMLError:
        return  # `parse_target` tells what is wrong, once this target is asked for
