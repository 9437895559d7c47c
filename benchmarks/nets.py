"""ResNet18 and MobileNetV2 as ONNX, random weights: for speed and memory, never for accuracy.

The shapes are those of He et al., arXiv:1512.03385, table 1 (18 layers), and Sandler et al.,
arXiv:1801.04381, table 2, with batch normalization folded, as exporters write them for inference.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class _Net:
    """Collects nodes; every method returns the name of the value that it makes."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def weight(self, *shape: int, scale: float = 1.0) -> str:
        values = (self._rng.normal(size=shape) * scale).astype(np.float32)
        self._weights.append(numpy_helper.from_array(values, f"w{len(self._weights)}"))
        return self._weights[-1].name

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        name = f"{op.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [name], name=f"n_{name}", **attributes))
        return name

    def conv(self, x: str, ins: int, outs: int, k: int, *, stride: int = 1, group: int = 1) -> str:
        fan_in = ins // group * k * k
        weight = self.weight(outs, ins // group, k, k, scale=float(np.sqrt(2 / fan_in)))
        options = {"kernel_shape": [k, k], "strides": [stride] * 2, "pads": [k // 2] * 4}
        return self.node("Conv", x, weight, self.weight(outs, scale=0.1), group=group, **options)

    def relu6(self, x: str) -> str:
        limits = [
            numpy_helper.from_array(np.float32(v), f"w{len(self._weights) + i}")
            for i, v in enumerate((0, 6))
        ]
        self._weights += limits
        return self.node("Clip", x, *(limit.name for limit in limits))

    def save(self, x: str, features: int, path: Path) -> None:
        """Close with pooling and a linear layer of 1000 classes."""
        x = self.node("Flatten", self.node("GlobalAveragePool", x))
        x = self.node("Gemm", x, self.weight(features, 1000, scale=0.03), self.weight(1000))
        ends = (("x", [1, 3, 224, 224]), (x, [1, 1000]))
        infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in ends]
        graph = helper.make_graph(self._nodes, "net", infos[:1], infos[1:], self._weights)
        imports = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)


def resnet18(path: Path) -> None:
    """Write a ResNet18: input `x [1, 3, 224, 224]`."""
    net = _Net()
    x = net.node("Relu", net.conv("x", 3, 64, 7, stride=2))
    x = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    ins = 64
    for outs, first in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for stride in (first, 1):
            y = net.conv(net.node("Relu", net.conv(x, ins, outs, 3, stride=stride)), outs, outs, 3)
            if stride != 1 or ins != outs:
                x = net.conv(x, ins, outs, 1, stride=stride)
            x = net.node("Relu", net.node("Add", y, x))
            ins = outs
    net.save(x, 512, path)


def mobilenet_v2(path: Path) -> None:
    """Write a MobileNetV2: input `x [1, 3, 224, 224]`."""
    net = _Net()
    x, ins = net.relu6(net.conv("x", 3, 32, 3, stride=2)), 32
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
              (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip
    for expand, outs, count, first in stages:
        for stride in (first, *[1] * (count - 1)):
            wide = ins * expand
            y = x if expand == 1 else net.relu6(net.conv(x, ins, wide, 1))
            y = net.relu6(net.conv(y, wide, wide, 3, stride=stride, group=wide))
            y = net.conv(y, wide, outs, 1)
            x = net.node("Add", x, y) if stride == 1 and ins == outs else y
            ins = outs
    net.save(net.relu6(net.conv(x, ins, 1280, 1)), 1280, path)


NETS = {"resnet18": resnet18, "mobilenet_v2": mobilenet_v2}
