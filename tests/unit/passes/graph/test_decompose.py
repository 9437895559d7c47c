"""Operators written out compute what they were, for every form that they have."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.ir.facts import op_census
from edgecompile.ir.load import load
from edgecompile.ir.save import save
from edgecompile.passes.base import Context
from edgecompile.passes.graph.decompose import Decompose
from edgecompile.targets.catalogue import load_target
from edgecompile.targets.schema import OperatorSupport, Opsets
from tests.support import models
from tests.support.builds import run_build
from tests.support.models import Builder

TARGET = load_target("intel-nuc")
CASES = [
    ("HardSigmoid", {}, 13),
    ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}, 13),
    ("HardSwish", {}, 14),
    ("Gelu", {}, 20),
    ("Gelu", {"approximate": "tanh"}, 20),
    ("Mish", {}, 18),
    ("LayerNormalization", {}, 17),
    ("LayerNormalization", {"axis": 1, "epsilon": 1e-3}, 20),
]


def one(op: str, attributes: dict, opset: int) -> models.Model:
    b = Builder(opset=opset)
    x = b.input("x", ["N", 6, 8])
    extra = []
    if op == "LayerNormalization":
        shape = (6, 8) if attributes.get("axis") == 1 else (8,)
        extra = [b.random(*shape, positive=True), b.random(*shape)]
    return b.build({b.node(op, [x, *extra], **attributes): ["N", 6, 8]}, ir_version=9)


@pytest.mark.parametrize(("op", "attributes", "opset"), CASES)
def test_the_arithmetic_is_that_of_the_operator(op, attributes, opset):
    model = one(op, attributes, opset)
    outcome = Decompose(operators=(op,)).run(model, Context(target=TARGET))
    assert outcome.changed
    assert op not in op_census(outcome.model)
    feeds = {"x": 4 * np.random.default_rng(1).normal(size=(3, 6, 8)).astype(np.float32)}
    for want, got in zip(models.run(model, feeds), models.run(outcome.model, feeds), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)
    for node in outcome.model.graph.graph:  # later passes need not infer what was written
        assert node.outputs[0].dtype == ir.DataType.FLOAT
        assert node.outputs[0].shape is not None


def test_without_names_the_target_decides():
    model = one("HardSwish", {}, 14)
    has = TARGET.model_copy(update={"operators": ()})
    assert not Decompose().run(model, Context(target=has)).changed
    directml = OperatorSupport(table="directml", runtime="DirectML", elsewhere="the CPU")
    lacks = TARGET.model_copy(update={"operators": (directml,)})
    assert Decompose().run(model, Context(target=lacks)).changed
    old = has.model_copy(update={"opset": Opsets(max=13)})
    assert Decompose().run(model, Context(target=old)).changed


@pytest.mark.parametrize("opset", [17, 11])
@pytest.mark.parametrize("target", ["jetson-nano", "jetson-xavier-nx"])
def test_old_tensorrt_gets_its_normalizations_written_out(tmp_path, target, opset):
    source = tmp_path / "model.onnx"
    model = one("LayerNormalization", {}, 17)
    if opset == 11:  # as exporters wrote it then: at opset 17 it is fused, and undone again
        model = (
            Decompose(operators=("LayerNormalization",)).run(model, Context(target=TARGET)).model
        )
        model.graph.graph.opset_imports[""] = opset
    save(model, source)
    run_build(tmp_path, model=source, target=target, recipe="tensorrt-fp16", calibration=None)
    census = op_census(load(tmp_path / "out/artifacts/model.onnx"))
    assert "LayerNormalization" not in census
    assert census["Sqrt"] == 1


def test_what_cannot_be_written_stays_and_says_why():
    b = Builder(opset=17)
    x = b.input("x", [2, 8], np.float64)
    y = b.node("HardSwish", [x])
    model = b.build({y: [2, 8]}, dtype=np.float64)
    outcome = Decompose(operators=("HardSwish",)).run(model, Context(target=TARGET))
    assert not outcome.changed
    assert "float" in outcome.notes[0].message
