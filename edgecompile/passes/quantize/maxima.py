"""Which values of a tensor are left after the pooling that alone reads it.

A MaxPool throws all but the largest of its window away, three of four values or more. Those that
are left lie much nearer to the upper end of the range, so a range chosen for all values, with an
error weighed against that of many that nobody sees, cuts too many of them off.
"""

from __future__ import annotations

import onnx_ir as ir

from edgecompile.passes.quantize.unit_graph import STANDARD, only_reader

MAXIMA = frozenset({"MaxPool", "GlobalMaxPool", "ReduceMax"})
_WHOLE = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that pass on every value as it is."""


def maxima_behind(value: ir.Value, reader: ir.Node | None = None) -> ir.Value:
    """What the last pooling in a chain behind `value` gives; `value` itself where there is none.

    `reader` is the only one that counts; by default the only one that there is.
    """
    left = value
    reader = only_reader(value) if reader is None else reader
    while reader is not None and reader.domain in STANDARD:
        if reader.op_type in MAXIMA:
            left = reader.outputs[0]
        elif reader.op_type not in _WHOLE:
            break
        reader = only_reader(reader.outputs[0])
    return left
