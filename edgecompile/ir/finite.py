"""Weights that are NaN or infinite."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from edgecompile.diagnostics import Diagnostic, Severity, Where
from edgecompile.diagnostics.catalogue.model import WEIGHT_NOT_FINITE
from edgecompile.ir import traverse
from edgecompile.ir.model import Model

EXTERNAL_BYTES = 256 * 2**20
_WEIGHTED = frozenset(
    {"BatchNormalization", "Conv", "ConvTranspose", "GRU", "Gemm", "LSTM", "MatMul", "RNN"}
)
_FLOAT_TYPES = frozenset(kind for kind in ir.DataType if kind.is_floating_point())


def weight_problems(model: Model, *, external_bytes: int = EXTERNAL_BYTES) -> list[Diagnostic]:
    """EC-116 for every constant that has NaN or infinite values.

    Infinity is an error in the weight of a layer and a warning elsewhere: masks and limits of Clip
    use it with intent. External tensors above `external_bytes` are not read.
    """
    found = []
    for name, tensor, weighted in _constants(model):
        large = isinstance(tensor, ir.ExternalTensor) and tensor.nbytes > external_bytes
        if tensor.dtype not in _FLOAT_TYPES or large or tensor.size == 0:
            continue
        nan, inf = _count(tensor.numpy())
        if nan or inf:
            severity = Severity.ERROR if nan or weighted else Severity.WARNING
            found.append(
                WEIGHT_NOT_FINITE.at(
                    Where(file=str(model.origin), tensor=name),
                    severity=severity,
                    name=name,
                    nan=nan,
                    inf=inf,
                    size=tensor.size,
                )
            )
    return found


def _count(array: np.ndarray) -> tuple[int, int]:
    """How many values are NaN, and how many infinite."""
    finite = np.isfinite(array)
    if finite.all():
        return 0, 0
    nan = int(np.count_nonzero(np.isnan(array)))
    return nan, int(array.size - np.count_nonzero(finite)) - nan


def _constants(model: Model) -> Iterator[tuple[str, ir.TensorProtocol, bool]]:
    """Name, tensor, and whether a layer uses it as a weight."""
    for value, tensor in traverse.initializers(model.graph):
        yield value.name or "", tensor, _is_weight(value)
    for node, tensor in traverse.attribute_tensors(model.graph):
        yield node.outputs[0].name or "", tensor, any(_is_weight(value) for value in node.outputs)


def _is_weight(value: ir.Value) -> bool:
    return any(use.node.op_type in _WEIGHTED and not use.node.domain for use in value.uses())
