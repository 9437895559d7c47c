"""`MatMulNBits` of 4 bits: how its rows are packed.

The contrib operator of ONNX Runtime (`com.microsoft`, version 1), whose layout is in ONNX Runtime's
docs/ContribOperators.md: B is `[N, blocks, bytes of a block]`, the first number in the low half.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

CONTRIB = "com.microsoft"
Bytes = npt.NDArray[np.uint8]


def is_nbits(node: ir.Node) -> bool:
    """Whether `node` is a MatMulNBits of 4 bits without reordered columns."""
    if node.op_type != "MatMulNBits" or node.domain != CONTRIB:
        return False
    plain = all(value is None for value in node.inputs[4:])
    return plain and node.attributes.get_int("bits", 4) == 4


def pack_rows(numbers: npt.NDArray[Any]) -> Bytes:
    """Unsigned numbers below 16, [N, L], two to a byte: [N, ceil(L / 2)]."""
    plain = numbers.astype(np.uint8)
    if plain.shape[1] % 2:
        plain = np.pad(plain, ((0, 0), (0, 1)))
    packed: Bytes = plain[:, 0::2] | (plain[:, 1::2] << np.uint8(4))
    return packed


def unpack_rows(packed: npt.NDArray[Any], rows: int, length: int) -> Bytes:
    """The inverse of `pack_rows`, whatever the shape of `packed`: [`rows`, `length`]."""
    flat = packed.reshape(rows, -1)
    halves = np.stack([flat & np.uint8(15), flat >> np.uint8(4)], axis=2)
    return halves.reshape(rows, -1)[:, :length].astype(np.uint8)
