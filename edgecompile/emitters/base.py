"""The contract of an emitter: one artifact format, one file, final."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict

from edgecompile.artifacts.types import Artifact
from edgecompile.diagnostics import Diagnostic
from edgecompile.diagnostics.catalogue.qnn import LINK_UNFIT
from edgecompile.ir.model import Model
from edgecompile.plugins.described import Described
from edgecompile.targets.schema import Target
from edgecompile.vendor import missing
from edgecompile.vendor.toolchains.place import absent

KITS = resources.files("edgecompile.emitters") / "kits"
"""What runs on devices, a folder per format."""


@dataclass(frozen=True, kw_only=True)
class KitScripts:
    """What a format adds to the device kit (see `artifacts.kit`)."""

    files: Mapping[str, str]
    """File name -> text. `runner.py` must be among them: it defines `load(path, kit)`, which gives
    an object with `run(feeds) -> outputs by name` and `runtime`, and `ERRORS`, a tuple of what
    `load` raises. It runs on the device: Python 3.6, numpy and the vendor's own package."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """For the runner, as `kit["options"]`."""


def kit_files(folder: str) -> dict[str, str]:
    """Name and text of every file in `kits/folder`."""
    found = (KITS / folder).iterdir()
    return {file.name: file.read_text(encoding="utf-8") for file in found if file.is_file()}


class Emitter(Described, ABC):
    """Turns a model that the passes have prepared into files. Fields are the emitter's options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: ClassVar[str]
    """The artifact format, such as `openvino-ir`."""
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]]
    """Distributions whose version can change the artifact; part of the cache key."""
    extra: ClassVar[str | None] = None
    """Optional extra that must be installed, such as `openvino`."""
    toolchain: ClassVar[str | None] = None
    """Isolated toolchain that must be installed, such as `myriad`."""
    sdk: ClassVar[str | None] = None
    """SDK that is looked for on this machine and does the last step where it is, such as
    `qaic-sdk`; without it the artifact leaves that step to another machine."""

    def out_of_reach(self, target: Target) -> Diagnostic | None:
        """Why this machine cannot write the format for `target`, known before any work; or None."""
        del target
        found = missing(self.extra) if self.extra is not None else None
        if found is None and self.toolchain is not None:
            found = absent(self.toolchain)
        return found

    for_several: ClassVar[bool] = False
    """Whether one artifact can hold compiled graphs for several targets."""
    links: ClassVar[bool] = False
    """Whether `link` puts several models into one artifact."""

    @abstractmethod
    def supports(self, model: Model, target: Target) -> list[Diagnostic]:
        """Every reason why `target` would refuse the model or run part of it elsewhere."""

    @abstractmethod
    def emit(self, model: Model, target: Target, directory: Path, source: Path | None) -> Artifact:
        """Write the artifact into `directory`/artifacts and describe it.

        `directory` is the build directory: the paths in the `Artifact` are relative to it.
        `source` is a vendor model that a pass has already made (see `Outcome.artifact`), else None.
        """

    def link(self, models: Mapping[str, Model], target: Target, directory: Path) -> Artifact:
        """One artifact of several models, by name, that stores equal weights once.

        Its `files` begin with the main file of each model, in order. Raises EC-634 for a format
        whose `links` is false.
        """
        del models, target, directory
        raise LINK_UNFIT.error(problem=f"an artifact of the format '{self.id}' holds one model")

    def kit(self, artifact: Artifact, target: Target) -> KitScripts | None:
        """What runs `artifact` on the device, for builds that cannot run it as the device does.

        None when there is nothing that could.
        """
        del artifact, target
        return None
