"""Insert Q/DQ pairs into a graph: the mechanics, once the places and the numbers are decided."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgecompile.passes.quantize.affine import AffineParameters, FloatArray, IntArray, quantize
from edgecompile.passes.quantize.placement import Edge


class Inserter:
    """Edits one graph. Names are made from the tensor's name, so equal inputs give equal bytes."""

    def __init__(self, graph: ir.Graph) -> None:
        """`graph` is edited in place."""
        self.graph = graph
        self._taken: set[str] = set()
        for part in (graph, *graph.subgraphs()):
            self._taken |= {v.name or "" for v in (*part.inputs, *part.initializers.values())}
            for node in part:
                self._taken |= {node.name or "", *(v.name or "" for v in node.outputs)}
        self._values: dict[str, ir.Value] = {}
        for value in (*graph.inputs, *graph.initializers.values()):
            self._values[value.name or ""] = value
        self._producers: dict[str, ir.Node] = {}
        for node in graph:
            for output in node.outputs:
                self._values[output.name or ""] = output
                self._producers[output.name or ""] = node

    def value(self, name: str) -> ir.Value:
        """The value called `name`; `KeyError` if the graph has none."""
        return self._values[name]

    def consumer(self, edge: Edge) -> ir.Node:
        """The node that `edge` points into."""
        return self._producers[edge[0]]

    def activation_pair(
        self, tensor: str, edges: tuple[Edge, ...], parameters: AffineParameters
    ) -> None:
        """Put QuantizeLinear and DequantizeLinear between `tensor` and its consumers `edges`."""
        source = self.value(tensor)
        constants = self._parameters(tensor, parameters)
        quantized = ir.node(
            "QuantizeLinear", [source, *constants], name=self._fresh(f"{tensor}_QuantizeLinear")
        )
        restored = ir.node(
            "DequantizeLinear",
            [quantized.outputs[0], *constants],
            name=self._fresh(f"{tensor}_DequantizeLinear"),
        )
        self._name_output(quantized, f"{tensor}_quantized", parameters.type.name, source.shape)
        self._name_output(restored, f"{tensor}_dequantized", "float32", source.shape)
        producer = source.producer()
        if producer is not None:
            self.graph.insert_after(producer, [quantized, restored])
        else:
            self.graph.insert_before(self.graph[0], [quantized, restored])
        for edge in edges:
            self.consumer(edge).replace_input_with(edge[1], restored.outputs[0])

    def weight(
        self, tensor: str, edges: tuple[Edge, ...], values: FloatArray, parameters: AffineParameters
    ) -> None:
        """Replace the constant `tensor` (holding `values`) at `edges` by integers and a scale."""
        integers = quantize(values, parameters)
        stored = self._initializer(f"{tensor}_quantized", integers, parameters.type.name)
        attributes = {} if parameters.axis is None else {"axis": parameters.axis}
        restored = ir.node(
            "DequantizeLinear",
            [stored, *self._parameters(tensor, parameters)],
            attributes=attributes,
            name=self._fresh(f"{tensor}_DequantizeLinear"),
        )
        shape = ir.Shape(values.shape)
        self._name_output(restored, f"{tensor}_dequantized", "float32", shape)
        first = min((self.consumer(edge) for edge in edges), key=self.graph.index)
        self.graph.insert_before(first, [restored])
        for edge in edges:
            self.consumer(edge).replace_input_with(edge[1], restored.outputs[0])

    def _parameters(self, tensor: str, parameters: AffineParameters) -> tuple[ir.Value, ir.Value]:
        scale = self._initializer(f"{tensor}_scale", parameters.scale, "float32")
        zero = self._initializer(
            f"{tensor}_zero_point", parameters.zero_point, parameters.type.name
        )
        return scale, zero

    def _initializer(self, stem: str, array: IntArray | FloatArray, dtype: str) -> ir.Value:
        name = self._fresh(stem)
        # np.ascontiguousarray would make a list of one out of a scalar
        tensor = ir.tensor(np.asarray(array, order="C"), dtype=_data_type(dtype), name=name)
        value = ir.Value(
            name=name,
            const_value=tensor,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(array.shape),
        )
        self.graph.register_initializer(value)
        self._values[name] = value
        return value

    def _name_output(self, node: ir.Node, stem: str, dtype: str, shape: ir.Shape | None) -> None:
        output = node.outputs[0]
        output.name = self._fresh(stem)
        output.type = ir.TensorType(_data_type(dtype))
        output.shape = None if shape is None else ir.Shape(shape.dims)
        self._values[output.name] = output
        self._producers[output.name] = node

    def _fresh(self, stem: str) -> str:
        name, count = stem, 1
        while name in self._taken:
            count += 1
            name = f"{stem}_{count}"
        self._taken.add(name)
        return name


def _data_type(name: str) -> ir.DataType:
    return ir.DataType.FLOAT if name == "float32" else ir.DataType[name.upper()]
