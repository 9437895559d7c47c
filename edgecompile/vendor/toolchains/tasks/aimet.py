"""aimet-onnx 2.42: quantization simulation exported as Q/DQ, in its own environment."""

from __future__ import annotations

from typing import Any


def quantize(payload: dict[str, Any], session: Any) -> dict[str, Any]:
    """Quantize the ONNX file `model` with the samples given and write `output`."""
    import random

    import aimet_onnx
    import numpy as np
    import onnx
    import torch
    from aimet_onnx.quantsim import QuantizationSimModel

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(payload["threads"])
    options, samples = payload["options"], _samples(payload)
    model = onnx.load(payload["model"])
    session.progress(0, 3)
    if options["equalize"]:
        from aimet_onnx.cross_layer_equalization import equalize_model

        equalize_model(model)
    simulated = QuantizationSimModel(
        model,
        param_type=aimet_onnx.int8,
        activation_type=aimet_onnx.int16 if options["activations"] == 16 else aimet_onnx.int8,
        config_file="default",
        providers=["CPUExecutionProvider"],
    )
    session.progress(1, 3)
    if options["rounding"] == "adaround":
        aimet_onnx.apply_adaround(simulated, samples, num_iterations=options["iterations"])
    elif options["rounding"] == "seq_mse":
        aimet_onnx.apply_seq_mse(simulated, samples)
    session.progress(2, 3)
    simulated.compute_encodings(samples)
    made = simulated.to_onnx_qdq(
        prequantize_constants=True, force_activation_as=options["force_activation_as"]
    )
    onnx.save(made, payload["output"])
    session.progress(3, 3)
    return {}


def _samples(payload: dict[str, Any]) -> list[dict[str, Any]]:
    import numpy as np

    found = []
    for path in payload["samples"]:
        with np.load(path, allow_pickle=False) as stored:
            found.append({name: stored[f"in{k}"] for k, name in enumerate(payload["inputs"])})
    return found
