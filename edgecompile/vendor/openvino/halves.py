"""Store the float weights of quantized models in half precision.

`save_model(compress_to_fp16=True)` leaves models with a FakeQuantize as they are (OpenVINO 2026.4).
Where the device computes its floats in half precision anyway, that doubles them for nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

READERS = frozenset(
    {"MatMul", "Convolution", "GroupConvolution", "ConvolutionBackpropData", "Gather"}
)
"""What reads weights; ranges, scales and biases stay as they are."""
LARGEST = float(np.finfo(np.float16).max)


def store_halves(model: Any) -> int:
    """Let float32 weights of the `openvino.Model` be FP16 with a Convert; how many, in place.

    Nothing where OpenVINO compresses by itself: in models without FakeQuantize.
    """
    from openvino import Type, opset13

    if not any(node.get_type_name() == "FakeQuantize" for node in model.get_ops()):
        return 0
    count = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant" or node.get_output_element_type(0) != Type.f32:
            continue
        readers = {port.get_node().get_type_name() for port in node.output(0).get_target_inputs()}
        values = node.data
        if not readers or readers - READERS or np.abs(values).max(initial=0.0) > LARGEST:
            continue
        narrow = opset13.constant(values.astype(np.float16))
        narrow.set_friendly_name(f"{node.get_friendly_name()}_fp16")
        wide = opset13.convert(narrow, "f32")
        wide.set_friendly_name(node.get_friendly_name())
        for port in list(node.output(0).get_target_inputs()):
            port.replace_source_output(wide.output(0))
        count += 1
    return count
