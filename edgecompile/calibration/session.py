"""The one place that makes ONNX Runtime sessions from a `Model`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from edgecompile.diagnostics import EdgecompileError, Where
from edgecompile.diagnostics.catalogue.data import MODEL_NOT_RUNNABLE, SAMPLE_FAILED

if TYPE_CHECKING:
    import numpy as np

    from edgecompile.ir.model import Model

_QUANTIZER_FUSIONS = ["ClipQuantRewrite", "ReluQuantRewrite"]
"""Optimizers of ONNX Runtime 1.32 that know no zero point in 8-bit floats, and end in an error."""
_LOG_FATAL = 4


class Optimisation(StrEnum):
    """ONNX Runtime's graph optimisation levels."""

    NONE = "none"
    BASIC = "basic"
    """Semantics-preserving rewrites: folding, redundant nodes."""
    ALL = "all"
    """Also fusions and blocked memory layouts for this CPU."""


class Session:
    """A loaded model, run with `run`. `inputs` and `outputs` are names in graph order."""

    def __init__(self, raw: Any, kept: object) -> None:
        """`raw` is the `onnxruntime.InferenceSession`; `kept` holds the memory that it reads."""
        self.raw = raw
        self._kept = kept
        self.inputs = tuple(value.name for value in raw.get_inputs())
        self.outputs = tuple(value.name for value in raw.get_outputs())

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        outputs: Sequence[str] | None = None,
        *,
        sample: str = "",
    ) -> dict[str, np.ndarray]:
        """Outputs by name (all of them by default). `sample` names the feeds in errors: EC-341.

        Inputs may be asked for too, and come back as they are.
        """
        wanted = self.outputs if outputs is None else outputs
        names = [name for name in wanted if name not in self.inputs]
        used = {name: feeds[name] for name in self.inputs}
        try:
            values = self.raw.run(names, used) if names else []
        except _ort_errors() as error:
            raise failed_on(sample, error) from error
        found = dict(zip(names, values, strict=True))
        return {name: found[name] if name in found else feeds[name] for name in wanted}


