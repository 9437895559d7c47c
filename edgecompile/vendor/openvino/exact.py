"""Worker: the same model with every FakeQuantize written out in float operators.

What the runtime then computes is the definition of fake quantization, whatever integer kernels it
has. Its own switch for this, LP_TRANSFORMS_MODE=NO, is not used: with OpenVINO 2026.4 it was
measured to compute some models wrongly (a text recogniser fell from 16.9 to 9.5 dB SQNR).
"""

from __future__ import annotations

from typing import Any

import numpy as np


def exact_model(model: Any) -> Any:
    """A copy of an `openvino.Model` without FakeQuantize nodes; the interface is the same."""
    copy = model.clone()
    for node in copy.get_ordered_ops():
        if node.get_type_name() == "FakeQuantize":
            result = _written_out(node).output(0)
            result.get_tensor().set_names(node.output(0).get_names())
            for target in node.output(0).get_target_inputs():
                target.replace_source_output(result)
    copy.validate_nodes_and_infer_types()
    return copy


def _written_out(node: Any) -> Any:
    """FakeQuantize-1 of OpenVINO's operation set, as its specification defines it.

    Clamp to the input range, round half to even to one of `levels`, scale to the output range.
    """
    from openvino import opset13 as ops

    data, low, high, out_low, out_high = (node.input_value(i) for i in range(5))
    kind = data.get_element_type().to_dtype()
    steps = ops.constant(np.array(node.get_attributes()["levels"] - 1, kind))
    clamped = ops.maximum(ops.minimum(data, ops.maximum(low, high)), ops.minimum(low, high))
    scale = ops.divide(ops.subtract(high, low), steps)
    level = ops.round(ops.divide(ops.subtract(clamped, low), scale), "half_to_even")
    out_scale = ops.divide(ops.subtract(out_high, out_low), steps)
    return ops.add(ops.multiply(level, out_scale), out_low)
