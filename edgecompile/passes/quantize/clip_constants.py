"""`clip_constants`: bring constants into the range of half precision, for compilers that cast.

A mask of -3.4e38 becomes -inf when a compiler casts it, and a softmax over it NaN. Half the largest
number, so that adding a mask to scores does not overflow after all.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import onnx_ir as ir

from edgecompile.ir import traverse
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, NoteBook, Outcome, Pass
from edgecompile.passes.graph.edit import rewritten
from edgecompile.passes.quantize.fp16_policy import LARGEST


class ClipConstants(Pass):
    """Clip float constants beyond 65504, infinities too, to half of it."""

    id: ClassVar[str] = "clip_constants"
    libraries: ClassVar[tuple[str, ...]] = ("onnx-ir", "numpy")
    lossy: ClassVar[bool] = True
    still_float: ClassVar[bool] = True

    def run(self, model: Model, context: Context) -> Outcome:
        """Each constant that changes is told."""
        del context
        book = NoteBook()

        def clip(graph: ir.Model) -> None:
            for value, tensor in list(traverse.initializers(graph)):
                found = _clipped(tensor)
                if found is not None:
                    value.const_value = ir.Tensor(found[0], name=value.name)
                    book.fail(f"constant '{value.name}': {found[1]} numbers beyond 65504 clipped")
            for node, tensor in list(traverse.attribute_tensors(graph)):
                found = _clipped(tensor)
                if found is not None and node.op_type == "Constant":
                    made = ir.Tensor(found[0], name=tensor.name)
                    node.attributes["value"] = ir.AttrTensor("value", made)
                    book.fail(f"{found[1]} numbers beyond 65504 clipped", node.name)

        return rewritten(model, clip, book.notes)


def _clipped(tensor: ir.TensorProtocol) -> tuple[np.ndarray, int] | None:
    """The array with what is too large clipped, and how many numbers that were."""
    if tensor.dtype != ir.DataType.FLOAT:
        return None
    array = tensor.numpy()
    large = np.abs(array) > LARGEST  # false for NaN
    if not large.any():
        return None
    return np.where(large, np.copysign(LARGEST / 2, array), array).astype(np.float32), int(
        large.sum()
    )
