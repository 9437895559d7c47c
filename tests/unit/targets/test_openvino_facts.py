"""The Q/DQ facts of the Intel targets, held against OpenVINO's own account of what it runs."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecompile.targets.catalogue import load_target

STYLE = load_target("intel-nuc").quantization
IMAGE = [1, 16, 14, 14]
CONSTANTS = {
    "Reshape": [np.array([1, 16, 7, 28])],
    "Squeeze": [np.array([0])],
    "Unsqueeze": [np.array([0])],
    "Slice": [np.array([0]), np.array([8]), np.array([1])],
    "Expand": [np.array([2, 16, 14, 14])],
    "Gather": [np.array([0, 2, 5])],
    "ReduceMax": [],
    "Resize": [np.array([], np.float32), np.array([1, 1, 2, 2], np.float32)],
}
ATTRIBUTES = {
    "AveragePool": {"kernel_shape": [2, 2]},
    "Concat": {"axis": 1},
    "DepthToSpace": {"blocksize": 2},
    "Gather": {"axis": 1},
    "MaxPool": {"kernel_shape": [2, 2]},
    "ReduceMax": {"axes": [2, 3]},
    "ReduceMean": {"axes": [2, 3]},
    "Resize": {"mode": "nearest", "coordinate_transformation_mode": "asymmetric",
               "nearest_mode": "floor"},
    "Split": {"axis": 1},
    "Transpose": {"perm": [0, 2, 3, 1]},
}  # fmt: skip
WEIGHTS = {"Conv": [32, 16, 3, 3], "ConvTranspose": [16, 32, 2, 2], "MatMul": [14, 32],
           "Gemm": [64, 32]}  # fmt: skip


class Graph:
    """Collects the nodes of a small Q/DQ graph."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def pair(self, tensor, scale=0.02, zero_point=128, dtype=np.uint8):
        ends = [self.constant(np.float32(scale)), self.constant(dtype(zero_point))]
        self.nodes.append(helper.make_node("QuantizeLinear", [tensor, *ends], [f"{tensor}_q"]))
        self.nodes.append(
            helper.make_node("DequantizeLinear", [f"{tensor}_q", *ends], [f"{tensor}_dq"])
        )
        return f"{tensor}_dq"

    def weight(self, shape, axis):
        values = np.random.default_rng(0).integers(-127, 128, shape).astype(np.int8)
        scale = np.full(shape[axis], 0.01, np.float32)
        names = [self.constant(values), self.constant(scale)]
        names.append(self.constant(np.zeros(shape[axis], np.int8)))
        output = f"w{len(self.nodes)}"
        self.nodes.append(helper.make_node("DequantizeLinear", names, [output], axis=axis))
        return output

    def op(self, op_type, inputs, output, outputs=1, **attributes):
        more = [f"{output}_{i}" for i in range(1, outputs)]
        node = helper.make_node(op_type, inputs, [output, *more], name=f"{op_type}.X", **attributes)
        self.nodes.append(node)
        return output

    def layers(self, output, inputs, opset=17):
        """Layers of the compiled model: (type, precision, output precision, original names)."""
        import openvino

        infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()]
        result = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "g", infos, [result], self.constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9
        )
        core = openvino.Core()
        hints = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", hints)
        keys = ("layerType", "runtimePrecision", "outputPrecisions", "originalLayersNames")
        infos = [op.get_rt_info() for op in compiled.get_runtime_model().get_ordered_ops()]
        return [tuple(i[k].astype(str) if k in i else "" for k in keys) for i in infos]


def _runs(layers, name):
    (found,) = [layer for layer in layers if name in layer[3].split(",")]
    return found


def _single(op_type, zero_point):
    """`op_type` alone between a Q/DQ pair and another."""
    graph, inputs = Graph(), {"x": IMAGE}
    if op_type == "Gemm":
        inputs["x"] = [4, 64]
    operands = [graph.pair("x", zero_point=zero_point)]
    if op_type in WEIGHTS:
        axis = 0 if op_type == "Conv" else 1
        operands.append(graph.weight(WEIGHTS[op_type], axis))
    elif op_type in {"Concat", "Add"}:
        inputs["x2"] = IMAGE
        operands.append(graph.pair("x2", zero_point=zero_point))
    operands += [graph.constant(c) for c in CONSTANTS.get(op_type, [])]
    outputs = 2 if op_type == "Split" else 1
    y = graph.op(op_type, operands, "y", outputs, **ATTRIBUTES.get(op_type, {}))
    graph.op("Identity", [graph.pair(y, scale=0.04)], "out")
    return graph.layers("out", inputs)


def _conv(graph, tensor, name):
    return graph.op("Conv", [tensor, graph.weight([16, 16, 1, 1], 0)], name)


