"""Worker: run an IR in OpenVINO's CPU plugin, as its kernels run it and in exact arithmetic.

`open_model` first, then `run` for every sample, and `layers` and `latency` as wanted.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from edgecompile.vendor.openvino.exact import exact_model
from edgecompile.vendor.worker import Session

RUNTIME = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
"""Without the hint, CPUs with AMX compute the float layers in bf16."""
EXACT = {**RUNTIME, "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
"""For the model without FakeQuantize; the second key keeps activations in float, too."""

_LATENCY_RUNS = (3, 25)
_LATENCY_BUDGET_S = 1.5
_TINY_BYTES = 64


def open_model(payload: dict[str, Any], session: Session) -> dict[str, Any]:
    """Load `payload["model"]`, to run on `threads` threads.

    Answers the names of every output, in order, `saturates`: whether this CPU's integer kernels
    saturate, and `integer`: whether anything in the model is quantized.
    """
    import openvino as ov

    core = ov.Core()
    model = core.read_model(payload["model"])
    session.kept.update(core=core, model=model, threads=payload["threads"])
    session.kept.update(compiled={}, requests={})
    return {
        "outputs": [sorted(port.get_names()) for port in model.outputs],
        "saturates": _saturates(core),
        "integer": any(_is_integer(node) for node in model.get_ops()),
    }


def run(payload: dict[str, Any], session: Session) -> dict[str, Any]:
    """Run the samples in the .npz `feeds` in `config`; save the outputs to the .npz `results`.

    `feeds` holds `0/0`, `0/1`, ... for the inputs named in `inputs`, then `1/0` and so on for the
    next of `samples` samples; `results` holds the outputs in the same way.
    """
    request = _request(session, payload["config"])
    found: dict[str, np.ndarray] = {}
    with np.load(payload["feeds"]) as stored:
        for at in range(payload["samples"]):
            result = request.infer(_feeds(stored, at, payload["inputs"]))
            for i, port in enumerate(request.model_outputs):
                found[f"{at}/{i}"] = result[port].copy()
    np.savez(payload["results"], **found)  # type: ignore[arg-type]
    return {}


def latency(payload: dict[str, Any], session: Session) -> dict[str, float]:
    """Median milliseconds per inference of the float model `payload["float"]` and of the artifact.

    Their runs alternate, so that a change of clock or load meets both alike. `feeds` and `inputs`
    give the sample, as for `run`.
    """
    core, threads = session.kept["core"], session.kept["threads"]
    with np.load(payload["feeds"]) as stored:
        feeds = _feeds(stored, 0, payload["inputs"])
    config = {**RUNTIME, "INFERENCE_NUM_THREADS": threads}
    plain = core.compile_model(payload["float"], "CPU", config).create_infer_request()
    requests = (plain, _request(session, "runtime"))
    for request in requests:
        request.infer(feeds)
    times: tuple[list[float], list[float]] = ([], [])
    began = time.perf_counter()
    least, most = _LATENCY_RUNS
    for done in range(most):
        if done >= least and time.perf_counter() - began > _LATENCY_BUDGET_S:
            break
        for request, taken in zip(requests, times, strict=True):
            start = time.perf_counter()
            request.infer(feeds)
            taken.append(time.perf_counter() - start)
    return {
        "float_ms": statistics.median(times[0]) * 1e3,
        "artifact_ms": statistics.median(times[1]) * 1e3,
    }


def _feeds(stored: Any, at: int, inputs: list[str]) -> dict[str, Any]:
    return {name: stored[f"{at}/{i}"] for i, name in enumerate(inputs)}


def compiled_model(session: Session, config: str) -> Any:
    """The model that `open_model` loaded, compiled once for `runtime` and once for `exact`."""
    kept = session.kept
    if config not in kept["compiled"]:
        exact = config == "exact"
        options = {**(EXACT if exact else RUNTIME), "INFERENCE_NUM_THREADS": kept["threads"]}
        model = exact_model(kept["model"]) if exact else kept["model"]
        kept["compiled"][config] = kept["core"].compile_model(model, "CPU", options)
    return kept["compiled"][config]


def _request(session: Session, config: str) -> Any:
    requests = session.kept["requests"]
    if config not in requests:
        requests[config] = compiled_model(session, config).create_infer_request()
    return requests[config]


def _is_integer(node: Any) -> bool:
    kind = node.get_type_name()
    if kind != "Constant":
        return bool(kind == "FakeQuantize")
    element = node.get_element_type().get_type_name()
    return element in {"i4", "u4", "i8", "u8", "nf4"} and node.get_byte_size() > _TINY_BYTES


def _saturates(core: Any) -> bool:
    """Ask the CPU's own kernel: 64 products of 255 and 127 overflow a sum of two in 16 bits.

    Told from the result and not from CPU flags: it is true on every system and for every cap.
    """
    from openvino import Model, Shape, Type
    from openvino import opset13 as ops

    channels = 64
    data = ops.parameter(Shape([1, channels, 1, 1]), Type.f32)
    levels = [np.float32(v) for v in (0, 255, 0, 255)]
    quantized = ops.fake_quantize(data, *levels, 256)
    weights = ops.constant(np.full((channels, channels, 1, 1), 127, np.int8))
    scaled = ops.multiply(ops.convert(weights, Type.f32), np.float32(1))
    pads = [0, 0]
    product = ops.convolution(quantized, scaled, [1, 1], pads, pads, [1, 1])
    compiled = core.compile_model(Model([product], [data]), "CPU", RUNTIME)
    result = compiled({0: np.full((1, channels, 1, 1), 255, np.float32)})[0]
    return bool(np.abs(result / (channels * 255 * 127) - 1).max() > 0.05)
