"""Graph and fusion passes on random graphs: outputs stay, `changed` is true, twice is once.

A graph is drawn as a list of steps over a pool of images `[N, C, 6, 6]`: layers, spelled-out
activations and normalizations, no-ops, shape arithmetic and branches that join again.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgecompile.ir import Model
from edgecompile.ir.facts import op_census
from edgecompile.passes.base import Pass
from edgecompile.passes.fuse.fuse_activation import FuseActivation
from edgecompile.passes.fuse.fuse_conv_batchnorm import FuseConvBatchnorm
from edgecompile.passes.fuse.fuse_conv_pad import FuseConvPad
from edgecompile.passes.fuse.fuse_normalization import FuseNormalization
from edgecompile.passes.graph.convert_opset import ConvertOpset
from edgecompile.passes.graph.freeze_shapes import FreezeShapes
from edgecompile.passes.graph.remove_dead import RemoveDead
from edgecompile.passes.graph.remove_identity import RemoveIdentity
from edgecompile.passes.graph.simplify import Simplify
from tests.support.models import Builder, apply, assert_same

SIZE = 6
Step = Callable[["Graph", str, int], tuple[str, int]]
"""Takes a value and its channels, gives another."""

PIPELINE: tuple[Pass, ...] = (
    ConvertOpset(at_least=20),
    Simplify(),
    RemoveIdentity(),
    FuseConvBatchnorm(),
    FuseConvPad(),
    FuseActivation(),
    FuseNormalization(),
    RemoveDead(),
)


class Graph(Builder):
    """A builder with the steps that a random graph is made of."""

    def num(self, value: float) -> str:
        return self.constant(np.float32(value))

    def conv_step(self, x: str, c: int) -> tuple[str, int]:
        out = int(self.rng.integers(1, 5))
        return self.conv(x, c, out, k=int(self.rng.choice([1, 3])), bias=bool(out % 2)), out

    def depthwise(self, x: str, c: int) -> tuple[str, int]:
        return self.conv(x, c, c, group=c), c

    def norm(self, x: str, c: int) -> tuple[str, int]:
        return self.batch_norm(x, c), c

    def affine(self, x: str, c: int) -> tuple[str, int]:
        op = str(self.rng.choice(["Mul", "Add", "Sub", "Div"]))
        shape = [(c, 1, 1), (1, c, 1, 1), (1,), (), (SIZE,)][int(self.rng.integers(5))]
        constant = self.random(*shape, positive=True)
        pair = [x, constant] if op == "Div" or self.rng.integers(2) else [constant, x]
        return self.node(op, pair), c

    def padded_conv(self, x: str, c: int) -> tuple[str, int]:
        pads = np.array([0, 0, 1, 0, 0, 0, 1, 1])
        fill = self.num(float(self.rng.integers(2)))
        padded = self.node("Pad", [x, self.constant(pads), fill])
        return self.conv(padded, c, 3, pads=[0, 1, 0, 0], bias=False), 3

    def average(self, x: str, c: int) -> tuple[str, int]:
        pads = self.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))
        return self.node("AveragePool", [self.node("Pad", [x, pads])], kernel_shape=[3, 3]), c

    def clamp(self, x: str, c: int) -> tuple[str, int]:
        low, high = sorted(self.rng.normal(size=2))
        x = self.node("Max", [x, self.num(low)])
        return self.node("Min", [x, self.num(high)]), c

    def relu(self, x: str, c: int) -> tuple[str, int]:
        return self.node("Relu", [x]), c

    def hard_swish(self, x: str, c: int) -> tuple[str, int]:
        gate = self.node("Clip", [self.node("Add", [x, self.num(3)]), self.num(0), self.num(6)])
        return self.node("Div", [self.node("Mul", [x, gate]), self.num(6)]), c

    def gelu(self, x: str, c: int) -> tuple[str, int]:
        erf = self.node("Erf", [self.node("Div", [x, self.num(math.sqrt(2))])])
        gate = self.node("Mul", [x, self.node("Add", [erf, self.num(1)])])
        return self.node("Mul", [gate, self.num(0.5)]), c

    def layer_norm(self, x: str, c: int) -> tuple[str, int]:
        axes = [[-1], [2, 3]][int(self.rng.integers(2))]
        centred = self.node("Sub", [x, self.mean(x, axes)])
        variance = self.mean(self.node("Mul", [centred, centred]), axes)
        root = self.node("Sqrt", [self.node("Add", [variance, self.num(1e-3)])])
        scaled = self.node("Mul", [self.node("Div", [centred, root]), self.random(SIZE)])
        return self.node("Add", [scaled, self.random(SIZE)]), c

    def mean(self, x: str, axes: list[int]) -> str:
        if self.opset < 18:
            return self.node("ReduceMean", [x], axes=axes)
        return self.node("ReduceMean", [x, self.constant(np.array(axes))])

    def nothing(self, x: str, c: int) -> tuple[str, int]:
        x = self.node("Identity", [self.node("Dropout", [x])])
        x = self.node("Transpose", [x], perm=[0, 2, 3, 1])
        return self.node("Transpose", [x], perm=[0, 3, 1, 2]), c

    def reshaped(self, x: str, c: int) -> tuple[str, int]:
        """There and back again, by shapes that are computed."""
        shape = self.node("Shape", [x])
        flat = self.node("Reshape", [x, self.constant(np.array([0, -1]))])
        batch = self.node("Gather", [shape, self.constant(np.array([0]))])
        rest = self.constant(np.array([c, SIZE]))
        back = self.node("Concat", [batch, rest, self.constant(np.array([-1]))], axis=0)
        return self.node("Reshape", [flat, back]), c

    def folded(self, x: str, c: int) -> tuple[str, int]:
        """A bias that is computed from constants."""
        part = self.node("Transpose", [self.random(SIZE, SIZE)])
        return self.node("Add", [x, self.node("Exp", [part])]), c


STEPS: tuple[Step, ...] = (
    Graph.conv_step,
    Graph.depthwise,
    Graph.norm,
    Graph.affine,
    Graph.padded_conv,
    Graph.average,
    Graph.clamp,
    Graph.relu,
    Graph.hard_swish,
    Graph.gelu,
    Graph.layer_norm,
    Graph.nothing,
    Graph.reshaped,
    Graph.folded,
)


@st.composite
def random_models(draw: st.DrawFn, opsets: tuple[int, ...] = (13, 17, 20)) -> Model:
    """A graph of up to ten steps, each on any value so far, with one or two outputs."""
    g = Graph(seed=draw(st.integers(0, 999)), opset=draw(st.sampled_from(opsets)))
    pool = [(g.input("x", ["N", 3, SIZE, SIZE]), 3)]
    for step in draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=10)):
        # mostly chains, for patterns to meet; sometimes a branch
        back = draw(st.sampled_from([0, 0, 0, 1, 2]))
        value, channels = step(g, *pool[max(0, len(pool) - 1 - back)])
        pool.append((value, channels))
    last = pool[-1][0]
    outputs = dict.fromkeys([last, draw(st.sampled_from(pool[1:]))[0]])
    join = [value for value, _ in pool[1:] if draw(st.booleans())]
    if len(join) > 1:
        outputs[g.node("Concat", join, axis=1)] = None
    return g.build(outputs, metadata={"alphabet": "abc"})


relaxed = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@relaxed
@given(random_models())
def test_the_usual_sequence_keeps_the_outputs(model: Model) -> None:
    current = model
    for operation in PIPELINE:
        current = apply(operation, current).model
    assert_same(model, current, tolerance=2e-4, batch=2)
    assert not {"Constant", "Dropout", "Shape"} & set(op_census(current))


@relaxed
@given(random_models(), st.sampled_from(PIPELINE[1:]))
def test_every_pass_alone_keeps_the_outputs(model: Model, operation: Pass) -> None:
    outcome = apply(operation, model)
    assert_same(model, outcome.model, tolerance=2e-4, batch=2)


@relaxed
@given(random_models(), st.integers(1, 3))
def test_frozen_models_agree_with_dynamic_ones_at_their_shape(model: Model, batch: int) -> None:
    frozen = apply(FreezeShapes(batch=batch), model).model
    assert_same(frozen, model, batch=batch)
    assert_same(frozen, apply(Simplify(), frozen).model, tolerance=2e-4)


@relaxed
@given(random_models(opsets=(13, 17, 20)), st.sampled_from([13, 14, 17, 18, 20, 21, 23]))
def test_conversion_up_keeps_the_outputs(model: Model, wanted: int) -> None:
    if wanted >= model.graph.opset_imports[""]:
        assert_same(model, apply(ConvertOpset(target=wanted), model).model, batch=2)
