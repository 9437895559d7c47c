"""`onnx-directml`: an ONNX model for DirectML, ONNX Runtime's provider for Windows GPUs."""

from __future__ import annotations

from typing import ClassVar

from edgecompile.emitters.onnx_plain import OnnxPlain


class OnnxDirectMl(OnnxPlain):
    """Writes `model.onnx` and `session.json`."""

    id: ClassVar[str] = "onnx-directml"
    version: ClassVar[int] = 1
