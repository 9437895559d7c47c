"""`onnx-winml`: an ONNX model for Windows ML, which brings vendors' providers to a PC."""

from __future__ import annotations

from typing import ClassVar

from edgecompile.emitters.onnx_plain import OnnxPlain


class OnnxWinMl(OnnxPlain):
    """Writes `model.onnx` and `session.json`."""

    id: ClassVar[str] = "onnx-winml"
    version: ClassVar[int] = 1
