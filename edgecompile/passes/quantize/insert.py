"""Insert Q/DQ pairs into a graph: the mechanics, once the places and the numbers are decided."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from edgecompile.passes.graph.edit import earliest
from edgecompile.passes.quantize.affine import (
    AffineParameters,
    FloatArray,
    IntArray,
    IntegerType,
    quantize,
)
from edgecompile.passes.quantize.forms import OPSET_OF_ALL_TYPES
from edgecompile.passes.quantize.sites import Edge

CONTRIB = "com.microsoft"


class Inserter:
    """Edits one graph. Names are made from the tensor's name, so equal inputs give equal bytes."""

    def __init__(self, graph: ir.Graph) -> None:
        """`graph` is edited in place."""
        self.graph = graph
        self._opset = graph.opset_imports.get("", 0)
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
        self,
        tensor: str,
        edges: tuple[Edge, ...],
        parameters: AffineParameters,
        *,
        whole: bool = False,
        behind: ir.Value | None = None,
    ) -> ir.Value:
        """Put QuantizeLinear and DequantizeLinear between `tensor` and its consumers `edges`.

        With `whole`, between it and all that read it, the graph's output included, which keeps its
        name. With `behind`, the pair reads that value instead: one that another pair has made of
        `tensor`. Returns what the DequantizeLinear makes.
        """
        source = self.value(tensor) if behind is None else behind
        constants = self._parameters(tensor, parameters)
        domain = self._domain(parameters.type)
        quantized = ir.node(
            "QuantizeLinear",
            [source, *constants],
            domain=domain,
            name=self._fresh(f"{tensor}_QuantizeLinear"),
        )
        restored = ir.node(
            "DequantizeLinear",
            [quantized.outputs[0], *constants],
            domain=domain,
            name=self._fresh(f"{tensor}_DequantizeLinear"),
        )
        self._name_output(quantized, f"{tensor}_quantized", parameters.type.name, source.shape)
        self._name_output(restored, f"{tensor}_dequantized", "float32", source.shape)
        result = restored.outputs[0]
        producer = source.producer()
        if producer is not None:
            self.graph.insert_after(producer, [quantized, restored])
        else:
            self.graph.insert_before(self.graph[0], [quantized, restored])
        if whole:
            self._take_over(source, result, quantized)
        for edge in edges:
            self.consumer(edge).replace_input_with(edge[1], result)
        return result

    def _take_over(self, source: ir.Value, result: ir.Value, reader: ir.Node) -> None:
        """Let `result` stand for `source` to everybody but `reader`."""
        output = source.is_graph_output()
        source.replace_all_uses_with(result, replace_graph_outputs=True)
        reader.replace_input_with(0, source)
        if output:
            name = source.name
            source.name = self._fresh(f"{name}_unquantized")
            result.name = name

    def weight(
        self,
        tensor: str,
        edges: tuple[Edge, ...],
        values: FloatArray,
        parameters: AffineParameters,
        *,
        turned: bool = False,
    ) -> None:
        """Replace the constant `tensor` (holding `values`) at `edges` by integers and a scale.

        `turned` stores a matrix transposed and turns it back: `parameters.axis` is that of
        `values`, and lies along the other axis of what is stored.
        """
        stored_as = values
        if turned and parameters.axis is not None:
            stored_as, parameters = values.T, replace(parameters, axis=1 - parameters.axis)
        integers = self.stored(stored_as, parameters)
        made = [self._dequantize(tensor, integers, parameters)]
        if turned:
            made.append(
                ir.node(
                    "Transpose",
                    [made[0].outputs[0]],
                    attributes={"perm": [1, 0]},
                    name=self._fresh(f"{tensor}_Transpose"),
                )
            )
            self._name_output(made[1], f"{tensor}_turned", "float32", ir.Shape(values.shape))
        self._put(made, edges)

    def stored(self, values: FloatArray, parameters: AffineParameters) -> IntArray:
        """What stands for `values` in the model."""
        return quantize(values, parameters)

    def bias(
        self, edge: Edge, tensor: str, integers: IntArray, parameters: AffineParameters
    ) -> None:
        """Replace the constant `tensor` at `edge` by `integers` that are counted already."""
        self._put([self._dequantize(tensor, integers, parameters)], (edge,))

    def _dequantize(self, tensor: str, integers: IntArray, parameters: AffineParameters) -> ir.Node:
        stored = self._initializer(f"{tensor}_quantized", integers, parameters.type.name)
        attributes = {} if parameters.axis is None else {"axis": parameters.axis}
        node = ir.node(
            "DequantizeLinear",
            [stored, *self._parameters(tensor, parameters)],
            attributes=attributes,
            domain=self._domain(parameters.type),
            name=self._fresh(f"{tensor}_DequantizeLinear"),
        )
        self._name_output(node, f"{tensor}_dequantized", "float32", ir.Shape(integers.shape))
        return node

    def _put(self, made: list[ir.Node], edges: tuple[Edge, ...]) -> None:
        """Insert `made` before the first reader of `edges`, and let them read its result."""
        first = earliest(self.graph, (self.consumer(edge) for edge in edges))
        self.graph.insert_before(first, made)
        for edge in edges:
            self.consumer(edge).replace_input_with(edge[1], made[-1].outputs[0])

    def _domain(self, dtype: IntegerType) -> str:
        """Standard, unless the opset is too low for the type and ONNX Runtime's domain is not."""
        if self._opset >= OPSET_OF_ALL_TYPES or dtype.bits in (8, 32):
            return ""
        self.graph.opset_imports.setdefault(CONTRIB, 1)
        return CONTRIB

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