@pytest.mark.parametrize(
    "op_type",
    sorted({*STYLE.operators, *STYLE.carriers} - {"Add"} - set(STYLE.zero_point_0)),
)
def test_operator_has_an_integer_kernel(op_type):
    layers = _single(op_type, 128)
    precisions = [p for kind, p, _, _ in layers if kind not in {"Subgraph", "Reorder", "Transpose"}]
    assert "u8" in precisions, layers


@pytest.mark.parametrize("op_type", STYLE.zero_point_0)
@pytest.mark.parametrize(("zero_point", "precision"), [(0, "u8"), (128, "f32")])
def test_operator_runs_in_integers_only_without_zero_point(op_type, zero_point, precision):
    kinds = {kind: p for kind, p, _, _ in _single(op_type, zero_point)}
    assert kinds["Deconvolution"] == precision


def test_add_reads_and_writes_integers():
    op_type = "Add"
    assert op_type in STYLE.carriers
    graph = Graph()
    x = graph.pair("x")
    sides = [graph.pair(_conv(graph, x, name), 0.03) for name in ("left", "right")]
    total = graph.op(op_type, sides, "total")
    _conv(graph, graph.pair(total, 0.05), "out")
    layers = graph.layers("out", {"x": IMAGE})
    _, precision, output, _ = _runs(layers, f"{op_type}.X")
    assert (precision, output) == ("u8", "u8"), layers


@pytest.mark.parametrize("op_type", sorted(set(STYLE.shared_scale) - {"Identity"}))
def test_shared_scale_operator_passes_integers_on(op_type):
    layers = _single(op_type, 128)
    passed = [layer for layer in layers if layer[0] not in {"Subgraph", "Reorder"}]
    assert [p for _, p, out, _ in passed if p == out == "u8"], layers


@pytest.mark.parametrize(("scale", "precision"), [(0.03, "u8"), (0.05, "f32")])
def test_concat_needs_one_scale_or_the_next_convolution_runs_in_float(scale, precision):
    graph = Graph()
    x = graph.pair("x")
    parts = [graph.pair(_conv(graph, x, "a"), 0.03), graph.pair(_conv(graph, x, "b"), scale)]
    joined = graph.op("Concat", parts, "joined", axis=1)
    graph.op("Conv", [joined, graph.weight([8, 32, 1, 1], 0)], "out")
    layers = graph.layers("out", {"x": IMAGE})
    assert [p for kind, p, _, _ in layers if kind == "Convolution"][-1] == precision


@pytest.mark.parametrize("op_type", STYLE.fused_activations)
def test_activation_is_fused_into_the_convolution(op_type):
    graph = Graph()
    middle = _conv(graph, graph.pair("x"), "middle")
    inputs = [middle]
    if op_type == "Clip":
        inputs += [graph.constant(np.float32(0)), graph.constant(np.float32(6))]
    if op_type == "PRelu":
        inputs.append(graph.constant(np.full((16, 1, 1), 0.1, np.float32)))
    active = graph.op(op_type, inputs, "active")
    _conv(graph, graph.pair(active, 0.03, 10), "out")
    layers = graph.layers("out", {"x": IMAGE}, opset=20)
    assert [(p, o) for kind, p, o, _ in layers if kind == "Convolution"] == [
        ("u8", "u8"), ("u8", "f32"),
    ]  # fmt: skip
    assert {kind for kind, *_ in layers} <= {
        "Input", "Const", "Output", "Convolution", "Reorder", "Reshape", "Subgraph",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("dtype", "zero_point", "integer"), [(np.int8, 0, True), (np.uint8, 128, False)]
)
def test_product_of_two_activations_runs_in_integers_only_when_symmetric(
    dtype, zero_point, integer
):
    assert STYLE.symmetric_products
    graph = Graph()
    shape = graph.constant(np.array([1, 8, 4, 16]))
    x = graph.pair("x", 0.02, zero_point, dtype)
    heads = []
    for name, perm in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1])):
        projected = graph.op("MatMul", [x, graph.weight([64, 64], 1)], name)
        split = graph.op(
            "Reshape", [graph.pair(projected, 0.02, zero_point, dtype), shape], f"{name}_r"
        )
        heads.append(graph.op("Transpose", [split], f"{name}_t", perm=perm))
    graph.nodes.append(helper.make_node("MatMul", heads, ["product"], name="product"))
    graph.op("Softmax", ["product"], "out")
    layers = graph.layers("out", {"x": [1, 8, 64]})
    inputs = [
        p
        for _, p, _, names in layers
        if "product" in names.split(",") or "product_original" in names
    ]
    assert [p.startswith("i8") for p in inputs] == [integer], layers
