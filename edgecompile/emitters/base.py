"""The contract of an emitter: one artifact format, one file, final."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict

from edgecompile.artifacts.types import Artifact
from edgecompile.diagnostics import Diagnostic
from edgecompile.ir.model import Model
from edgecompile.plugins.described import Described
from edgecompile.targets.schema import Target


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

    @abstractmethod
    def supports(self, model: Model, target: Target) -> list[Diagnostic]:
        """Every reason why `target` would refuse the model or run part of it elsewhere."""

    @abstractmethod
    def emit(self, model: Model, target: Target, directory: Path, source: Path | None) -> Artifact:
        """Write the artifact into `directory`/artifacts and describe it.

        `directory` is the build directory: the paths in the `Artifact` are relative to it.
        `source` is a vendor model that a pass has already made (see `Outcome.artifact`), else None.
        """
