"""Constant folding with a bound on what it may add: the arithmetic is onnxscript's folder.

A fold is taken when its result is small, or when it replaces constants that nothing else uses
(a transposed or widened weight). Otherwise a tiled or gathered table would be stored twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import onnx_ir as ir

from edgecompile.passes.graph.edit import graphs, hidden, int_attribute, is_onnx, quiet

NEVER = frozenset(
    {
        # they carry the quantization of a model that is quantized already
        "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
        # they draw random numbers
        "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
        "RandomUniformLike",
        # ONNX's evaluator differs from runtimes (some modes, or by more than rounding)
        "DFT", "MaxUnpool", "Resize", "STFT", "Upsample",
    }
)  # fmt: skip
UNSIZED = frozenset(
    {
        "ConstantOfShape", "Expand", "Range", "Tile", "Pad", "OneHot",
        "CenterCropPad", "Col2Im", "EyeLike", "Compress", "NonZero",
    }
)  # fmt: skip
"""Their result can be far larger than their inputs: folded only when its size is known."""

FLOAT8 = frozenset(kind for kind in ir.DataType if kind.name.startswith("FLOAT8"))
"""Their rounding and saturation differ between ONNX's evaluator and runtimes."""

MARKS = ("pkg.onnxscript.optimizer.folded_from", "pkg.onnxscript.rewriter.rule_name")
"""Metadata keys that onnxscript writes about itself."""


def fold_constants(graph: ir.Model, max_constant_bytes: int) -> bool:
    """Fold what does not depend on a graph input, in place; whether anything was folded.

    Raises `RuntimeError` where onnxscript's folder fails on a node.
    """
    from onnxscript.optimizer import fold_constants_ir

    with quiet("onnxscript", "onnx_ir"), hidden(_wrongly_rewritten(graph)):
        result = fold_constants_ir(
            graph,
            onnx_shape_inference=True,
            # sizes are judged by the policy, in bytes
            input_size_limit=1 << 40,
            output_size_limit=1 << 40,
            should_fold=fold_policy(max_constant_bytes),
        )
    _drop_marks(graph)
    return bool(result.modified)


def _wrongly_rewritten(graph: ir.Model) -> list[ir.Node]:
    """Nodes to keep from the folder.

    It forgets `saturate` of CastLike, and rewrites sequence operators with the inputs that Split
    and Unsqueeze have since opset 13.
    """
    opset = graph.opset_imports.get("", 0)
    return [
        node
        for part in graphs(graph)
        for node in part
        if (is_onnx(node, "CastLike") and not int_attribute(node, "saturate", 1))
        or (opset < 13 and is_onnx(node, "SplitToSequence", "ConcatFromSequence"))
    ]


def fold_policy(max_constant_bytes: int) -> Callable[[ir.Node], bool]:
    """Whether a node whose inputs are all constant may become a constant itself."""

    def should_fold(node: ir.Node) -> bool:
        if node.op_type in NEVER or node.domain:
            return False
        if any(output.dtype in FLOAT8 for output in node.outputs):
            return False
        made = sum_bytes(node.outputs)
        if made is None:
            given = sum_bytes(v for v in node.inputs if v is not None)
            return node.op_type not in UNSIZED and (given or 0) <= max_constant_bytes
        freed = sum_bytes(v for v in node.inputs if v is not None and len(v.uses()) == 1)
        # a stored float16 weight doubles when it is widened, and is still one weight
        return made <= max_constant_bytes or made <= 2 * (freed or 0)

    return should_fold


def sum_bytes(values: Iterable[ir.Value]) -> int | None:
    """Bytes of the tensors that `values` hold, from their types and shapes; None if unknown."""
    total = 0
    for value in values:
        shape, dtype = value.shape, value.dtype
        if shape is None or not shape.is_static() or dtype is None:
            return None
        # strings have no fixed size: count them as 16 bytes each
        bits = 128 if dtype == ir.DataType.STRING else dtype.bitwidth
        total += math.prod(int(n) for n in shape.numpy()) * bits // 8
    return total


def _drop_marks(graph: ir.Model) -> None:
    for part in graphs(graph):
        for value in [*part.inputs, *part.initializers.values()]:
            _forget(value)
        for node in part:
            for key in MARKS:
                node.metadata_props.pop(key, None)
            for value in node.outputs:
                _forget(value)


def _forget(value: ir.Value) -> None:
    for key in MARKS:
        value.metadata_props.pop(key, None)
        value.meta.pop(key, None)
