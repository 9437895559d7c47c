"""How the peers quantize the same samples. Each function runs in a child process of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

SYMMETRIC = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}


def nncf_openvino(
    model: str, calibration: str, output: str, *, transformer: bool = False
) -> dict[str, Any]:
    """NNCF's post-training quantization with its default options, written as OpenVINO IR.

    `transformer` is NNCF's own option for transformer models, which it cannot tell by itself.
    """
    import nncf
    import openvino as ov

    files = _files(calibration)
    dataset = nncf.Dataset(files, _read)
    kind = nncf.ModelType.TRANSFORMER if transformer else None
    quantized = nncf.quantize(
        ov.Core().read_model(model), dataset, subset_size=len(files), model_type=kind
    )
    ov.save_model(quantized, output, compress_to_fp16=False)
    return {}


def ort_static(
    model: str,
    calibration: str,
    output: str,
    *,
    reduce_range: bool = False,
    tensorrt: bool = False,
) -> dict[str, Any]:
    """ONNX Runtime's static quantization: QDQ, MinMax, per channel, u8 x s8.

    `tensorrt` makes what TensorRT takes: signed and symmetric, pairs at products, none on a bias.

    Its own pre-processing runs first, as its documentation tells, without symbolic shape inference,
    which some of these models end with an error. Where the quantizer fails on the result, it gets
    the model without optimisation, and the reply says so.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as directory:
        ready = str(Path(directory) / "ready.onnx")
        quant_pre_process(model, ready, skip_symbolic_shape=True)
        try:
            _ort_quantize(ready, calibration, output, reduce_range, tensorrt=tensorrt)
        except ValueError as error:
            reason = str(error)
        else:
            return {}
        quant_pre_process(model, ready, skip_symbolic_shape=True, skip_optimization=True)
        _ort_quantize(ready, calibration, output, reduce_range, tensorrt=tensorrt)
    return {"note": f"without its pre-optimisation, on which it fails ({reason[:60]})"}


def ort_weights_4bit(
    model: str,
    output: str,
    *,
    calibration: str = "",
    block_size: int = 32,
    algorithm: str = "rtn",
) -> dict[str, Any]:
    """ONNX Runtime's MatMulNBits, by round-to-nearest without data, or another algorithm.

    `k_quant` and `hqq` (which needs torch) take no data, `gptq` does.
    """
    import onnx
    from onnxruntime.quantization import matmul_nbits_quantizer as quantizers

    configs = {
        "k_quant": quantizers.KQuantWeightOnlyQuantConfig,
        "hqq": lambda: quantizers.HQQWeightOnlyQuantConfig(block_size=block_size, bits=4),
        "gptq": lambda: quantizers.GPTQWeightOnlyQuantConfig(
            calibration_data_reader=_reader(calibration), block_size=block_size, perchannel=True
        ),
    }
    make = configs.get(algorithm)
    quantizer = quantizers.MatMulNBitsQuantizer(
        onnx.load(model), block_size=block_size, algo_config=make() if make else None
    )
    quantizer.process()
    quantizer.model.save_model_to_file(output)
    return {}


def nncf_weights_4bit(
    model: str,
    output: str,
    *,
    calibration: str = "",
    group_size: int = 32,
    aware: bool = False,
    gptq: bool = False,
) -> dict[str, Any]:
    """NNCF's weight compression to INT4, all layers, written as OpenVINO IR.

    Without data, `aware` by AWQ and its scale estimation, or by its GPTQ.
    """
    import nncf
    import openvino as ov

    more: dict[str, Any] = {}
    if calibration:
        more = {"dataset": nncf.Dataset(_files(calibration), _read), "gptq": gptq}
        more |= {"awq": aware, "scale_estimation": aware}
    compressed = nncf.compress_weights(
        ov.Core().read_model(model),
        mode=nncf.CompressWeightsMode.INT4_ASYM,
        group_size=group_size,
        ratio=1.0,
        **more,
    )
    ov.save_model(compressed, output)
    return {}


def float_ir(model: str, output: str) -> dict[str, Any]:
    """The float model as OpenVINO IR, for the reference of speed."""
    import openvino as ov

    ov.save_model(ov.Core().read_model(model), output, compress_to_fp16=False)
    return {}


def _ort_quantize(
    model: str, calibration: str, output: str, reduce_range: bool, *, tensorrt: bool
) -> None:
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    quantize_static(
        model,
        output,
        _reader(calibration),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=reduce_range,
        activation_type=QuantType.QInt8 if tensorrt else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        op_types_to_quantize=["Conv", "Gemm", "MatMul"] if tensorrt else None,
        extra_options=SYMMETRIC if tensorrt else None,
    )


def _reader(calibration: str) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        """One sample at a time from its file."""

        def __init__(self) -> None:
            self._samples: Iterator[dict[str, Any]] = map(_read, _files(calibration))

        def get_next(self) -> dict[str, Any] | None:
            return next(self._samples, None)

    return Reader()


def _files(calibration: str) -> list[Path]:
    return sorted(Path(calibration).glob("*.npz"))


def _read(path: Path) -> dict[str, Any]:
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def artifact_bytes(path: Path) -> int:
    """Size of an artifact: an .onnx, or an .xml and its .bin."""
    weights = path.with_suffix(".bin")
    total = path.stat().st_size
    return total + (weights.stat().st_size if path.suffix == ".xml" and weights.exists() else 0)


def clean(directory: Path) -> None:
    """Empty a folder for one artifact."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
