"""Reading models: nothing is believed before it is checked."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx_ir import external_data, serde

from edgecompile.diagnostics import Where
from edgecompile.diagnostics.catalogue.model import LIMIT_EXCEEDED, MODEL_MISSING
from edgecompile.ir.limits import DEFAULT, Limits
from edgecompile.ir.model import Model
from edgecompile.ir.shapes import infer


def load(path: Path, *, limits: Limits = DEFAULT) -> Model:
    """Load the model at `path` with its external data left on disk."""
    if not path.exists():
        raise MODEL_MISSING.error(Where(file=str(path)), path=path)
    if path.stat().st_size > limits.file_bytes:
        raise LIMIT_EXCEEDED.error(
            Where(file=str(path)),
            what="file size",
            actual=path.stat().st_size,
            limit=limits.file_bytes,
        )
    proto = onnx.ModelProto.FromString(path.read_bytes())
    graph = serde.deserialize_model(proto)
    external_data.set_base_dir(graph.graph, path.resolve().parent)
    return infer(Model(graph=graph, origin=path))
