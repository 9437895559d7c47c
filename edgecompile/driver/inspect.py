"""`edgecompile inspect`: what a model, an artifact or a build directory holds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from edgecompile.diagnostics import Where
from edgecompile.diagnostics.catalogue.store import INSPECT_UNKNOWN
from edgecompile.driver.workspace import MANIFEST

SCHEMA = "edgecompile/inspection@1"
MULTIPLIES = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
"""Operators whose multiply-accumulates are counted."""


def inspect(path: Path) -> dict[str, Any]:
    """Facts about what lies at `path`, as JSON; `kind` is `model`, `artifact` or `build`.

    A file of a build that is neither ONNX nor an IR is told by that build. Raises EC-750 for
    anything else, EC-1xx for an unsound model, EC-660 for a bad manifest.
    """
    if (path / MANIFEST).is_file():
        return {"schema": SCHEMA, "kind": "build", **_build(path)}
    if path.suffix == ".xml" and path.is_file():
        return {"schema": SCHEMA, "kind": "artifact", **_openvino_ir(path)}
    build = None if path.suffix == ".onnx" else _build_of(path)
    if build is not None:
        return {"schema": SCHEMA, "kind": "build", **_build(build), "path": str(build)}
    if path.is_dir():
        reason = "it is a directory without a manifest.json"
        raise INSPECT_UNKNOWN.error(Where(file=str(path)), path=path, reason=reason)
    return {"schema": SCHEMA, "kind": "model", **_model(path)}


def _build_of(file: Path) -> Path | None:
    """The build directory that says in its manifest that it made `file`.

    What vendors' compilers write only they can read; what is in it, and where it runs, the build
    has looked up.
    """
    for directory in file.resolve().parents[:3] if file.is_file() else ():
        if (directory / MANIFEST).is_file():
            files = _build(directory)["files"]
            return directory if file.resolve().relative_to(directory).as_posix() in files else None
    return None


def _build(directory: Path) -> dict[str, Any]:
    from edgecompile.artifacts.manifest import Manifest
    from edgecompile.store.files import sha256_of_file

    manifest = Manifest.load(directory / MANIFEST)
    files = {name for a in manifest.artifacts for name in (a.path, *a.files)}
    here = {name: directory / name for name in sorted(files) if (directory / name).is_file()}
    return {
        "manifest": manifest.model_dump(mode="json", by_alias=True),
        "files": {name: sha256_of_file(path) for name, path in here.items()},
        "missing": sorted(files - set(here)),
    }


def _openvino_ir(path: Path) -> dict[str, Any]:
    """Facts of an IR read from its XML alone, without OpenVINO."""
    from xml.etree import ElementTree

    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise INSPECT_UNKNOWN.error(Where(file=str(path)), path=path, reason=str(error)) from error
    layers = root.findall("./layers/layer")
    if root.tag != "net" or not layers:
        reason = "it is XML, but not an OpenVINO IR"
        raise INSPECT_UNKNOWN.error(Where(file=str(path)), path=path, reason=reason)
    weights = path.with_suffix(".bin")
    constants: Counter[str] = Counter()
    for data in root.iterfind("./layers/layer[@type='Const']/data"):
        constants[data.get("element_type", "")] += int(data.get("size", "0"))
    return {
        "format": "openvino-ir",
        "name": root.get("name", ""),
        "version": root.get("version", ""),
        "bytes": path.stat().st_size + (weights.stat().st_size if weights.is_file() else 0),
        "weights": weights.name if weights.is_file() else None,
        "inputs": [_port(layer) for layer in layers if layer.get("type") == "Parameter"],
        "outputs": [layer.get("name", "") for layer in layers if layer.get("type") == "Result"],
        "operators": dict(sorted(Counter(layer.get("type", "") for layer in layers).items())),
        "constant_bytes": dict(sorted(constants.items())),
    }


def _port(layer: Any) -> dict[str, Any]:
    data = layer.find("data")
    shape = data.get("shape", "") if data is not None else ""
    return {
        "name": layer.get("name", ""),
        "dtype": data.get("element_type", "") if data is not None else "",
        "shape": [int(d) if d.isdigit() else None for d in shape.split(",") if d],
    }


def _model(path: Path) -> dict[str, Any]:
    from edgecompile.ir.facts import all_nodes, input_specs, macs, op_census, opset, output_specs
    from edgecompile.ir.load import load

    model = load(path)
    nodes = list(all_nodes(model))
    counts = [
        macs(node, dynamic=1) if _open_in_the_batch_only(node) else None
        for node in nodes
        if node.op_type in MULTIPLIES
    ]
    weights = [
        value.const_value
        for graph in model.graph.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None
    ]
    precision: Counter[str] = Counter()
    for tensor in weights:
        precision[tensor.dtype.name.lower()] += tensor.size
    return {
        "name": path.name,
        "sha256": model.digest,
        "bytes": path.stat().st_size,
        "opset": opset(model),
        "opsets": dict(sorted(model.graph.opset_imports.items())),
        "ir_version": model.graph.ir_version,
        "producer": " ".join(
            part for part in (model.graph.producer_name, model.graph.producer_version) if part
        ),
        "inputs": [_spec(spec) for spec in input_specs(model)],
        "outputs": [_spec(spec) for spec in output_specs(model)],
        "nodes": len(nodes),
        "operators": op_census(model),
        "parameters": sum(tensor.size for tensor in weights),
        "weight_bytes": sum(tensor.nbytes for tensor in weights),
        "weight_types": dict(sorted(precision.items())),
        "macs": _total(counts),
        "metadata": dict(sorted(model.graph.metadata_props.items())),
    }


def _open_in_the_batch_only(node: Any) -> bool:
    """Whether all axes but the first of what a node takes and gives are known."""
    values = [value for value in (*node.inputs[:2], *node.outputs[:1]) if value is not None]
    return all(v.shape is not None and all(isinstance(d, int) for d in v.shape[1:]) for v in values)


def _total(counts: list[int | None]) -> int | None:
    """The sum, or None when a part of it is not known: never a figure that is too small."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _spec(spec: Any) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype.name, "shape": list(spec.shape)}
