"""Small ONNX models for tests: seeded, named, with dynamic batch, each a few kilobytes.

Every builder gives a loaded `Model`. `feeds(model, batch)` makes seeded inputs for it, `run(model,
feeds)` runs it in ONNX Runtime with all of its optimisations off.

    model = conv_bn_relu()
    outputs = run(model, feeds(model))
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from edgecompile.ir import Model, load, to_bytes
from edgecompile.ir.digest import model_digest
from edgecompile.ir.facts import input_specs
from edgecompile.passes.base import Context, Outcome, Pass
from edgecompile.targets.catalogue import load_target

Array = np.ndarray


class Builder:
    """Puts a model together node by node; every call returns the name of the value that it makes.

    b = Builder()
    x = b.input("x", ["N", 3, 8, 8])
    y = b.node("Relu", [b.conv(x, 3, 4)])
    model = b.build({y: ["N", 4, 8, 8]})
    """

    def __init__(self, seed: int = 0, opset: int = 17) -> None:
        self.rng = np.random.default_rng(seed)
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.imports: dict[str, int] = {}

    def input(self, name: str, shape: Sequence[int | str], dtype: Any = np.float32) -> str:
        """A graph input."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def constant(self, array: Any, name: str | None = None) -> str:
        """An initializer; floats become float32."""
        array = np.asarray(array)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        name = name or f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def random(self, *shape: int, scale: float = 1.0, positive: bool = False) -> str:
        """A seeded random initializer, normal or uniform in [0.5, 1.5] times `scale`."""
        values = self.rng.uniform(0.5, 1.5, shape) if positive else self.rng.normal(size=shape)
        return self.constant((values * scale).astype(np.float32))

    def node(
        self, op: str, inputs: Sequence[str], outputs: int = 1, domain: str = "", **attributes: Any
    ) -> Any:
        """A node; the name of its output, or a list of them."""
        name = f"{op.lower()}_{len(self.nodes)}"
        made = [name + (f"_{i}" if i else "") + "_out" for i in range(outputs)]
        self.nodes.append(
            helper.make_node(op, list(inputs), made, name=name, domain=domain, **attributes)
        )
        if domain:
            self.imports.setdefault(domain, 1)
        return made[0] if outputs == 1 else made

    def conv(
        self, x: str, cin: int, cout: int, k: int = 3, *, bias: bool = True, **attributes: Any
    ) -> str:
        """A Conv with "same" padding for odd `k`, unless `pads` are given."""
        group = attributes.get("group", 1)
        weight = self.random(cout, cin // group, k, k, scale=1 / np.sqrt(cin // group * k * k))
        attributes.setdefault("pads", [k // 2] * 4)
        extra = [self.random(cout, scale=0.1)] if bias else []
        return self.node("Conv", [x, weight, *extra], kernel_shape=[k, k], **attributes)

    def batch_norm(self, x: str, channels: int) -> str:
        """BatchNormalization at inference with settled statistics."""
        parameters = [
            self.random(channels, positive=True),
            self.random(channels, scale=0.2),
            self.random(channels, scale=0.2),
            self.random(channels, positive=True),
        ]
        return self.node("BatchNormalization", [x, *parameters], epsilon=1e-5)

    def gemm(self, x: str, cin: int, cout: int) -> str:
        """A fully connected layer, weights `[cout, cin]`."""
        weight = self.random(cout, cin, scale=1 / np.sqrt(cin))
        return self.node("Gemm", [x, weight, self.random(cout, scale=0.1)], transB=1)

    def linear(self, x: str, cin: int, cout: int) -> str:
        """MatMul and Add, as exporters write a linear layer on more than two axes."""
        product = self.node("MatMul", [x, self.random(cin, cout, scale=1 / np.sqrt(cin))])
        return self.node("Add", [product, self.random(cout, scale=0.1)])

    def build(
        self,
        outputs: Mapping[str, Sequence[int | str] | None],
        *,
        dtype: Any = np.float32,
        metadata: Mapping[str, str] | None = None,
        ir_version: int = 8,
    ) -> Model:
        """The model with these outputs and their shapes, checked and loaded."""
        return from_proto(
            self.proto(outputs, dtype=dtype, metadata=metadata, ir_version=ir_version)
        )

    def proto(
        self,
        outputs: Mapping[str, Sequence[int | str] | None],
        *,
        dtype: Any = np.float32,
        metadata: Mapping[str, str] | None = None,
        ir_version: int = 8,
    ) -> onnx.ModelProto:
        """The same as `ModelProto`."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        infos = [helper.make_tensor_value_info(name, kind, dims) for name, dims in outputs.items()]
        graph = helper.make_graph(self.nodes, "test", self.inputs, infos, self.constants)
        imports = {"": self.opset, **self.imports}
        proto = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(d, v) for d, v in imports.items()],
            ir_version=ir_version,
        )
        helper.set_model_props(proto, dict(metadata or {}))
        return proto


def from_proto(proto: onnx.ModelProto) -> Model:
    """A `ModelProto`, loaded the way that a user's file is."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.onnx"
        onnx.save(proto, path)
        return load(path)


def feeds(model: Model, batch: int = 2, seed: int = 7, **dims: int) -> dict[str, Array]:
    """Seeded inputs: normal floats, integers in [0, 8). Other symbols than the first by name."""
    rng = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for spec in input_specs(model):
        shape = [n if isinstance(n, int) else dims.get(n or "", batch) for n in spec.shape]
        if spec.dtype.kind == "f":
            made[spec.name] = rng.normal(size=shape).astype(spec.dtype)
        elif spec.dtype.kind == "b":
            made[spec.name] = rng.integers(0, 2, shape).astype(bool)
        else:
            made[spec.name] = rng.integers(0, 8, shape).astype(spec.dtype)
    return made


def run(model: Model, inputs: Mapping[str, Array]) -> list[Array]:
    """The outputs of ONNX Runtime's CPU provider, one thread, no optimisation."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(to_bytes(model), options, ["CPUExecutionProvider"])
    results: list[Array] = session.run(None, dict(inputs))
    return results


def context(*, opset_max: int = 23, **facts: Any) -> Context:
    """What a pass is given: the real target `intel-nuc`, with some facts changed."""
    target = load_target("intel-nuc")
    opset = target.opset.model_copy(update={"max": opset_max})
    return Context(target=target.model_copy(update={"opset": opset, **facts}))


def apply(operation: Pass, model: Model, where: Context | None = None) -> Outcome:
    """Run a pass and hold it to the contract: no lie, no edit of its input, names kept, idempotent.

    Raises `AssertionError` where it breaks one of these.
    """
    where = where or context()
    before = model.digest
    assert not operation.requires(model, where), operation.requires(model, where)
    outcome = operation.run(model, where)
    assert model_digest(model.graph) == before, f"{operation.id} edited its input"
    assert outcome.changed == (outcome.model.digest != before), f"{operation.id} lied"
    assert interface(outcome.model) == interface(model)
    again = operation.run(outcome.model, where)
    assert not again.changed, f"{operation.id} changes its own output"
    return outcome


def interface(model: Model) -> tuple[list[str | None], list[str | None], dict[str, str]]:
    """Names of inputs that must be fed and of outputs, and the metadata of the model."""
    graph = model.graph.graph
    inputs = [value.name for value in graph.inputs if value.name not in graph.initializers]
    outputs = [value.name for value in graph.outputs]
    return inputs, outputs, dict(model.graph.metadata_props)


def assert_same(before: Model, after: Model, tolerance: float = 1e-5, **dims: int) -> None:
    """Both models give the same outputs on seeded inputs, up to `tolerance` of the largest."""
    inputs = feeds(before, **dims)
    for left, right in zip(run(before, inputs), run(after, inputs), strict=True):
        assert left.shape == right.shape and left.dtype == right.dtype
        scale = max(1.0, float(np.abs(left).max(initial=0.0)))
        np.testing.assert_allclose(right, left, rtol=0, atol=tolerance * scale)


def operators(model: Model) -> list[str]:
    """Operators of the main graph in order."""
    return [node.op_type for node in model.graph.graph]


def node_of(model: Model, op_type: str) -> ir.Node:
    """The first node of this kind in the main graph."""
    return next(node for node in model.graph.graph if node.op_type == op_type)


def conv_bn_relu(seed: int = 0, opset: int = 17, *, bias: bool = False) -> Model:
    """Conv, BatchNormalization, Relu, twice, then GlobalAveragePool, Flatten, Gemm: `[N, 5]`."""
    b = Builder(seed, opset)
    x = b.input("x", ["N", 3, 8, 8])
    x = b.node("Relu", [b.batch_norm(b.conv(x, 3, 4, bias=bias), 4)])
    x = b.node("Relu", [b.batch_norm(b.conv(x, 4, 6, bias=bias, strides=[2, 2]), 6)])
    x = b.node("Flatten", [b.node("GlobalAveragePool", [x])])
    return b.build({b.gemm(x, 6, 5): ["N", 5]})


def depthwise(seed: int = 0) -> Model:
    """Depthwise and pointwise Conv with ReLU6 (Clip), as in MobileNet: `[N, 8, 8, 8]`."""
    b = Builder(seed)
    low, high = b.constant(np.float32(0)), b.constant(np.float32(6))
    x = b.node("Clip", [b.conv(b.input("x", ["N", 4, 8, 8]), 4, 4, group=4), low, high])
    x = b.node("Clip", [b.conv(x, 4, 8, k=1), low, high])
    return b.build({x: ["N", 8, 8, 8]})


def residual(seed: int = 0) -> Model:
    """Two Conv with a sum around them: `[N, 4, 8, 8]`."""
    b = Builder(seed)
    x = b.input("x", ["N", 4, 8, 8])
    y = b.conv(b.node("Relu", [b.conv(x, 4, 4)]), 4, 4)
    return b.build({b.node("Relu", [b.node("Add", [x, y])]): ["N", 4, 8, 8]})


def concat(seed: int = 0) -> Model:
    """Two branches joined by channel, then pooled: `[N, 7, 4, 4]`."""
    b = Builder(seed)
    x = b.input("x", ["N", 3, 8, 8])
    left, right = b.conv(x, 3, 4, k=1), b.node("Sigmoid", [b.conv(x, 3, 3)])
    joined = b.node("Concat", [left, right], axis=1)
    y = b.node("MaxPool", [joined], kernel_shape=[2, 2], strides=[2, 2])
    return b.build({y: ["N", 7, 4, 4]})


def mlp(seed: int = 0) -> Model:
    """Gemm, Relu, MatMul, Add: `[N, 16]` -> `[N, 4]`."""
    b = Builder(seed)
    x = b.node("Relu", [b.gemm(b.input("x", ["N", 16]), 16, 12)])
    return b.build({b.linear(x, 12, 4): ["N", 4]})


def matmul_of_activations(seed: int = 0) -> Model:
    """A product of two computed values: `[N, 4, 6]` with itself transposed -> `[N, 4, 4]`."""
    b = Builder(seed)
    x = b.linear(b.input("x", ["N", 4, 6]), 6, 6)
    y = b.node("MatMul", [x, b.node("Transpose", [x], perm=[0, 2, 1])])
    return b.build({y: ["N", 4, 4]})


def attention(seed: int = 0, width: int = 8, heads: int = 2) -> Model:
    """A transformer block with dynamic batch and length, as PyTorch exports it.

    Integer input `ids [N, L]`, embedding, self-attention with reshapes from computed shapes,
    LayerNormalization, GELU by Erf: `[N, L, width]`.
    """
    b = Builder(seed)
    ids = b.input("ids", ["N", "L"], np.int64)
    x = b.node("Gather", [b.random(8, width), ids])
    n, length = (b.node("Gather", [b.node("Shape", [ids]), b.constant(i)], axis=0) for i in (0, 1))
    one = [b.node("Unsqueeze", [v, b.constant(np.array([0]))]) for v in (n, length)]
    split = b.node("Concat", [*one, b.constant(np.array([heads, width // heads]))], axis=0)
    q, k, v = (
        b.node("Transpose", [b.node("Reshape", [b.linear(x, width, width), split])], perm=perm)
        for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
    )
    scores = b.node("Div", [b.node("MatMul", [q, k]), b.constant(np.sqrt(width / heads))])
    mixed = b.node("MatMul", [b.node("Softmax", [scores], axis=-1), v])
    joined = b.node("Concat", [*one, b.constant(np.array([width]))], axis=0)
    mixed = b.node("Reshape", [b.node("Transpose", [mixed], perm=[0, 2, 1, 3]), joined])
    scale, shift = b.random(width, positive=True), b.random(width, scale=0.1)
    total = b.node("Add", [x, b.linear(mixed, width, width)])
    x = b.node("LayerNormalization", [total, scale, shift], axis=-1)
    h = b.linear(x, width, 2 * width)
    erf = b.node("Erf", [b.node("Div", [h, b.constant(np.sqrt(2.0))])])
    gate = b.node("Mul", [h, b.node("Add", [erf, b.constant(np.float32(1))])])
    gelu = b.node("Mul", [gate, b.constant(np.float32(0.5))])
    y = b.node("Add", [x, b.linear(gelu, 2 * width, width)])
    return b.build({y: ["N", "L", width]})


def lstm(seed: int = 0, hidden: int = 4) -> Model:
    """An LSTM over `[T, N, 3]` and a linear layer: `[T, N, 2]`."""
    b = Builder(seed)
    x = b.input("x", [5, "N", 3])
    w, r = b.random(1, 4 * hidden, 3, scale=0.5), b.random(1, 4 * hidden, hidden, scale=0.5)
    y = b.node("LSTM", [x, w, r], outputs=2, hidden_size=hidden)[0]
    y = b.node("Squeeze", [y, b.constant(np.array([1]))])
    return b.build({b.linear(y, hidden, 2): [5, "N", 2]})


def branches(seed: int = 0) -> Model:
    """An If with a Conv in one branch and a Relu in the other, both on an outer value."""
    b = Builder(seed)
    x, condition = b.input("x", ["N", 3, 4, 4]), b.input("condition", [], np.bool_)
    before = b.node("Relu", [x])
    out = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 3, 4, 4]) for n in "tf"]
    weight = numpy_helper.from_array(
        b.rng.normal(size=(3, 3, 1, 1)).astype(np.float32), "branch_weight"
    )
    yes = helper.make_graph(
        [helper.make_node("Conv", [before, "branch_weight"], ["t"], name="branch_conv")],
        "yes",
        [],
        [out[0]],
        [weight],
    )
    no = helper.make_graph(
        [helper.make_node("Sigmoid", [before], ["f"], name="branch_sigmoid")], "no", [], [out[1]]
    )
    y = b.node("If", [condition], then_branch=yes, else_branch=no)
    return b.build({y: ["N", 3, 4, 4]})


ALL = {
    "conv_bn_relu": conv_bn_relu,
    "depthwise": depthwise,
    "residual": residual,
    "concat": concat,
    "mlp": mlp,
    "matmul_of_activations": matmul_of_activations,
    "attention": attention,
    "lstm": lstm,
    "branches": branches,
}
"""Every builder of a whole model by name, for tests that go through all of them."""
