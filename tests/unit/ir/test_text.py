"""The text form is stable, complete and readable."""

from __future__ import annotations

from pathlib import Path

from onnx import TensorProto, helper

from edgecompile.ir import load
from edgecompile.ir.text import to_text
from tests.support.golden import check_golden
from tests.support.models import branches
from tests.support.protos import linear, model, value, weight, write


def test_golden(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["k"], value=weight("k")),
        helper.make_node("MatMul", ["x", "w"], ["h"], name="product"),
        helper.make_node("Clip", ["h", "", "limit"], ["c"]),
        helper.make_node("Twice", ["c"], ["t"], domain="mine", times=2, mode="fast"),
        helper.make_node("Split", ["t"], ["y", "z"], axis=1, num_outputs=2),
    ]
    limit = TensorProto(name="limit", data_type=TensorProto.FLOAT, float_data=[6.0])
    proto = model(nodes, weights=[weight("w"), limit], opset=18, outputs=[value("y", ["N", 2])])
    node = helper.make_node("Mul", ["a", "a"], ["b"], name="inner")
    imports = [helper.make_opsetid("", 18)]
    function = helper.make_function("mine", "Twice", ["a"], ["b"], [node], imports, ["times"])
    proto.functions.append(function)
    proto.opset_import.add(domain="mine", version=1)
    proto.metadata_props.add(key="author", value="somebody\nelse")
    check_golden("ir/model.txt", to_text(load(write(proto, tmp_path))))


def test_golden_of_subgraphs() -> None:
    check_golden("ir/branches.txt", to_text(branches()))


def test_text_tells_weights_apart(tmp_path: Path) -> None:
    first, second = (to_text(load(write(linear(weight(seed=seed)), tmp_path))) for seed in (0, 1))
    different = [a for a, b in zip(first.splitlines(), second.splitlines(), strict=True) if a != b]
    assert len(different) == 1
    assert "weight %w: f32[4, 4] sha256:" in different[0]
