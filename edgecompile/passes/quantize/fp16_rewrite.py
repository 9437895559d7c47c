"""Put a graph into 16-bit floats: types of values, constants, and a Cast at every border."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgecompile.ir.facts import constant_array
from edgecompile.ir.names import Names
from edgecompile.passes.quantize.fp16_ports import Ports, is_single
from edgecompile.passes.quantize.narrow import Narrow

FLOAT = ir.DataType.FLOAT


class NarrowWriter:
    """Rewrites the main graph of one model in place."""

    def __init__(self, model: ir.Model, half: Mapping[ir.Node, Ports], narrow: Narrow) -> None:
        """`half` says which nodes change, and which of their ports."""
        self.graph, self.half, self.narrow = model.graph, half, narrow
        self.names = Names(model.graph)
        self._casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
        self._constants: dict[ir.Value, ir.Value] = {}

    def write(self, *, keep_io: bool) -> None:
        """Change types, then give every consumer the type that it reads."""
        edges = [
            (node, index, value)
            for node in self.graph.all_nodes()
            for index, value in enumerate(node.inputs)
            if value is not None and is_single(value)
        ]
        outputs = [v for v in self.graph.outputs if is_single(v) and v.producer() is not None]
        for node, ports in self.half.items():
            for index in ports.outputs:
                node.outputs[index].type = ir.TensorType(self.narrow.dtype)
        if not keep_io:
            for value in self.graph.inputs:
                if is_single(value) and value.name not in self.graph.initializers:
                    value.type = ir.TensorType(self.narrow.dtype)
        for node, index, value in edges:
            own = self.half.get(node)
            wanted = self.narrow.dtype if own is not None and index in own.inputs else FLOAT
            if value.dtype != wanted:
                node.replace_input_with(index, self._as(value, wanted))
        for value in outputs:
            self._border(value, FLOAT if keep_io else self.narrow.dtype)
        self._drop_unused()

    def _as(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        array = constant_array(value) if dtype == self.narrow.dtype else None
        if array is not None:
            return self._constant(value, array)
        known = self._casts.get((value, dtype))
        if known is None:
            known = self._casts[(value, dtype)] = self._cast(value, dtype)
        return known

    def _constant(self, value: ir.Value, array: np.ndarray) -> ir.Value:
        known = self._constants.get(value)
        if known is None:
            name = self.names.unique(f"{value.name}_{self.narrow.suffix}")
            tensor = ir.tensor(self.narrow.constant(array), dtype=self.narrow.dtype, name=name)
            known = ir.Value(
                name=name,
                const_value=tensor,
                type=ir.TensorType(self.narrow.dtype),
                shape=ir.Shape(array.shape),
            )
            self.graph.register_initializer(known)
            self._constants[value] = known
        return known

    def _cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        suffix = self.narrow.suffix if dtype == self.narrow.dtype else "fp32"
        node = self._cast_node(value, dtype, f"{value.name}_to_{suffix}")
        output = node.outputs[0]
        output.name = self.names.unique(f"{value.name}_{suffix}")
        producer = value.producer()
        if producer is not None and producer.graph is self.graph:
            self.graph.insert_after(producer, node)
        else:
            self.graph.insert_before(self.graph[0], node)
        return output

    def _cast_node(self, value: ir.Value, dtype: ir.DataType, stem: str) -> ir.Node:
        attributes = {"to": int(dtype)}
        node = ir.node("Cast", [value], attributes=attributes, name=self.names.unique(stem))
        node.outputs[0].type = ir.TensorType(dtype)
        node.outputs[0].shape = value.shape
        return node

    def _border(self, value: ir.Value, dtype: ir.DataType) -> None:
        """Give a graph output the type `dtype`; where that takes a Cast, it takes over the name."""
        producer, name = value.producer(), value.name or ""
        if value.dtype == dtype or producer is None:
            return
        value.name = self.names.unique(f"{name}_inside")
        node = self._cast_node(value, dtype, f"{name}_to_output")
        node.outputs[0].name = name
        self.graph.insert_after(producer, node)
        for index, output in enumerate(self.graph.outputs):
            if output is value:
                self.graph.outputs[index] = node.outputs[0]

    def _drop_unused(self) -> None:
        for value in list(self._constants):
            producer = value.producer()
            if value.uses() or value.is_graph_output() or value.is_graph_input():
                continue
            if producer is not None:
                self.graph.remove(producer, safe=True)
            else:
                self.graph.initializers.pop(value.name or "", None)
