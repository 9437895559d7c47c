"""The two 16-bit float types that a graph can be put into, and how their constants are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecompile.passes.quantize.fp16_policy import clipped

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Narrow:
    """One type: how it is named in the operator schemas and in names of values."""

    dtype: ir.DataType
    schema: str
    suffix: str
    constant: Callable[[Singles], np.ndarray]
    """The numbers of a float32 constant in the type."""


def _rounded(array: Singles) -> np.ndarray:
    return array.astype(ml_dtypes.bfloat16)


HALF = Narrow(dtype=ir.DataType.FLOAT16, schema="tensor(float16)", suffix="fp16", constant=clipped)
BRAIN = Narrow(
    dtype=ir.DataType.BFLOAT16, schema="tensor(bfloat16)", suffix="bf16", constant=_rounded
)
