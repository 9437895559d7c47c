"""How a step's results lie in the cache: `model.onnx`, `ranges.json`, `artifact/`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from edgecompile.calibration.ranges import Ranges
from edgecompile.ir.model import Model
from edgecompile.store.entry import Entry
from edgecompile.store.files import sha256_of_file

MODEL, RANGES, ARTIFACT = "model.onnx", "ranges.json", "artifact/"

INLINE_BYTES = 1 << 20
CHEAP_TO_KEEP_BYTES = 64 << 20
REBUILD_BYTES_PER_S = 200e6
"""A larger model is kept only when its step was slower than this: a quick step is done again, if
ever needed, sooner than gigabytes are written for every step of a recipe."""


def worth_keeping(model: Model, seconds: float) -> bool:
    """Whether the cache should hold the model that a step made in `seconds`."""
    graph = model.graph.graph
    weights = (value.const_value for value in graph.initializers.values())
    size = sum(tensor.nbytes for tensor in weights if tensor is not None)
    return size <= CHEAP_TO_KEEP_BYTES or seconds > size / REBUILD_BYTES_PER_S


def written_model(model: Model, directory: Path) -> dict[str, bytes | Path]:
    """The model as files for the cache; large weights lie beside it, written without a copy."""
    from edgecompile.ir.save import save

    save(model, directory / MODEL, inline_bytes=INLINE_BYTES)
    return {path.name: path for path in sorted(directory.iterdir())}


def read_model(entry: Entry, origin: Path) -> Model:
    """The model of an entry. Raises `DamagedError`."""
    from edgecompile.ir.load import load

    for name in entry.files:
        if name.startswith(MODEL):
            entry.checked(name)
    return Model(graph=load(entry.directory / MODEL).graph, origin=origin)


def read_ranges(entry: Entry) -> Ranges:
    """The ranges of an entry. Raises `DamagedError`."""
    return Ranges.from_json(json.loads(entry.checked(RANGES).read_bytes()))


def restore_artifact(entry: Entry, directory: Path) -> Path:
    """Copy the vendor model of an entry to `directory`. Raises `DamagedError` and `OSError`."""
    for name in entry.files:
        if name.startswith(ARTIFACT):
            entry.copy_to(name, directory / name.removeprefix(ARTIFACT))
    return directory / str(entry.result["artifact"]["name"])


def siblings(artifact: Path) -> list[Path]:
    """All files of a vendor model: those in its folder that share its stem, such as .xml, .bin."""
    return sorted(p for p in artifact.parent.iterdir() if p.stem == artifact.stem and p.is_file())


def files_digest(files: Sequence[Path]) -> str:
    """One digest of the names and contents of `files`."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {sha256_of_file(path)}\n".encode())
    return digest.hexdigest()
