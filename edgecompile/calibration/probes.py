"""Which extra outputs a model gets so that its tensors can be observed at little cost.

A tensor made a graph output is copied out of the CPU's blocked layout into fresh memory, which for
convolutional nets costs as much again as running them. Where the graph itself bounds a tensor from
below (Relu, Clip), two small outputs do instead, computed while the tensor is still in the cache:
its largest value per channel (GlobalMaxPool), and every s-th row and column (a MaxPool of 1 x 1
with stride s). ONNX Runtime runs both in the blocked layout. That the bound is reached, so that it
is the exact minimum, is seen on the first sample; so is whether the upper bound of a Clip is, after
which there is no larger value to look for. Without a histogram the strided values are not needed.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from edgecompile.calibration.bounds import FREE, Bound
from edgecompile.ir.model import Model
from edgecompile.ir.names import Names

Shape = tuple[int, ...]
_LEAST_ELEMENTS = 4096
"""Tensors smaller than this are cheaper to copy than to pool."""
_LEAST_SIDE = 4
_POSITIONS = 6
"""About as many rows and columns of a large tensor are looked at in each sample."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """How one tensor is observed: by outputs of the instrumented model.

    `values` is the tensor itself, or with `strides` a sample `[N, C, h, w]` of it; `maxima`
    `[N, C, 1, 1]` are the exact largest values. Where one of them is not needed it is None: without
    `maxima` the largest value is known to be the upper end of `bound`.
    """

    tensor: str
    values: str | None
    maxima: str | None = None
    strides: tuple[int, int] | None = None
    bound: Bound = FREE

    @property
    def pooled(self) -> bool:
        """Whether `values` are a sample at most."""
        return self.strides is not None


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """What is to be looked at of a tensor that is observed through pooling."""

    strides: tuple[int, int]
    maxima: bool = True
    sample: bool = True


def poolable(bound: Bound, dtype: ir.DataType | None, shape: Shape | None) -> bool:
    """Whether maxima and a strided sample say enough about a tensor of this kind."""
    return (
        bound.exact
        and math.isfinite(bound.low)
        and dtype == ir.DataType.FLOAT
        and shape is not None
        and len(shape) == 4
        and min(shape[2:]) >= _LEAST_SIDE
        and math.prod(shape) >= _LEAST_ELEMENTS
    )


def stride(shape: Shape, values: int) -> tuple[int, int]:
    """Strides of rows and columns so that about `values` elements of [N, C, H, W] are left."""
    wanted = max(1, math.isqrt(math.prod(shape) // max(values, 1)))
    height, width = (max(1, min(d // 3, (d - 1) // _POSITIONS + 1)) for d in shape[2:])
    return min(wanted, height), min(wanted, width)


def instrument(
    model: Model,
    tensors: Sequence[str],
    pooled: Mapping[str, Pooling],
    bounds: Mapping[str, Bound],
) -> tuple[Model, list[Probe]]:
    """A copy of `model` with the outputs that observe `tensors`, and the probes in their order.

    `pooled` names those tensors that are observed through pooling.
    """
    copy = model.clone()
    graph = copy.graph.graph
    values = {v.name: v for n in graph for v in n.outputs if v.name}
    present: set[str | None] = {v.name for v in graph.outputs}
    names = Names(graph)
    probes: dict[str, Probe] = {}
    # ONNX Runtime orders nodes by walking back from the leaves, the last leaf first. Appending
    # the pools of the deepest tensor first therefore runs each right behind what it reads.
    for name in reversed(tensors):
        bound = bounds.get(name, FREE)
        if name in pooled:
            way, value = pooled[name], values[name]
            every = _every(way.strides)
            probes[name] = Probe(
                tensor=name,
                maxima=_append(graph, names, "GlobalMaxPool", value, {}) if way.maxima else None,
                values=_append(graph, names, "MaxPool", value, every) if way.sample else None,
                strides=way.strides,
                bound=bound,
            )
            continue
        if name not in present:
            graph.outputs.append(values[name])
        probes[name] = Probe(tensor=name, values=name, bound=bound)
    return copy, [probes[name] for name in tensors]


Attributes = dict[str, Sequence[int]]


def _every(strides: tuple[int, int]) -> Attributes:
    return {"kernel_shape": (1, 1), "strides": strides}


def _append(
    graph: ir.Graph, names: Names, op_type: str, value: ir.Value, attributes: Attributes
) -> str:
    node = ir.node(op_type, [value], attributes)
    output = node.outputs[0]
    output.name = names.unique(f"{value.name}/{op_type}")
    output.type = ir.TensorType(ir.DataType.FLOAT)
    graph.append(node)
    graph.outputs.append(output)
    return output.name


def subgraph_names(model: Model) -> Collection[str]:
    """Names of values that only subgraphs and functions compute."""
    graphs = [*model.graph.graph.subgraphs(), *model.graph.functions.values()]
    main = {v.name for n in model.graph.graph for v in n.outputs}
    return {v.name for g in graphs for n in g for v in n.outputs if v.name} - main
