"""onnx-neural-compressor 1.0: static Q/DQ quantization, in its own environment."""

from __future__ import annotations

from typing import Any


def quantize(payload: dict[str, Any], session: Any) -> dict[str, Any]:
    """Quantize the ONNX file `model` with the samples given and write `output`."""
    import numpy as np
    import onnxruntime
    from onnx_neural_compressor import data_reader
    from onnx_neural_compressor.quantization import QuantFormat, QuantType, config
    from onnx_neural_compressor.quantization.quantize import quantize as run

    onnxruntime.set_default_logger_severity(3)
    names, samples, options = payload["inputs"], payload["samples"], payload["options"]

    class Reader(data_reader.CalibrationDataReader):  # type: ignore[misc]
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

    extra = {
        "ActivationSymmetric": options["activations_symmetric"],
        "WeightSymmetric": options["weights_symmetric"],
    }
    settings = config.StaticQuantConfig(
        calibration_data_reader=Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=getattr(QuantType, f"Q{options['activations']}"),
        weight_type=getattr(QuantType, f"Q{options['weights']}"),
        op_types_to_quantize=options["operators"],
        per_channel=options["per_channel"],
        calibration_sampling_size=len(samples),
        extra_options=extra,
    )
    run(
        payload["model"],
        payload["output"],
        settings,
        optimization_level=onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    )
    return {}
