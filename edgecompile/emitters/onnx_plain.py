"""The base of formats that are one ONNX file for a provider of ONNX Runtime, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, PositiveInt

from edgecompile.artifacts.types import Artifact
from edgecompile.diagnostics import Diagnostic
from edgecompile.emitters import onnx_model
from edgecompile.emitters.base import Emitter, KitScripts
from edgecompile.ir.model import Model
from edgecompile.targets.schema import Target


class OnnxPlain(Emitter):
    """Writes `model.onnx` and `session.json`. Formats of this kind differ in their name alone:
    provider, options and operators are facts of the target."""

    libraries: ClassVar[tuple[str, ...]] = ("onnx", "onnx-ir")

    free_dimensions: dict[str, PositiveInt] = Field(default_factory=dict)
    """Values of symbolic dimensions that the model keeps, set when it is loaded."""

    def supports(self, model: Model, target: Target) -> list[Diagnostic]:
        """The opset, and every operator that the provider leaves to the CPU, with its reason."""
        return onnx_model.problems(model, target, self.free_dimensions)

    def emit(self, model: Model, target: Target, directory: Path, source: Path | None) -> Artifact:
        """Write the files and say which nodes run where, by the provider's operator table."""
        del source
        return onnx_model.emit(self.id, model, target, directory, free=self.free_dimensions)

    def kit(self, artifact: Artifact, target: Target) -> KitScripts | None:
        """ONNX Runtime on Windows, with the provider that the target names."""
        return onnx_model.kit(target, self.free_dimensions)
