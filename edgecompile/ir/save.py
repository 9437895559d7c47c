"""Writing models: atomic, deterministic, and never with weights that lie elsewhere."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from edgecompile.diagnostics import Where
from edgecompile.diagnostics.catalogue.model import SAVE_FAILED
from edgecompile.ir.model import Model
from edgecompile.ir.proto import write_inline, write_model


def to_bytes(model: Model) -> bytes:
    """The deterministic `ModelProto` of a model, weights inside. Raises EC-120 above 2 GB."""
    data: bytes = write_model(model.graph, write_inline).SerializeToString(deterministic=True)
    return data


def save(model: Model, path: Path) -> None:
    """Write a model to `path`, replacing what is there only when all is written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(to_bytes(model))
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise SAVE_FAILED.error(Where(file=str(path)), path=path, reason=reason) from error
