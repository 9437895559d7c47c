"""The DLA beside a Jetson's GPU: what it takes, and its own form of INT8 before TensorRT 11.

Limits from docs.nvidia.com/deeplearning/tensorrt, "DLA Supported Layers and Restrictions". The DLA
of TensorRT 8 and 10 reads no Q/DQ pairs: its scales come from a calibration cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue.check import DYNAMIC_SHAPE
from edgecompile.diagnostics.catalogue.tensorrt import DLA_UNFIT
from edgecompile.ir.facts import constant_array, input_specs
from edgecompile.ir.model import Model
from edgecompile.targets.schema import Target
from edgecompile.targets.tensorrt import Dla

_NEWEST = (10, 7)
"""The last TensorRT 10 with a DLA; 11 has one again."""


def dla_problems(model: Model, target: Target, core: int) -> list[Diagnostic]:
    """Every reason why core `core` of the target's DLA cannot take `model`."""
    facts = target.tensorrt
    dla = None if facts is None else facts.dla
    if facts is None or dla is None:
        return [DLA_UNFIT.at(problem=f"'{target.id}' has none")]
    problems = (
        *_release(facts.version),
        *_core(dla, core),
        *_inputs(model, dla),
        *_types(model),
    )
    found = [DLA_UNFIT.at(where, problem=problem) for where, problem in problems]
    return [*found, *_open_shapes(model, target)]


Problem = tuple[Where, str]
Array = npt.NDArray[Any]


def _release(version: str | None) -> Iterator[Problem]:
    if version is not None:
        major, minor = (int(part) for part in (*version.split("."), "0")[:2])
        if major == 10 and (major, minor) > _NEWEST:
            yield Where(), f"TensorRT {version} has no DLA; 10.7 was the last, until 11.4"


def _core(dla: Dla, core: int) -> Iterator[Problem]:
    if core >= dla.cores:
        yield Where(), f"there is no core {core}: it has {dla.cores}"


def _inputs(model: Model, dla: Dla) -> Iterator[Problem]:
    for spec in input_specs(model):
        where = Where(tensor=spec.name)
        sizes = [dim for dim in spec.shape if isinstance(dim, int)]
        if sizes and sizes[0] == spec.shape[0] and sizes[0] > dla.max_batch:
            yield where, f"input '{spec.name}' has a batch of {sizes[0]}, above {dla.max_batch}"
        if any(size > dla.max_dimension for size in sizes[1:]):
            largest = max(sizes[1:])
            yield where, f"input '{spec.name}' has a side of {largest}, above {dla.max_dimension}"


def _open_shapes(model: Model, target: Target) -> Iterator[Diagnostic]:
    for spec in input_specs(model):
        if not spec.ranked or not all(isinstance(dim, int) for dim in spec.shape):
            shape = [dim if dim is not None else "?" for dim in spec.shape]
            where, taker = Where(tensor=spec.name), f"the DLA of {target.id}"
            yield DYNAMIC_SHAPE.at(where, input=spec.name, shape=shape, target=taker)


def _types(model: Model) -> Iterator[Problem]:
    """It computes in FP16 and INT8; BF16 and FP8 it has not."""
    wrong = {ir.DataType.BFLOAT16, ir.DataType.FLOAT8E4M3FN, ir.DataType.INT4}
    for node in model.graph.graph:
        for value in node.outputs:
            if value.dtype in wrong:
                yield Where(node=node.name), f"'{value.name}' is {value.dtype.name.lower()}"
                return


def without_pairs(model: Model) -> tuple[Model, dict[str, float]]:
    """The float model that the Q/DQ pairs stand in, and tensor -> scale of each pair.

    Weights become the floats that their integers stand for, so nothing is lost.
    """
    result, scales = model.clone(), dict[str, float]()
    graph = result.graph.graph
    for node in list(graph):
        if node.op_type != "DequantizeLinear":
            continue
        stored, source = constant_array(node.inputs[0]), _source(node)
        if stored is not None:
            _restore(graph, node, stored)
        elif source is not None:
            scale = constant_array(node.inputs[1])
            if scale is not None and source.name:
                scales[source.name] = float(scale)
            node.outputs[0].replace_all_uses_with(source)
    RemoveUnusedNodesPass()(result.graph)
    return result, scales


def _source(node: ir.Node) -> ir.Value | None:
    """The float tensor before a pair."""
    value = node.inputs[0]
    producer = None if value is None else value.producer()
    quantizes = producer is not None and producer.op_type == "QuantizeLinear"
    return producer.inputs[0] if producer is not None and quantizes else None


def _restore(graph: ir.Graph, node: ir.Node, integers: Array) -> None:
    """Put a weight's floats in the place of its DequantizeLinear; its zero point is 0 by rule."""
    scale = constant_array(node.inputs[1])
    if scale is None:
        return
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 1
    if scale.ndim:
        scale = scale.reshape([-1 if at == axis % integers.ndim else 1
                               for at in range(integers.ndim)])  # fmt: skip
    output = node.outputs[0]
    values = integers.astype(np.float32) * scale.astype(np.float32)
    name = f"{output.name}_float"
    value = ir.Value(
        name=name,
        const_value=ir.tensor(values.astype(scale.dtype), name=name),
        type=ir.TensorType(output.dtype or ir.DataType.FLOAT),
        shape=ir.Shape(values.shape),
    )
    graph.register_initializer(value)
    output.replace_all_uses_with(value)
