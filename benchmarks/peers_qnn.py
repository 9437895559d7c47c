"""The peer for Qualcomm: onnxruntime's own quantization for QNN, compiled by the same compiler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def quantize(model: str, calibration: str, work: str, *, wide: bool) -> dict[str, Any]:
    """`get_qnn_qdq_config` and `quantize` with their defaults, per channel, INT8 weights.

    `wide` takes UINT16 activations. Writes `model.onnx`, the context binary and a `report.json`
    with what the benchmark reads.
    """
    import time

    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization import quantize as run
    from onnxruntime.quantization.execution_providers.qnn import (
        get_qnn_qdq_config,
        qnn_preprocess_model,
    )

    from benchmarks.emulated import TARGET
    from edgecompile.emitters.qnn_context_binary import QnnContextBinary
    from edgecompile.ir import load
    from edgecompile.targets.catalogue import load_target

    directory = Path(work)
    directory.mkdir(parents=True)
    files = sorted(Path(calibration).glob("*.npz"))[:64]
    ready = directory / "ready.onnx"
    with np.load(files[0]) as first:
        _fix_shapes(model, ready, {key: first[key].shape for key in first.files})
    if qnn_preprocess_model(str(ready), str(directory / "pre.onnx")):
        ready = directory / "pre.onnx"
    config = get_qnn_qdq_config(
        str(ready),
        _Reader(files),
        activation_type=QuantType.QUInt16 if wide else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
    )
    run(str(ready), str(directory / "model.onnx"), config)
    started = time.perf_counter()
    found = QnnContextBinary().emit(
        load(directory / "model.onnx"), load_target(TARGET), directory, None
    )
    assert found.coverage is not None
    report = {
        "coverage": {
            "accelerated": found.coverage.accelerated,
            "nodes": found.coverage.nodes,
            "accelerated_macs": found.coverage.accelerated_macs,
        },
        "steps": [{"step": "emit", "seconds": time.perf_counter() - started}],
        "artifacts": [{"bytes": found.bytes}],
    }
    (directory / "report.json").write_text(json.dumps(report))
    return {"opset": onnx.load(directory / "model.onnx").opset_import[0].version}


class _Reader:
    """Samples one after another, as onnxruntime's calibration asks for them."""

    def __init__(self, files: list[Path]) -> None:
        self._files = iter(files)

    def get_next(self) -> dict[str, Any] | None:
        file = next(self._files, None)
        if file is None:
            return None
        with np.load(file) as stored:
            return {key: stored[key] for key in stored.files}


def _fix_shapes(model: str, output: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """Our own passes give the fixed shapes and fold what follows from them, for a fair start."""
    from benchmarks.emulated import TARGET
    from edgecompile.ir import load, save
    from edgecompile.passes.base import Context
    from edgecompile.passes.graph.freeze_shapes import FreezeShapes
    from edgecompile.passes.graph.simplify import Simplify
    from edgecompile.targets.catalogue import load_target

    context = Context(target=load_target(TARGET))
    loaded = FreezeShapes(inputs=shapes).run(load(Path(model)), context).model
    ready = Simplify().run(loaded, context).model
    ready.graph.metadata_props.clear()  # its preprocessing ends with an error on any
    save(ready, output)
