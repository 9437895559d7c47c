"""`round_bf16`: what a runtime computes that takes a float model and runs it in bfloat16 by itself.

Each tensor is rounded to bfloat16 by a pair of Casts behind the operator that makes it: kernels add
in float32 and round once. Weights are rounded where they are stored. The graph stays in float32
otherwise, so it has no need for bfloat16 forms of operators (Conv has one from opset 22 on).
"""

from __future__ import annotations

from typing import ClassVar

import ml_dtypes
import numpy as np
import onnx_ir as ir

from edgecompile.calibration.bfloat16 import rounding
from edgecompile.ir.facts import constant_tensor
from edgecompile.ir.model import Model
from edgecompile.ir.names import Names
from edgecompile.passes.base import Context, Note, Outcome, Pass, unchanged
from edgecompile.passes.quantize.operands import passes_through, splits
from edgecompile.targets.schema import Target


class RoundBf16(Pass):
    """Round weights and activations to bfloat16, for targets whose runtime converts float models.

    Formats of such targets are written without the Casts; what is verified has them.
    """

    id: ClassVar[str] = "round_bf16"
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("onnx-ir", "numpy")
    lossy: ClassVar[bool] = True

    def unfit(self, target: Target) -> list[str]:
        """Whether any compute unit of the target works in bfloat16."""
        if any("bf16" in unit for unit in target.precisions.values()):
            return []
        return ["no compute unit of the target lists bf16"]

    def run(self, model: Model, context: Context) -> Outcome:
        """Round every float32 tensor of the main graph but what only passes numbers on."""
        del context
        result = model.clone()
        graph, names = result.graph.graph, Names(result.graph.graph)
        made = [value for value in graph.inputs if value.dtype == ir.DataType.FLOAT]
        made += [
            value
            for node in graph
            if node.op_type != "Constant" and not passes_through(node) and not splits(node)
            for value in node.outputs
            if value.dtype == ir.DataType.FLOAT and value.uses()
        ]
        if not made:
            return unchanged(model, [Note(message="nothing is float32")])
        weights = sum(_round(value) for value in graph.initializers.values())
        for value in made:
            rounding(graph, value, names)
        text = f"{len(made)} activations and {weights} constants rounded to bfloat16"
        return Outcome(model=result, changed=True, notes=[Note(message=text)])


def _round(value: ir.Value) -> bool:
    tensor = constant_tensor(value)
    if tensor is None or value.dtype != ir.DataType.FLOAT:
        return False
    array = tensor.numpy().astype(ml_dtypes.bfloat16).astype(np.float32)
    value.const_value = ir.tensor(array, name=value.name)
    return True
