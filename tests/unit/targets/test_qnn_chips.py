"""Chips: what the table of the compiler's chips refuses, and that every target's chip is in it."""

from __future__ import annotations

import pytest

from edgecompile.targets.catalogue import all_targets, load_target
from edgecompile.targets.qnn_chips import chip_problem, known_chips
from edgecompile.targets.schema import QnnChip

QNN = {id_: target for id_, target in all_targets().items() if target.qnn is not None}


def chip(soc_model: int, **facts) -> QnnChip:
    entry = known_chips().get(soc_model)
    values = {
        "soc_type": (entry and entry.soc_type) or "?",
        "arch": (entry and entry.arch) or 0,
        "vtcm_mb": (entry and entry.vtcm_mb) or 0,
        "accepts": entry.accepts if entry else (),
    }
    return QnnChip(soc_model=soc_model, **{**values, **facts})


def test_the_phones_and_boards_are_served():
    assert set(QNN) >= {
        "snapdragon-8-gen1", "snapdragon-8-gen2", "snapdragon-8-gen3", "snapdragon-8-elite",
        "snapdragon-8-elite-gen5", "snapdragon-x-elite", "snapdragon-x-plus", "iq-9075",
        "sa8295", "rb3-gen2", "rb5", "rb6",
    }  # fmt: skip
    assert load_target("snapdragon").id == "snapdragon-8-gen3"


@pytest.mark.parametrize("id_", sorted(QNN))
def test_the_compiler_builds_for_the_chip_of_every_target(id_):
    target = QNN[id_]
    assert target.qnn is not None
    for one in target.qnn.chips:
        assert chip_problem(one) == ""
        assert target.hardware["vtcm_mb"].value == one.vtcm_mb
        assert ("fp16" in one.accepts) == ("fp16" in target.precisions["npu"])
    if target.qnn.backend == "htp":
        assert target.static_shapes
    else:
        assert "qnn-context-binary" not in {rule.format for rule in target.artifacts}


def test_every_tensor_processor_gets_the_same_quantized_model():
    """What is measured of one chip's default recipe holds for all."""
    gen2 = QNN["snapdragon-8-gen2"]
    named = [t for t in QNN.values() if t.qnn.backend == "htp" and t.recipe.startswith("qnn-")]
    assert len(named) == 10
    for target in named:
        assert target.recipe == gen2.recipe
        assert target.quantization == gen2.quantization
        assert target.operators == gen2.operators
        assert target.opset == gen2.opset


def test_the_table_holds_all_that_was_tried():
    assert sorted(known_chips()) == list(range(1, 131))
    assert sum(entry.htp for entry in known_chips().values()) == 67


@pytest.mark.parametrize("entry", [e for e in known_chips().values() if not e.htp])
def test_a_placeholder_is_refused(entry):
    assert chip_problem(chip(entry.soc_model))


@pytest.mark.parametrize("entry", [e for e in known_chips().values() if e.htp])
def test_what_was_built_is_accepted(entry):
    assert chip_problem(chip(entry.soc_model)) == ""


def test_a_chip_is_refused_with_its_reason():
    assert "arch 68, 16 MB" in chip_problem(chip(21))
    assert "not one that was tried" in chip_problem(chip(9999))
    assert "builds arch 73" in chip_problem(chip(43, arch=75))
    assert "builds vtcm_mb 8" in chip_problem(chip(43, vtcm_mb=4))
    assert "builds soc_type SM8550" in chip_problem(chip(43, soc_type="SM8650"))
    assert "refuses fp16" in chip_problem(chip(93, accepts=("a8w8", "fp16")))


def test_precision_is_of_the_chip_and_not_of_the_architecture():
    of_v73 = {"fp16" in e.accepts for e in known_chips().values() if e.htp and e.arch == 73}
    assert of_v73 == {True, False}
