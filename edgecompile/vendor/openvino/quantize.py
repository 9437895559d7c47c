"""Worker: NNCF's post-training quantization of an ONNX file, to an OpenVINO model file."""

from __future__ import annotations

from typing import Any

from edgecompile.vendor.worker import Session


def quantize(payload: dict[str, Any], session: Session) -> dict[str, Any]:
    """Quantize `payload["model"]` with the samples in `payload["samples"]` into `payload["xml"]`.

    Samples are .npz files with `in0`, `in1`, ... for the names in `inputs`, opened one at a time.
    `options`: `preset` (or None for NNCF's choice), `transformer`, `target_device`,
    `fast_bias_correction`, `overflow_fix`, `smooth_quant_alpha` (or None for NNCF's default).
    """
    import nncf
    import numpy as np
    import openvino as ov
    from nncf.quantization import advanced_parameters as advanced

    options, files = payload["options"], payload["samples"]
    total = len(files)

    def load(index: int) -> dict[str, Any]:
        session.progress(index + 1, total)
        with np.load(files[index]) as stored:
            return {name: stored[f"in{i}"] for i, name in enumerate(payload["inputs"])}

    alpha = options["smooth_quant_alpha"]
    parameters = advanced.AdvancedQuantizationParameters(
        overflow_fix=advanced.OverflowFix[options["overflow_fix"].upper()],
    )
    if alpha is not None:
        parameters.smooth_quant_alphas = advanced.AdvancedSmoothQuantParameters(matmul=alpha)
    preset = options["preset"]
    model = nncf.quantize(
        ov.convert_model(payload["model"]),
        nncf.Dataset(list(range(total)), load),
        preset=None if preset is None else nncf.QuantizationPreset(preset),
        target_device=nncf.TargetDevice[options["target_device"]],
        subset_size=total,
        fast_bias_correction=options["fast_bias_correction"],
        model_type=nncf.ModelType.TRANSFORMER if options["transformer"] else None,
        advanced_parameters=parameters,
    )
    ov.save_model(model, payload["xml"], compress_to_fp16=False)
    kinds = [node.get_type_name() for node in model.get_ops()]
    return {"fake_quantize": kinds.count("FakeQuantize")}
