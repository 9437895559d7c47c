"""Worker: keep a model out of the way of what OpenVINO was measured to compute wrongly."""

from __future__ import annotations

from typing import Any

import numpy as np

_CONVOLUTIONS = {"Convolution", "GroupConvolution", "ConvolutionBackpropData"}
_ON_THE_WAY = {"Multiply", "Subtract", "Reshape", "Convert", "Transpose"}
_TINY = 1e-12
_TINY_FP16 = 1.2e-7
"""The smallest offset that half precision does not store as zero."""
_LOOK_AHEAD = 8
"""Operators behind an extreme that are looked at for a quantizer."""
_EXTREMES = {"ReduceMax", "ReduceMin"}
_MOST_NEGATIVE_FP16 = -65504.0


def offset_shared_convolutions(model: Any, *, compress_to_fp16: bool) -> int:
    """Give quantized convolutions that several nodes read a bias, and count them.

    The CPU plugin of OpenVINO 2026.4.1 scales the result of an INT8 convolution twice when it has
    no bias (or a zero one) and more than one consumer: a squeeze-and-excite block fell from 20 to
    8 dB SQNR. With any bias it computes them rightly.
    """
    from openvino import opset13 as ops

    tiny = _TINY_FP16 if compress_to_fp16 else _TINY
    count = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() not in _CONVOLUTIONS or not _quantized(node.input_value(1)):
            continue
        output = _after_zero_bias(node.output(0))
        readers = list(output.get_target_inputs())
        shape = output.get_partial_shape()
        if len(readers) < 2 or shape[1].is_dynamic:
            continue
        bias = np.full([1, shape[1].get_length(), *[1] * (len(shape) - 2)], tiny, np.float32)
        names = output.get_names()
        moved = ops.add(output, ops.constant(bias)).output(0)
        output.get_tensor().set_names(set())
        moved.get_tensor().set_names(names)
        for reader in readers:
            reader.replace_source_output(moved)
        count += 1
    if count:
        model.validate_nodes_and_infer_types()
    return count


def part_extremes_from_quantizers(model: Any, *, compress_to_fp16: bool) -> int:
    """Put an operator that changes nothing between each extreme and its quantizer, and count them.

    The CPU plugin of OpenVINO 2026.4.1 fuses a FakeQuantize behind ReduceMax or ReduceMin into it,
    element-wise operators between them too, and then takes the extreme of values cut to integers
    before they are scaled: a speech-quality net fell from 35 to 17 dB SQNR. A maximum with the
    lowest number of the type stops the fusion and nothing else.
    """
    from openvino import opset13 as ops

    lowest = _MOST_NEGATIVE_FP16 if compress_to_fp16 else float(np.finfo(np.float32).min)
    count = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() not in _EXTREMES or not _meets_quantizer(node.output(0)):
            continue
        output = node.output(0)
        readers = list(output.get_target_inputs())
        parted = ops.maximum(output, ops.constant(np.float32(lowest))).output(0)
        names = output.get_names()
        output.get_tensor().set_names(set())
        parted.get_tensor().set_names(names)
        for reader in readers:
            reader.replace_source_output(parted)
        count += 1
    if count:
        model.validate_nodes_and_infer_types()
    return count


def _meets_quantizer(output: Any) -> bool:
    """Whether a FakeQuantize is reached through operators that take one computed input."""
    pending, seen = [output], 0
    while pending and seen < _LOOK_AHEAD:
        seen += 1
        for reader in pending.pop().get_target_inputs():
            node = reader.get_node()
            if node.get_type_name() == "FakeQuantize":
                return True
            sources = [value.get_node().get_type_name() for value in node.input_values()]
            if len(sources) - sources.count("Constant") == 1 and node.get_output_size() == 1:
                pending.append(node.output(0))
    return False


def _quantized(source: Any) -> bool:
    """Whether a weight comes from integers or through a FakeQuantize."""
    node = source.get_node()
    while node.get_type_name() in _ON_THE_WAY:
        node = node.input_value(0).get_node()
    if node.get_type_name() == "FakeQuantize":
        return True
    constant = node.get_type_name() == "Constant"
    return constant and bool(node.get_output_element_type(0).is_integral())


def _after_zero_bias(output: Any) -> Any:
    """The output of the Add of zeros behind `output`, which the plugin drops, or `output`."""
    readers = list(output.get_target_inputs())
    if len(readers) != 1:
        return output
    node = readers[0].get_node()
    if node.get_type_name() != "Add":
        return output
    other = node.input_value(1 - readers[0].get_index()).get_node()
    if other.get_type_name() != "Constant" or np.any(other.get_data()):
        return output
    return node.output(0)
