"""`relax_clips`: let ReLU6 be ReLU, so that the layers around it can be equalized.

    Clip(x, 0, high)  ->  Relu(x)

Scales pass through Relu and not through a bound: what ReLU6 cuts off moves with them. Nagel et al.
2019 (arXiv:1906.04721, section 5.1) replace it before they equalize, and so do AIMET and Quark.
"""

from __future__ import annotations

from typing import ClassVar

import onnx_ir as ir

from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, NoteBook, Outcome, Pass
from edgecompile.passes.graph.edit import (
    constant_at,
    graphs,
    input_at,
    is_onnx,
    replace_node,
    rewritten,
)

LAYERS = ("Conv", "Gemm", "MatMul", "Add")


class RelaxClips(Pass):
    """Replace Clip from 0 up by Relu behind a layer; values beyond the bound then get through.

    For targets with one scale per tensor of weights, where equalization is worth more than the
    bound. The comparison with the float model tells what it costs.
    """

    id: ClassVar[str] = "relax_clips"
    libraries: ClassVar[tuple[str, ...]] = ("onnx-ir", "numpy")
    lossy: ClassVar[bool] = True
    still_float: ClassVar[bool] = True

    def run(self, model: Model, context: Context) -> Outcome:
        """Bounds below 0 or that are computed stay."""
        del context
        book = NoteBook()

        def relax(graph: ir.Model) -> None:
            count = 0
            for part in graphs(graph):
                for node in list(part):
                    if is_onnx(node, "Clip") and _is_rectifier(node):
                        new = ir.Node("", "Relu", [node.inputs[0]], name=node.name)
                        replace_node(node, new)
                        count += 1
            if count:
                book.fail(f"{count} Clip are Relu now: values beyond their bound get through")

        return rewritten(model, relax, book.notes)


def _is_rectifier(node: ir.Node) -> bool:
    """Whether a Clip is ReLU6 or like it, behind a layer."""
    low, source = constant_at(node, 1), node.inputs[0]
    before = None if source is None else source.producer()
    behind_layer = before is not None and is_onnx(before, *LAYERS)
    bounded = input_at(node, 2) is not None and constant_at(node, 2) is not None
    return bool(behind_layer and bounded and low is not None and (low == 0).all())
