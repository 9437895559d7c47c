"""What a DLA leaves to the GPU: operators by generation, limits by operator, pieces of the rest."""

from __future__ import annotations

import numpy as np
import pytest

from edgecompile.emitters.tensorrt_bundle import TensorRtBundle
from edgecompile.emitters.tensorrt_dla_layers import dla_remarks, split
from edgecompile.ir import Model
from edgecompile.targets.catalogue import load_target
from tests.support import models
from tests.support.models import Builder
from tests.support.tensorrt import qdq_net

ORIN, XAVIER = load_target("jetson-orin"), load_target("jetson-xavier-nx")
DLA = ORIN.tensorrt.dla


def one(op: str, *, shape=(1, 8, 40, 40), constants=(), opset: int = 17, **attributes) -> Model:
    b = Builder(opset=opset)
    inputs = [b.input("x", shape), *(c if isinstance(c, str) else b.constant(c) for c in constants)]
    return b.build({b.node(op, inputs, **attributes): None})


def weights(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def reasons(model: Model, dla=DLA) -> list[str]:
    return [left.reason for left in split(model, dla).left]


@pytest.mark.parametrize(
    "model",
    [
        one("Conv", constants=[weights(4, 8, 3, 3)], pads=[1, 1, 1, 1]),
        one("Conv", constants=[weights(8, 1, 5, 5)], group=8, strides=[8, 8]),
        one("ConvTranspose", constants=[weights(8, 4, 2, 2)], strides=[2, 2]),
        one("MaxPool", kernel_shape=[8, 8]),
        one("Clip", constants=[np.float32(0), np.float32(6)]),
        one("Resize", constants=["", np.float32([1, 1, 2, 2])], mode="nearest"),
        one("Softmax", axis=1),
        one("LeakyRelu"),
    ],
    ids=lambda model: next(iter(model.graph.graph)).op_type,
)
def test_what_the_dla_takes(model):
    assert reasons(model) == []


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (one("Conv", constants=[weights(4, 8, 33, 1)]), "kernel 33 x 1 is outside of 1 to 32"),
        (one("Conv", constants=[weights(4, 8, 3, 3)], strides=[9, 9]), "stride 9 x 9"),
        (one("Conv", constants=[weights(9000, 8, 1, 1)]), "9000"),
        (one("Conv", shape=(1, 8, 40), constants=[weights(4, 8, 3)]), "4 dimensions"),
        (one("ConvTranspose", constants=[weights(8, 4, 2, 2)], pads=[1, 1, 1, 1]), "padding"),
        (one("ConvTranspose", constants=[weights(8, 1, 2, 2)], group=8), "groups"),
        (one("AveragePool", kernel_shape=[9, 9]), "window 9 x 9 is outside of 1 to 8"),
        (one("Clip", constants=[np.float32(-3), np.float32(3)]), "something between 1 and 127"),
        (one("Concat", constants=[weights(1, 8, 40, 40)], axis=2), "channels only"),
        (one("Resize", constants=["", np.float32([1, 1, 8, 8])], mode="linear"), "factor 8 x 8"),
        (one("Resize", constants=["", np.float32([1, 1, 2, 2])], mode="cubic"), "mode 'cubic'"),
        (one("LRN", size=4), "window 4"),
        (one("GlobalAveragePool"), "no such layer"),
        (one("HardSwish"), "no such layer"),
        (one("Relu", shape=(1, 8, 9000, 4)), "9000, above 8192"),
    ],
)
def test_what_it_leaves_to_the_gpu_and_why(model, said):
    (reason,) = reasons(model)[:1]
    assert said in reason


def test_softmax_is_for_the_orin_alone():
    (reason,) = reasons(one("Softmax", axis=1), XAVIER.tensorrt.dla)
    assert "Xavier" in reason


def test_a_product_of_activations_is_left():
    found = split(models.matmul_of_activations(), DLA)
    assert "no constant" in {one.op: one.reason for one in found.left}["MatMul"]


def test_what_the_gpu_runs_in_between_makes_pieces():
    b = Builder(opset=17)
    x = b.input("x", [1, 4, 8, 8])
    for _ in range(20):
        x = b.node("HardSwish", [b.node("Relu", [x])])
    found = split(b.build({x: [1, 4, 8, 8]}), DLA)
    assert (found.layers, len(found.left), found.pieces) == (40, 20, 20)
    codes = [d.code for d in dla_remarks(b.build({x: [1, 4, 8, 8]}), DLA)]
    assert codes == ["EC-696", "EC-689"]


def test_the_bundle_tells_it(tmp_path):
    """Pairs are no layers: they are gone before the DLA sees the model."""
    emitter = TensorRtBundle(dla_core=0)
    artifact = emitter.emit(qdq_net(), ORIN, tmp_path, None)
    assert artifact.notes[-1] == "3 of 5 layers for the DLA in 2 pieces, 2 for the GPU"
    assert {d.code for d in artifact.remarks} == {"EC-696"}
    assert TensorRtBundle().emit(qdq_net(), ORIN, tmp_path / "gpu", None).remarks == ()
