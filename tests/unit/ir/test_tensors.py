"""Data of every element type, in every field that may hold it, and all that does not fit."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, numpy_helper

from edgecompile.ir import tensors
from edgecompile.ir.digest import tensor_sha256
from edgecompile.ir.tensors import raw_data, size_bytes


def from_proto(proto: onnx.TensorProto) -> ir.TensorProtocol:
    return tensors.from_proto(proto, raw_data(proto))


def malformation(proto: onnx.TensorProto) -> str | None:
    return tensors.malformation(proto, raw_data(proto))


NATIVE = [np.float32, np.float64, np.float16, np.int8, np.uint16, np.int64, np.uint64, np.complex64]
EXTENDED = [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4, ml_dtypes.uint4]


def _both_forms(array: np.ndarray) -> tuple[onnx.TensorProto, onnx.TensorProto]:
    """The array in raw_data and in its typed field."""
    raw = numpy_helper.from_array(array, "t")
    kind = raw.data_type
    typed = TensorProto(name="t", data_type=kind, dims=array.shape)
    if array.dtype.itemsize == 1 and kind in {TensorProto.INT4, TensorProto.UINT4}:
        typed.int32_data.extend(raw.raw_data)
    elif kind == TensorProto.COMPLEX64:
        typed.float_data.extend(array.ravel().view(np.float32).tolist())
    elif kind in {TensorProto.FLOAT16, TensorProto.BFLOAT16}:
        typed.int32_data.extend(array.ravel().view(np.uint16).tolist())
    elif kind == TensorProto.FLOAT8E4M3FN:
        typed.int32_data.extend(array.ravel().view(np.uint8).tolist())
    else:
        fields = {1: "float_data", 11: "double_data", 7: "int64_data", 13: "uint64_data"}
        getattr(typed, fields.get(kind, "int32_data")).extend(array.ravel().tolist())
    return raw, typed


@pytest.mark.parametrize("dtype", [*NATIVE, *EXTENDED], ids=lambda t: np.dtype(t).name)
def test_raw_and_typed_data_are_the_same_tensor(dtype: type) -> None:
    array = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 1]]).astype(dtype)
    raw, typed = _both_forms(array)
    assert malformation(raw) is None
    assert malformation(typed) is None
    first, second = from_proto(raw), from_proto(typed)
    np.testing.assert_array_equal(first.numpy(), array)
    np.testing.assert_array_equal(second.numpy(), array)
    assert first.tobytes() == second.tobytes() == raw.raw_data
    assert tensor_sha256(first) == tensor_sha256(second)
    assert len(raw.raw_data) == size_bytes(raw)


def test_booleans_other_than_one_are_true() -> None:
    odd = TensorProto(name="b", data_type=TensorProto.BOOL, dims=[3], raw_data=b"\x00\x02\x01")
    assert from_proto(odd).tobytes() == b"\x00\x01\x01"


def test_unused_bits_of_packed_types_mean_nothing() -> None:
    clean, dirty = (
        from_proto(TensorProto(data_type=TensorProto.UINT4, dims=[3], raw_data=bytes([0x21, last])))
        for last in (0x03, 0xF3)
    )
    assert tensor_sha256(clean) == tensor_sha256(dirty)
    np.testing.assert_array_equal(dirty.numpy().astype(int), [1, 2, 3])


def test_strings_scalars_and_empty_tensors() -> None:
    text = from_proto(TensorProto(data_type=TensorProto.STRING, dims=[2], string_data=[b"a", b""]))
    assert text.numpy().tolist() == [b"a", b""]
    scalar = from_proto(TensorProto(data_type=TensorProto.FLOAT, float_data=[2.5]))
    assert scalar.numpy().shape == ()
    for fields in ({}, {"raw_data": b""}):
        empty = TensorProto(data_type=TensorProto.FLOAT, dims=[0, 3], **fields)
        assert malformation(empty) is None
        assert from_proto(empty).numpy().shape == (0, 3)


def test_string_boundaries_count() -> None:
    def digest(*items: bytes) -> bytes:
        return tensor_sha256(ir.StringTensor(list(items), shape=ir.Shape([len(items)])))

    assert digest(b"ab", b"c") != digest(b"a", b"bc")


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"data_type": 0, "raw_data": b""}, "element type 0"),
        ({"data_type": 77, "dims": [1]}, "element type 77"),
        ({"data_type": 1, "dims": [-1], "raw_data": b"1234"}, "negative"),
        ({"data_type": 1, "dims": [-2, -2], "raw_data": bytes(16)}, "negative"),
        ({"data_type": 1, "dims": [2**62, 4], "raw_data": b""}, "overflows"),
        ({"data_type": 1, "dims": [2**32, 2**32], "raw_data": b""}, "overflows"),
        ({"data_type": 1, "dims": [0, 2**62, 2**62], "raw_data": b""}, "overflows"),
        ({"data_type": 1, "dims": [2, 2], "raw_data": bytes(15)}, "takes 16 bytes, but it has 15"),
        ({"data_type": 1, "dims": [2, 2], "raw_data": bytes(17)}, "takes 16 bytes, but it has 17"),
        ({"data_type": 10, "dims": [3], "raw_data": bytes(12)}, "takes 6 bytes"),
        ({"data_type": 22, "dims": [3], "raw_data": bytes(3)}, "takes 2 bytes"),
        ({"data_type": 22, "dims": [3], "raw_data": bytes(1)}, "takes 2 bytes"),
        ({"data_type": 26, "dims": [5], "raw_data": bytes(1)}, "takes 2 bytes"),
        ({"data_type": 22, "dims": [3], "int32_data": [1, 2, 3]}, "takes 2 values"),
        ({"data_type": 14, "dims": [2], "float_data": [1, 2, 3]}, "takes 4 values"),
        ({"data_type": 1, "dims": [2], "float_data": [1]}, "takes 2 values"),
        ({"data_type": 1, "dims": [2]}, "takes 2 values, but float_data has 0"),
        ({"data_type": 1, "dims": [1], "int32_data": [1]}, "belongs into float_data"),
        ({"data_type": 1, "dims": [1], "float_data": [1], "raw_data": b"1234"}, "both"),
        ({"data_type": 8, "dims": [1], "raw_data": b"a"}, "strings cannot lie in raw_data"),
        ({"data_type": 1, "dims": [1], "raw_data": b"1234", "data_location": 1}, "external"),
        ({"data_type": 8, "dims": [1], "data_location": 1}, "strings cannot lie in external"),
    ],
)
def test_what_does_not_fit(fields: dict[str, object], word: str) -> None:
    assert word in (malformation(TensorProto(name="t", **fields)) or "")


def test_segments() -> None:
    tensor = TensorProto(name="t", data_type=1, dims=[1], raw_data=b"1234")
    tensor.segment.begin = 0
    assert "segments" in (malformation(tensor) or "")
