"""Write a compressed weight into a graph: as `DequantizeLinear`, or inside `MatMulNBits`.

`DequantizeLinear` is standard ONNX (per channel from opset 13, in blocks from opset 21);
`MatMulNBits` is the contrib operator of ONNX Runtime (see `nbits.py`).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx_ir as ir

from edgecompile.ir.names import Names
from edgecompile.passes.quantize.nbits import CONTRIB, pack_rows
from edgecompile.passes.quantize.weight_blocks import (
    ByteArray,
    Compressed,
    FloatArray,
    pack_nibbles,
)
from edgecompile.passes.quantize.weight_sites import WeightSite

Form = Literal["dequantize_linear", "matmul_nbits"]


def fits_matmul_nbits(site: WeightSite, compressed: Compressed) -> bool:
    """Whether every use of the weight is the second factor of a MatMul, in blocks of 4 bits."""
    layout, levels = compressed.layout, compressed.levels
    if levels.bits != 4 or layout.block is None or layout.axis != 0 or site.others:
        return False
    return all(reader.node.op_type == "MatMul" and reader.index == 1 for reader in site.readers)


class WeightWriter:
    """Replaces weights in one model. Names come from the weight's, so equal inputs, equal bytes."""

    def __init__(self, model: ir.Model) -> None:
        """`model` is edited in place."""
        self.model = model
        self.names = Names(model.graph)

    def write(self, site: WeightSite, compressed: Compressed, form: Form) -> int:
        """Put `compressed` in the place of the weight; returns the bytes that it takes."""
        if form == "matmul_nbits" and fits_matmul_nbits(site, compressed):
            size = self._matmul_nbits(site, compressed)
        else:
            size = self._dequantize(site, compressed)
        self._drop(site)
        return size

    def _dequantize(self, site: WeightSite, compressed: Compressed) -> int:
        stem, levels, layout = site.name, compressed.levels, compressed.layout
        scale = self._array(site, f"{stem}_scale", compressed.scale)
        inputs = [self._integers(site, f"{stem}_quantized", compressed.integers, levels.type_name)]
        inputs.append(scale)
        if compressed.zero_point is not None:
            zero = compressed.zero_point
            inputs.append(self._integers(site, f"{stem}_zero_point", zero, levels.type_name))
        attributes = {} if layout.axis is None else {"axis": layout.axis}
        if layout.block is not None:
            attributes["block_size"] = layout.block
        name = self.names.unique(f"{stem}_DequantizeLinear")
        node = ir.node("DequantizeLinear", inputs, attributes=attributes, name=name)
        output = node.outputs[0]
        output.name = self.names.unique(f"{stem}_dequantized")
        output.type = ir.TensorType(ir.DataType.FLOAT)
        output.shape = ir.Shape(compressed.integers.shape)
        site.graph.insert_before(_first_place(site), node)
        site.value.replace_all_uses_with(output)
        return sum(_bytes(value) for value in inputs)

    def _matmul_nbits(self, site: WeightSite, compressed: Compressed) -> int:
        rows, columns = compressed.integers.shape
        block = compressed.layout.block or rows
        signed = compressed.zero_point is None
        # unsigned storage: without zero points the operator takes the middle, 8
        plain = compressed.integers.astype(np.int16) + (8 if signed else 0)
        packed = pack_rows(plain.T).reshape(columns, rows // block, block // 2)
        constants = [
            self._array(site, f"{site.name}_quantized", packed),
            self._array(site, f"{site.name}_scale", compressed.scale.T.reshape(-1)),
        ]
        if compressed.zero_point is not None:
            zero = pack_rows(compressed.zero_point.T).reshape(-1)
            constants.append(self._array(site, f"{site.name}_zero_point", zero))
        sizes = {"K": rows, "N": columns, "bits": 4, "block_size": block}
        for reader in site.readers:
            old = reader.node
            new = ir.node(
                "MatMulNBits",
                [old.inputs[0], *constants],
                attributes=sizes,
                domain=CONTRIB,
                name=old.name,
            )
            graph = old.graph
            if graph is not None:
                ir.convenience.replace_nodes_and_values(
                    graph, old, [old], [new], old.outputs, new.outputs
                )
        self.model.graph.opset_imports[CONTRIB] = 1
        return sum(_bytes(value) for value in constants)

    def _integers(self, site: WeightSite, stem: str, integers: ByteArray, kind: str) -> ir.Value:
        if not kind.endswith("4"):
            return self._array(site, stem, integers)
        dtype = ir.DataType[kind.upper()]
        packed = pack_nibbles(integers)
        return self._initializer(site, stem, ir.PackedTensor(packed, dtype, shape=integers.shape))

    def _array(self, site: WeightSite, stem: str, array: ByteArray | FloatArray) -> ir.Value:
        return self._initializer(site, stem, ir.Tensor(np.ascontiguousarray(array)))

    def _initializer(
        self, site: WeightSite, stem: str, tensor: ir.Tensor[ByteArray] | ir.PackedTensor[ByteArray]
    ) -> ir.Value:
        tensor.name = self.names.unique(stem)
        value = ir.Value(
            name=tensor.name,
            const_value=tensor,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(tensor.shape.dims),
        )
        site.graph.register_initializer(value)
        return value

    @staticmethod
    def _drop(site: WeightSite) -> None:
        value, producer = site.value, site.value.producer()
        if value.uses() or value.is_graph_output():
            return
        if producer is not None:
            site.graph.remove(producer, safe=True)
        elif value.name is not None:
            site.graph.initializers.pop(value.name, None)


def _first_place(site: WeightSite) -> ir.Node:
    """The first node of the weight's own graph that can need it."""
    for node in site.graph:
        if any(value is site.value for value in node.inputs) or _has_subgraph(node):
            return node
    return site.graph[0]


def _has_subgraph(node: ir.Node) -> bool:
    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return any(attribute.type in kinds for attribute in node.attributes.values())


def _bytes(value: ir.Value) -> int:
    tensor = value.const_value
    return 0 if tensor is None else tensor.nbytes
