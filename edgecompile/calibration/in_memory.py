"""Weights that ONNX Runtime reads from where they lie, instead of from a copy in the model's file.

Written into a protobuf, weights exist three times while a session opens: as arrays, as bytes, and
as what ONNX Runtime reads out of them. Handed over as initializers of the session they exist once
more at most (where kernels pack them), and neither side writes or parses them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.ir.proto import tensor_header, write_inline, write_model

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from edgecompile.ir.model import Model

SMALL_BYTES = 4096
"""Below this a tensor stays in the file: ONNX Runtime computes with small ones (shapes, axes,
scales) while it optimises the graph."""
TYPES = frozenset(
    np.dtype(name)
    for name in ("float16", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32",
                 "uint32", "int64", "uint64", "bool")
)  # fmt: skip
"""Types that numpy and ONNX Runtime hold alike."""


class Weights:
    """The large initializers of a model's main graph, and its file without them."""

    def __init__(self, model: Model) -> None:
        """Nothing is copied; tensors that lie in a file are mapped."""
        self._own = {
            id(value.const_value): name
            for name, value in model.graph.graph.initializers.items()
            if value.const_value is not None
        }
        self.arrays: dict[str, np.ndarray] = {}
        """What the file leaves out, by name; to be kept while the session lives."""
        self.proto = write_model(model.graph, self._write)

    def _write(self, proto: onnx.TensorProto, tensor: ir.TensorProtocol, name: str) -> None:
        array = self._taken(tensor, name)
        if array is None:
            write_inline(proto, tensor, name)
            return
        self.arrays[name] = array
        tensor_header(proto, tensor, name)
        proto.data_location = proto.EXTERNAL
        for key, value in (("location", "memory"), ("offset", "0"), ("length", str(array.nbytes))):
            proto.external_data.add(key=key, value=value)

    def _taken(self, tensor: ir.TensorProtocol, name: str) -> np.ndarray | None:
        """The tensor's array, if it is one to leave out of the file."""
        if self._own.get(id(tensor)) is None or name in self.arrays or tensor.nbytes < SMALL_BYTES:
            return None
        array = tensor.numpy()
        if array.dtype not in TYPES:
            return None
        return np.require(array, requirements=["C", "A"])

    def hand_over(self, options: Any) -> list[Any]:
        """Give them to `onnxruntime.SessionOptions`; keep what is returned as long as the session.

        Their memory is not copied and must not change.
        """
        from onnxruntime import OrtValue

        values = [OrtValue.ortvalue_from_numpy(array) for array in self.arrays.values()]
        if values:
            options.add_external_initializers(list(self.arrays), values)
        return values
