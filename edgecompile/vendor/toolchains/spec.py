"""What a toolchain file says, and finding these files.

One YAML in this folder is one toolchain; packages of others register a package that holds such
files under the entry point group `edgecompile.toolchains`.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import platform
import sys
from collections.abc import Mapping
from importlib import resources
from importlib.metadata import entry_points
from importlib.resources.abc import Traversable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgecompile.diagnostics import EdgecompileError, Where
from edgecompile.diagnostics.catalogue.toolchain import BAD_TOOLCHAIN_FILE, ISOLATED_UNKNOWN
from edgecompile.diagnostics.located import read_yaml
from edgecompile.diagnostics.nearest import did_you_mean

GROUP = "edgecompile.toolchains"
Pin = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.]*$")]
"""`name==version`: no address, extra, marker or local version."""


class Toolchain(BaseModel):
    """One isolated environment: what is in it and what it needs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal["edgecompile/toolchain@1"] = Field(alias="schema")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")
    purpose: str
    licence: str
    """SPDX identifier of the tool itself."""
    python: tuple[Annotated[str, Field(pattern=r"^3\.\d+$")], ...] = Field(min_length=1)
    """Versions of Python that will do, the best first."""
    platforms: tuple[str, ...] = ()
    """`linux-x86_64` and the like; empty for everywhere."""
    size_bytes: int = Field(ge=0)
    """About what it takes on disk."""
    requirements: tuple[Pin, ...]
    """What is asked for, in one pip command."""
    locked: tuple[Pin, ...] = ()
    """Versions of what the requirements bring along, given to pip as constraints."""
    imports: tuple[Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*$")], ...]
    """Modules that must load before the environment counts as installed."""
    notes: tuple[str, ...] = ()
    """What to know before installing it, such as what has not been tried."""

    def digest(self, python: str) -> str:
        """SHA-256 of everything that decides what the environment holds."""
        material = {
            "requirements": sorted(self.requirements),
            "locked": sorted(self.locked),
            "python": python,
            "platform": this_platform(),
        }
        text = json.dumps(material, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def this_platform() -> str:
    """`linux-x86_64`, `win32-amd64`, `darwin-arm64`."""
    return f"{sys.platform}-{platform.machine().lower()}"


def all_toolchains() -> dict[str, Toolchain]:
    """Every toolchain, by name. Raises EC-522 for a file that is not one."""
    return {name: _load(name) for name in files()}


def load_toolchain(name: str) -> Toolchain:
    """The toolchain of this name. Raises EC-521 when there is none and EC-522 for a bad file."""
    known = files()
    if name not in known:
        hint = did_you_mean(name, known, otherwise=ISOLATED_UNKNOWN.fix[0])
        hints = tuple(dict.fromkeys((hint, *ISOLATED_UNKNOWN.fix)))
        raise ISOLATED_UNKNOWN.error(name=name, hints=hints)
    return _load(name)


def parse_toolchain(text: str, file: str) -> Toolchain:
    """The toolchain that `text` describes. Raises EC-522 with every problem and its place."""
    document = read_yaml(text, file, BAD_TOOLCHAIN_FILE)
    try:
        found = Toolchain.model_validate(document.value)
    except ValidationError as invalid:
        problems = tuple(
            BAD_TOOLCHAIN_FILE.at(
                document.where(error["loc"], key=error["type"] == "extra_forbidden"),
                problem=f"{'.'.join(map(str, error['loc']))}: {error['msg']}",
            )
            for error in invalid.errors(include_url=False)
        )
        raise EdgecompileError(problems, BAD_TOOLCHAIN_FILE.exit_code) from None
    if f"{found.name}.yaml" != file:
        problem = f"it holds '{found.name}', so its name must be '{found.name}.yaml'"
        raise BAD_TOOLCHAIN_FILE.error(Where(file=file), problem=problem)
    return found


@functools.cache
def files() -> Mapping[str, Traversable]:
    """Toolchain files by name; ours win over those of others."""
    found = _in_folder(resources.files(__package__))
    for point in sorted(entry_points(group=GROUP), key=lambda p: (p.name, p.value)):
        try:
            folder = resources.files(importlib.import_module(point.value))
        except (ImportError, TypeError) as error:
            problem = f"the entry point '{point.name}' of '{GROUP}' is no package: {error}"
            raise BAD_TOOLCHAIN_FILE.error(problem=problem) from None
        found = {**_in_folder(folder), **found}
    return dict(sorted(found.items()))


def _in_folder(folder: Traversable) -> dict[str, Traversable]:
    return {e.name[: -len(".yaml")]: e for e in folder.iterdir() if e.name.endswith(".yaml")}


@functools.cache
def _load(name: str) -> Toolchain:
    entry = files()[name]
    return parse_toolchain(entry.read_text(encoding="utf-8"), entry.name)
