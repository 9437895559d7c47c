"""What kind of network a model is, where runtimes treat kinds differently."""

from __future__ import annotations

from edgecompile.ir.facts import all_nodes, constant_tensor
from edgecompile.ir.model import Model

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
PRODUCTS = frozenset({"MatMul", "Gemm"})


def is_transformer(model: Model) -> bool:
    """Whether activations are multiplied with each other, as in attention, and most weights are in
    matrix products: a convolutional network with a head of attention is none.
    """
    attention, products, convolutions = False, 0, 0
    for node in all_nodes(model):
        if node.domain not in ("", "ai.onnx") or node.op_type not in CONVOLUTIONS | PRODUCTS:
            continue
        tensors = [constant_tensor(value) for value in node.inputs[:2]]
        count = sum(int(tensor.size) for tensor in tensors if tensor is not None)
        if node.op_type in CONVOLUTIONS:
            convolutions += count
        else:
            products += count
            attention |= node.op_type == "MatMul" and not count
    return attention and products > convolutions
