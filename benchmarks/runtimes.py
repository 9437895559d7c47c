"""Run an artifact, .onnx in ONNX Runtime or .xml in OpenVINO, as it runs here or exactly."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Run = Callable[[Mapping[str, Array]], list[Array]]
SATURATING = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}
"""Takes VNNI from OpenVINO's kernels: then they saturate as on CPUs that have none."""


def open_artifact(path: Path, *, exact: bool = False, threads: int = 2) -> Run:
    """A function from feeds to outputs.

    `exact` computes quantization in float: ONNX Runtime with QDQ fusion off, OpenVINO with fake
    quantization written out and dynamic quantization of activations off.
    """
    if path.suffix == ".onnx":
        return _onnxruntime(path, exact=exact, threads=threads)
    return _openvino(path, exact=exact, threads=threads)


def cpu_ms(run: Run, feeds: Mapping[str, Array], *, seconds: float = 3.0) -> float:
    """Median CPU milliseconds of one inference; the caller asks for one thread."""
    for _ in range(3):
        run(feeds)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.process_time()
        run(feeds)
        times.append(time.process_time() - start)
    return float(np.median(times)) * 1e3


def _onnxruntime(path: Path, *, exact: bool, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if exact:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]

    def run(feeds: Mapping[str, Array]) -> list[Array]:
        outputs: list[Array] = session.run(None, {name: feeds[name] for name in names})
        return outputs

    return run


def _openvino(path: Path, *, exact: bool, threads: int) -> Run:
    import openvino as ov

    from edgecompile.vendor.openvino.exact import exact_model
    from edgecompile.vendor.openvino.runner import EXACT, RUNTIME

    core = ov.Core()
    model = core.read_model(path)
    options = {**(EXACT if exact else RUNTIME), "INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(exact_model(model) if exact else model, "CPU", options)
    request = compiled.create_infer_request()
    ports = {name: port for port in compiled.inputs for name in port.get_names()}

    def run(feeds: Mapping[str, Array]) -> list[Array]:
        found = request.infer({ports[k]: v for k, v in feeds.items() if k in ports})
        return [np.array(found[port]) for port in compiled.outputs]

    return run
