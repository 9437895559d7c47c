"""amd-quark 0.13: the presets for Ryzen AI, in its own environment."""

from __future__ import annotations

from typing import Any


def quantize(payload: dict[str, Any], session: Any) -> dict[str, Any]:
    """Quantize the ONNX file `model` with the samples given and write `output`."""
    import random

    import numpy as np
    import torch
    from onnxruntime.quantization import CalibrationDataReader
    from quark.onnx import ModelQuantizer
    from quark.onnx.quantization.config import Config
    from quark.onnx.quantization.config.custom_config import get_default_config

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(payload["threads"])
    names, samples = payload["inputs"], payload["samples"]

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Samples from disk, one at a time, as often as they are asked for."""

        def __init__(self) -> None:
            self._next = 0

        def get_next(self) -> dict[str, Any] | None:
            """The next sample, None at the end."""
            if self._next == len(samples):
                return None
            with np.load(samples[self._next], allow_pickle=False) as stored:
                feeds = {name: stored[f"in{k}"] for k, name in enumerate(names)}
            self._next += 1
            session.progress(self._next, len(samples))
            return feeds

        def rewind(self) -> None:
            """Start again."""
            self._next = 0

    config = Config(global_quant_config=get_default_config(payload["options"]["preset"]))
    ModelQuantizer(config).quantize_model(payload["model"], payload["output"], Reader())
    _sort(payload["output"])
    return {}


def _sort(path: str) -> None:
    """Put the nodes in order: XINT8 was seen to add a Mul behind a GlobalAveragePool at the end."""
    import onnx_ir as ir

    model = ir.load(path)
    model.graph.sort()
    ir.save(model, path)
