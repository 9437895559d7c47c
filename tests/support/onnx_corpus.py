"""ONNX's own back-end tests as a corpus of small models: the kinds whose data ship with onnx.

`node_cases()` writes every model to a directory of this process and returns them by name. Inputs
are seeded, so the corpus is the same in every run. `runnable` tells whether ONNX Runtime's CPU
provider runs a case; the answer, and the outputs, are kept, so asking again costs nothing.
"""

from __future__ import annotations

import functools
import random
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

Values = Sequence[Any]
"""One value per model input or output: an array, a list of arrays (a sequence) or None."""

_NOT_REPEATABLE = {
    "Bernoulli",
    "Dropout",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}


@dataclass(frozen=True, eq=False)
class Case:
    """One model with data: `data_sets` are pairs of inputs and expected outputs, in graph order."""

    name: str
    model_path: Path
    data_sets: list[tuple[Values, Values]]
    kind: str = "node"

    @functools.cached_property
    def repeatable(self) -> bool:
        """Whether running it twice gives the same numbers: false for operators that draw some."""
        proto = onnx.load(self.model_path)
        nodes = [*proto.graph.node, *(n for f in proto.functions for n in f.node)]
        return not any(node.op_type in _NOT_REPEATABLE for node in nodes)


@functools.cache
def node_cases() -> list[Case]:
    """All cases, sorted by name."""
    directory = Path(_directory().name)
    cases = [*_generated(directory), *_stored("simple"), *_stored("pytorch-converted")]
    return sorted([*cases, *_stored("pytorch-operator")], key=lambda case: case.name)


@functools.cache
def reference(case: Case) -> list[list[Any]] | str:
    """ONNX Runtime's outputs per data set, or why it cannot run the case."""
    return run_model(case.model_path, case)


def runnable(case: Case) -> bool:
    """Whether ONNX Runtime's CPU provider runs the case as it is."""
    return not isinstance(reference(case), str)


def run_model(model: Path | bytes, case: Case) -> list[list[Any]] | str:
    """Outputs of `model` on the data sets of `case`, or the first line of ONNX Runtime's error."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    source = model if isinstance(model, bytes) else str(model)
    try:
        session = onnxruntime.InferenceSession(source, options, ["CPUExecutionProvider"])
        return [_run(session, inputs, expected) for inputs, expected in case.data_sets]
    except _failures() as error:
        return str(error).splitlines()[0]


def same(expected: Sequence[Values], actual: Sequence[Values], *, exact: bool = True) -> bool:
    """Whether all outputs agree: bit by bit, or only in type and shape where `exact` is false."""
    return len(expected) == len(actual) and all(
        len(left) == len(right)
        and all(_equal(a, b, exact) for a, b in zip(left, right, strict=True))
        for left, right in zip(expected, actual, strict=True)
    )


def _equal(left: Any, right: Any, exact: bool) -> bool:
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        if left.dtype != right.dtype or left.shape != right.shape:
            return False
        if not exact:
            return True
        return left.tolist() == right.tolist() or bool(np.array_equal(left, right, equal_nan=True))
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(
            _equal(a, b, exact) for a, b in zip(left, right, strict=True)
        )
    return type(left) is type(right) and (left == right or not exact)


def _run(session: Any, inputs: Values, expected: Values) -> list[Any]:
    names = [info.name for info in session.get_inputs()]
    feeds = {name: _feed(value) for name, value in zip(names, inputs, strict=False)}
    if any(
        isinstance(value, _ort_value_type()) or _exotic(value)
        for value in (*feeds.values(), *expected)
    ):
        return _run_bound(session, feeds, expected)
    outputs: list[Any] = session.run(None, feeds)
    return outputs


def _run_bound(session: Any, feeds: dict[str, Any], expected: Values) -> list[Any]:
    """Run with types that numpy lacks: ONNX Runtime writes into arrays of the expected shape."""
    binding = session.io_binding()
    for name, value in feeds.items():
        wrapped = isinstance(value, _ort_value_type())
        binding.bind_ortvalue_input(
            name, value if wrapped else _ort_value_type().ortvalue_from_numpy(value)
        )
    outputs = [np.zeros_like(value) for value in expected]
    for info, array in zip(session.get_outputs(), outputs, strict=False):
        binding.bind_ortvalue_output(info.name, _wrap(array))
    session.run_with_iobinding(binding)
    return [array.view(np.uint8) if _exotic(array) else array for array in outputs]


def _exotic(value: Any) -> bool:
    """Whether the value is an array of a type that ml_dtypes adds (bfloat16, int4, ...)."""
    return isinstance(value, np.ndarray) and value.dtype.type.__module__ == "ml_dtypes"


def _wrap(array: np.ndarray) -> Any:
    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return _ort_value_type().ortvalue_from_numpy_with_onnx_type(array, kind)


def _feed(value: Any) -> Any:
    """What the Python binding takes: lists and None as they are, arrays of exotic types wrapped."""
    if value is None or isinstance(value, list):
        return value
    array = np.ascontiguousarray(value).reshape(np.shape(value))
    return _wrap(array) if _exotic(array) else array


@functools.cache
def _ort_value_type() -> Any:
    from onnxruntime import OrtValue

    return OrtValue


@functools.cache
def _failures() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    errors = [v for v in vars(state).values() if isinstance(v, type) and issubclass(v, Exception)]
    return (*errors, RuntimeError, ValueError, TypeError)


@functools.cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="onnx-corpus-")


def _generated(directory: Path) -> list[Case]:
    """The node tests, which the onnx package makes when they are imported."""
    from onnx.backend.test.loader import load_model_tests

    np.random.seed(0)
    random.seed(0)
    cases = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for test in load_model_tests(kind="node"):
            path = directory / f"{test.name}.onnx"
            path.write_bytes(test.model.SerializeToString(deterministic=True))
            sets = [
                ([_value(v) for v in ins], [_value(v) for v in outs])
                for ins, outs in test.data_sets
            ]
            cases.append(Case(test.name, path, sets))
    return cases


def _stored(kind: str) -> list[Case]:
    """Cases of a kind that lies in the package's data directory."""
    from onnx.backend.test.loader import load_model_tests

    cases = []
    for test in load_model_tests(kind=kind):
        root = Path(test.model_dir)
        model = onnx.load(root / "model.onnx")
        sets = []
        for directory in sorted(root.glob("test_data_set_*")):
            inputs = _stored_values(directory, "input", model.graph.input)
            sets.append((inputs, _stored_values(directory, "output", model.graph.output)))
        cases.append(Case(test.name, root / "model.onnx", sets, kind))
    return cases


def _stored_values(directory: Path, stem: str, infos: Sequence[onnx.ValueInfoProto]) -> list[Any]:
    values = []
    for index, info in enumerate(infos):
        path = directory / f"{stem}_{index}.pb"
        if not path.exists():
            break
        if info.type.HasField("sequence_type"):
            proto = onnx.SequenceProto.FromString(path.read_bytes())
            values.append(numpy_helper.to_list(proto))
        elif info.type.HasField("optional_type"):
            values.append(
                numpy_helper.to_optional(onnx.OptionalProto.FromString(path.read_bytes()))
            )
        else:
            values.append(numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes())))
    return values


def _value(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, list):
        return [_value(item) for item in value]
    return None if value is None else np.asarray(value)
