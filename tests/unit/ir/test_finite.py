"""NaN is always wrong; infinity only where a layer multiplies with it."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgecompile.diagnostics import Diagnostic, Severity
from edgecompile.ir import load
from edgecompile.ir.check import weight_problems
from tests.support.protos import external, linear, model, weight, write


def _found(proto: onnx.ModelProto, directory: Path, **options: int) -> list[Diagnostic]:
    return weight_problems(load(write(proto, directory)), **options)


def _spoilt(*values: float, dtype: type = np.float32) -> np.ndarray:
    array = np.ones((4, 4), np.float32)
    array.ravel()[: len(values)] = values
    return array.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, ml_dtypes.bfloat16])
def test_nan_and_infinity_are_counted(tmp_path: Path, dtype: type) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    proto = linear(numpy_helper.from_array(_spoilt(np.nan, np.inf, -np.inf, dtype=dtype), "w"))
    for info in (*proto.graph.input, *proto.graph.output):
        info.type.tensor_type.elem_type = kind
    (problem,) = _found(proto, tmp_path)
    assert problem.code == "EC-116"
    assert problem.severity == Severity.ERROR
    assert problem.where.tensor == "w"
    assert "1 NaN and 2 infinite values of 16" in problem.message


def test_sound_weights_and_integers(tmp_path: Path) -> None:
    assert _found(linear(), tmp_path) == []
    big = numpy_helper.from_array(np.full((4, 4), 3e38, np.float32), "w")
    assert _found(linear(big), tmp_path) == []


def test_a_mask_may_be_infinite_but_not_nan(tmp_path: Path) -> None:
    for content, severity in ((-np.inf, Severity.WARNING), (np.nan, Severity.ERROR)):
        mask = numpy_helper.from_array(_spoilt(content), "mask")
        nodes = [
            helper.make_node("Constant", [], ["mask"], value=mask),
            helper.make_node("Add", ["x", "mask"], ["y"]),
        ]
        (problem,) = _found(model(nodes), tmp_path)
        assert problem.severity == severity
        assert problem.where.tensor == "mask"


def test_large_external_weights_are_left_on_disk(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(_spoilt(np.nan).tobytes())
    proto = linear(external(weight(), location="w.bin"))
    assert len(_found(proto, tmp_path)) == 1
    assert _found(proto, tmp_path, external_bytes=63) == []
