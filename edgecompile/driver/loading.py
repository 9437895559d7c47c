"""The user's model: its facts without opening it when they are known, the model when needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.driver.cached import Journal, told_stage
from edgecompile.driver.files import model_files
from edgecompile.driver.resolve import Resolved
from edgecompile.ir.model import Model
from edgecompile.passes.lazy import Lazy
from edgecompile.recipes import Recipe
from edgecompile.store.code import code_sha256
from edgecompile.store.memo import Memo

if TYPE_CHECKING:
    from edgecompile.ir.facts import TensorSpec

LOAD = "load"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What a build knows of its model before any pass."""

    path: Path
    model: Lazy[Model]
    bytes: int
    """Size of the file and of its external data."""
    nodes: int
    opset: int
    inputs: tuple[Mapping[str, Any], ...]
    """Name, dtype, shape and ranked of every input, as JSON."""

    def specs(self, recipe: Recipe) -> tuple[TensorSpec, ...]:
        """The inputs as data sets want them, in the shapes that the steps of `recipe` give them.

        Raises EC-423 and EC-424 for steps that name other inputs or shapes than the model has.
        """
        import ml_dtypes  # noqa: F401  makes NumPy know bfloat16 and int4
        import numpy as np

        from edgecompile.ir.facts import TensorSpec

        specs = tuple(
            TensorSpec(
                name=spec["name"],
                dtype=np.dtype(spec["dtype"]),
                shape=tuple(spec["shape"]),
                ranked=spec["ranked"],
            )
            for spec in self.inputs
        )
        return recipe.inputs_after(specs)


def load_stage(resolved: Resolved, journal: Journal) -> Loaded:
    """Load the model of a build, and tell. Raises EC-1xx for a file that is not a sound model."""
    with told_stage(resolved, journal, LOAD) as told:
        loaded = load_model(resolved.request.model, resolved.memo)
        told.summary = f"{loaded.nodes} nodes, opset {loaded.opset}, {loaded.bytes:,} bytes"
        told.cached = not loaded.model.made
    return loaded


def load_model(path: Path, memo: Memo) -> Loaded:
    """The model at `path`. It is opened now only when its facts are not known yet.

    Raises EC-1xx for a file that is not a sound model.
    """
    from edgecompile.ir.load import load

    opened: list[Model] = []

    def read() -> Model:
        if not opened:
            opened.append(load(path))
        return opened[0]

    if not path.is_file():
        read()
    code = code_sha256(("ir",), memo)
    files = model_files(path, memo, lambda: _external_files(read()))
    facts = memo.recall("model", files, code, lambda: _facts(read(), files))
    return Loaded(
        path=path,
        model=Lazy(facts["digest"], read, maker=LOAD)
        if not opened
        else Lazy.known(facts["digest"], opened[0], maker=LOAD),
        bytes=facts["bytes"],
        nodes=facts["nodes"],
        opset=facts["opset"],
        inputs=tuple(facts["inputs"]),
    )


def _external_files(model: Model) -> list[str]:
    """Files beside the model that hold its weights, relative to its folder."""
    import onnx_ir

    from edgecompile.ir import traverse

    tensors = [tensor for _, tensor in traverse.initializers(model.graph)]
    tensors += [tensor for _, tensor in traverse.attribute_tensors(model.graph)]
    return sorted({str(t.location) for t in tensors if isinstance(t, onnx_ir.ExternalTensor)})


def _facts(model: Model, files: list[Path]) -> dict[str, Any]:
    from edgecompile.ir.facts import input_specs, op_census, opset

    return {
        "digest": model.digest,
        "bytes": sum(path.stat().st_size for path in files),
        "nodes": sum(op_census(model).values()),
        "opset": opset(model),
        "inputs": [
            {
                "name": spec.name,
                "dtype": spec.dtype.name,
                "shape": list(spec.shape),
                "ranked": spec.ranked,
            }
            for spec in input_specs(model)
        ],
    }
