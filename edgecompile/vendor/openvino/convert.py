"""Worker: an ONNX file (or an IR that NNCF has made) to the IR that ships."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from edgecompile.vendor.openvino.halves import store_halves
from edgecompile.vendor.openvino.products import products_as_convolutions
from edgecompile.vendor.openvino.workarounds import (
    offset_shared_convolutions,
    part_extremes_from_quantizers,
)
from edgecompile.vendor.worker import Session

METADATA = "framework"
"""The section of an IR's runtime info where the ONNX importer keeps `metadata_props`."""
_TRACES = ("conversion_parameters", "Runtime_version")
"""Sections that tell how and where the file was made, and not what the model is."""


def convert(payload: dict[str, Any], session: Session) -> dict[str, Any]:
    """Write `payload["xml"]` (and the .bin beside it) from `payload["model"]`; describe both.

    `compress_to_fp16` stores float constants in half precision; `metadata` is what the runtime
    info must hold; `products_as_convolutions` asks for that form of integer products. The
    description is read back from the file, not from memory.
    """
    import openvino as ov

    del session
    core = ov.Core()
    source = payload["model"]
    ready = Path(source).suffix == ".xml"
    model = core.read_model(source) if ready else ov.convert_model(source)
    for section in _TRACES:
        if model.has_rt_info([section]):
            del model.rt_info[section]
    for key, value in sorted(payload["metadata"].items()):
        model.set_rt_info(value, [METADATA, key])
    halved = payload["compress_to_fp16"]
    offset_shared_convolutions(model, compress_to_fp16=halved)
    if payload["products_as_convolutions"]:
        products_as_convolutions(model)
    part_extremes_from_quantizers(model, compress_to_fp16=halved)
    if halved:
        store_halves(model)
    ov.save_model(model, payload["xml"], compress_to_fp16=halved)
    return describe(core.read_model(payload["xml"]), payload["metadata"])


def probe(payload: dict[str, Any], session: Session) -> dict[str, Any]:
    """Ask OpenVINO's importer itself about `payload["model"]`: what it cannot translate."""
    import openvino as ov
    from openvino.frontend import OpConversionFailure

    del session
    try:
        model = ov.convert_model(payload["model"])
    except OpConversionFailure as error:
        return {"refused": str(error), "operators": {}}
    return {"refused": "", "operators": operators(model)}


def operators(model: Any) -> dict[str, list[str]]:
    """Type -> names of the operators of an `openvino.Model`."""
    found: dict[str, list[str]] = {}
    for node in model.get_ordered_ops():
        found.setdefault(node.get_type_name(), []).append(node.get_friendly_name())
    return found


def describe(model: Any, metadata: dict[str, str]) -> dict[str, Any]:
    """Inputs, outputs, constants by type and surviving metadata of an `openvino.Model`."""
    stored: Counter[str] = Counter()
    for node in model.get_ops():
        if node.get_type_name() == "Constant":
            kind = node.get_output_element_type(0)
            stored[kind.get_type_name()] += node.get_byte_size()
    return {
        "inputs": [_port(port) for port in model.inputs],
        "outputs": [_port(port) for port in model.outputs],
        "constants": dict(sorted(stored.items())),
        "operators": operators(model),
        "metadata": {
            key: model.get_rt_info([METADATA, key]).astype(str)
            for key in metadata
            if model.has_rt_info([METADATA, key])
        },
    }


def _port(port: Any) -> dict[str, Any]:
    shape = port.get_partial_shape()
    dims = None
    if shape.rank.is_static:
        dims = [dim.get_length() if dim.is_static else None for dim in shape]
    return {
        "names": sorted(port.get_names()),
        "dtype": port.get_element_type().get_type_name(),
        "shape": dims,
    }