class Runner:
    """Runs a session again and again; outputs lie one after another in one flat array.

    It is the same memory as long as there is room: fresh memory for every output costs page faults
    that show beside a fast network.
    """

    def __init__(self, session: Session, outputs: Sequence[str]) -> None:
        """`outputs`, floating-point tensors, are fetched by every `run`."""
        self._session, self._outputs = session, list(outputs)
        self._inputs: tuple[tuple[int, ...], ...] = ()
        self._flat: np.ndarray | None = None
        self._store: np.ndarray | None = None
        self._binding: Any = None
        self._bindable = True
        self.shapes: tuple[tuple[int, ...], ...] = ()
        """Shapes of the outputs of the last run."""

    def run(self, feeds: Mapping[str, np.ndarray], *, sample: str = "") -> np.ndarray:
        """The outputs, flat, valid until the next call. Raises EC-341."""
        import numpy as np

        arrays = {name: feeds[name] for name in self._session.inputs}
        shapes = tuple(array.shape for array in arrays.values())
        if self._bindable and self._flat is not None and shapes == self._inputs:
            try:
                return self._run_bound(arrays, self._flat)
            except _ort_errors():
                # The shape of an output depends on values too: let ONNX Runtime allocate.
                self._bindable = False
        self._inputs, self._binding = shapes, None
        found = list(self._session.run(feeds, self._outputs, sample=sample).values())
        self.shapes = tuple(array.shape for array in found)
        self._flat = self._joined(found)
        self._bindable &= all(array.dtype == np.float32 and array.size for array in found)
        return self._flat

    def _joined(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        import numpy as np

        size = sum(array.size for array in arrays)
        dtype = np.result_type(*arrays)
        if self._store is None or self._store.size < size or self._store.dtype != dtype:
            self._store = np.empty(size, dtype)
        return np.concatenate([array.reshape(-1) for array in arrays], out=self._store[:size])

    def _run_bound(self, arrays: Mapping[str, np.ndarray], flat: np.ndarray) -> np.ndarray:
        from onnxruntime import OrtValue

        if self._binding is None:
            self._binding = self._session.raw.io_binding()
            at = 0
            for name, shape in zip(self._outputs, self.shapes, strict=True):
                part = flat[at : at + math.prod(shape)].reshape(shape)
                self._binding.bind_ortvalue_output(name, OrtValue.ortvalue_from_numpy(part))
                at += part.size
        for name, array in arrays.items():
            self._binding.bind_cpu_input(name, array)
        self._session.raw.run_with_iobinding(self._binding)
        return flat


def run_session(
    model: Model,
    *,
    threads: int = 1,
    optimisation: Optimisation = Optimisation.ALL,
    exact: bool = False,
    by_readiness: bool = False,
) -> Session:
    """An ONNX Runtime CPU session for `model`.

    With `exact`, Q/DQ pairs are not fused into integer kernels: every quantize and dequantize runs
    by itself and the arithmetic between them in float, which no CPU's 16-bit saturation touches.
    bfloat16 is computed in float32 and rounded (see `bfloat16.py`).
    With `by_readiness`, nodes run as soon as their inputs are there instead of depth first.
    It reads weights from where they lie (see `in_memory.py`), whatever their size: they must not
    change while it lives. Raises EC-340 when ONNX Runtime refuses the model.
    """
    import onnxruntime
    from google.protobuf.message import EncodeError  # type: ignore[import-untyped]

    from edgecompile.calibration.bfloat16 import holds_bfloat16, in_float32
    from edgecompile.calibration.in_memory import Weights

    if holds_bfloat16(model):
        model = in_float32(model)
    options = session_options(threads=threads, optimisation=optimisation, exact=exact)
    if by_readiness:
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    weights = Weights(model)
    kept = weights.hand_over(options)
    try:
        data = weights.proto.SerializeToString()
    except EncodeError:
        raise MODEL_NOT_RUNNABLE.error(
            Where(file=str(model.origin)), reason="what is not in its initializers exceeds 2 GB"
        ) from None
    try:
        raw = onnxruntime.InferenceSession(
            data,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=_QUANTIZER_FUSIONS if _holds_fp8(model) else None,
        )
    except _ort_errors() as error:
        raise MODEL_NOT_RUNNABLE.error(
            Where(file=str(model.origin)), reason=short_reason(error)
        ) from error
    return Session(raw, (weights, kept))


def _holds_fp8(model: Model) -> bool:
    """Whether a value of the main graph is an 8-bit float."""
    kinds = (value.dtype for node in model.graph.graph for value in node.outputs)
    return any(kind is not None and kind.name == "FLOAT8E4M3FN" for kind in kinds)


def session_options(*, threads: int, optimisation: Optimisation, exact: bool) -> Any:
    """ONNX Runtime's `SessionOptions`; its log goes nowhere, since errors come as exceptions."""
    import onnxruntime as ort

    levels = {
        Optimisation.NONE: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
        Optimisation.BASIC: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
        Optimisation.ALL: ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    }
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = levels[optimisation]
    options.log_severity_level = _LOG_FATAL
    if exact:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return options


def weight_bytes(model: Model) -> int:
    """Bytes of all initializers, subgraphs included, without reading them."""
    return sum(
        value.const_value.nbytes
        for graph in (model.graph.graph, *model.graph.graph.subgraphs())
        for value in graph.initializers.values()
        if value.const_value is not None
    )


def _ort_errors() -> tuple[type[Exception], ...]:
    # ONNX Runtime derives its exceptions from Exception directly, one class per status code.
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile",
        "NotImplemented", "EPFail", "EngineError", "ModelLoaded", "RuntimeException",
    )  # fmt: skip
    return (*(getattr(state, name) for name in names if hasattr(state, name)), RuntimeError)


def short_reason(error: Exception) -> str:
    """What ONNX Runtime said, on one line, without its error number, source paths and full stop."""
    text = " ".join(str(error).split())
    text = text.split(" : ", 2)[-1] if text.startswith("[ONNXRuntimeError]") else text
    return text.rstrip(".")[:500]


def failed_on(sample: str, error: Exception) -> EdgecompileError:
    """EC-341 for `sample`."""
    return SAMPLE_FAILED.error(sample=sample, reason=short_reason(error))
