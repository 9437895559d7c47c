"""TensorRT's own account of an engine's layers: the JSON of its inspector, or of `trtexec`.

The form is that of docs.nvidia.com/deeplearning/tensorrt, "Engine Inspector": with detailed
profiling every layer has a name, a type, its inputs with their formats, and the ONNX nodes that it
was made from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

_ORIGIN = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_TYPES = {"Int8": "i8", "Int4": "i4", "FP8": "f8e4m3", "FP16": "f16", "Half": "f16", "BF16": "bf16",
          "FP32": "f32", "Float": "f32"}  # fmt: skip
_KINDS = {
    "deconvolution": "Deconvolution",
    "convolution": "Convolution",
    "correlation": "Convolution",
    "gemm": "MatMul",
    "matrix_multiply": "MatMul",
    "matrixmultiply": "MatMul",
    "fully": "FullyConnected",
}
"""What a layer's type contains, in lower case, and what it is called elsewhere in edgecompile."""


def inspected_layers(text: str) -> list[dict[str, Any]]:
    """Name, kind, precision and origins of each layer. Raises `ValueError` for other documents."""
    document = json.loads(text)
    layers = document.get("Layers") if isinstance(document, dict) else None
    if layers is None:
        raise ValueError("the inspector's answer has no list of layers")
    return [_layer(layer) for layer in layers if isinstance(layer, dict)]


def _layer(layer: dict[str, Any]) -> dict[str, Any]:
    name = str(layer.get("Name", ""))
    kind = str(layer.get("ParameterType") or layer.get("LayerType") or "unknown")
    origins = _ORIGIN.findall(str(layer.get("Metadata", "")))
    return {
        "name": name,
        "kind": next((ours for part, ours in _KINDS.items() if part in kind.lower()), kind),
        "precision": _precision(layer.get("Inputs", [])),
        # releases without metadata join the names of fused nodes by plus signs
        "origins": origins or [part.strip() for part in name.split(" + ")],
    }


def _precision(inputs: Sequence[Any]) -> str:
    """The type of the first input, which is what a product multiplies in."""
    for tensor in inputs:
        text = str(tensor.get("Format/Datatype", tensor.get("Datatype", "")))
        for theirs, ours in _TYPES.items():
            if theirs in text:
                return ours
    return "unknown"
