"""Operator tables: what they say, and models held against them node by node."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
from pydantic import ValidationError

from edgecompile.emitters.operators import Cause, operator_problems, refusals
from edgecompile.targets.operators import Entry, operator_table
from edgecompile.targets.schema import OperatorSupport
from tests.support import models
from tests.support.models import Builder

FOLDER = resources.files("edgecompile.targets").joinpath("operator_tables")
TABLES = sorted(e.name.removesuffix(".json") for e in FOLDER.iterdir())
DIRECTML = OperatorSupport(table="directml", runtime="DirectML", elsewhere="the CPU")


def conv(opset: int) -> models.Model:
    b = Builder(opset=opset)
    return b.build({b.conv(b.input("x", [1, 3, 8, 8]), 3, 4): [1, 4, 8, 8]}, ir_version=10)


@pytest.mark.parametrize("name", TABLES)
def test_every_table_names_its_source_and_its_operators(name):
    table = operator_table(name)
    assert {"repo", "path", "commit"} <= table.source.keys()
    assert sum(len(ops) for ops in table.operators.values()) > 30
    for ops in table.operators.values():
        for entries in ops.values():
            assert entries
            assert all(e.until is None or e.since <= e.until for e in entries)


def test_an_open_ended_kernel_serves_exactly_its_own_definition():
    assert [Entry(since=11).serves(v) for v in (10, 11, 22)] == [False, True, False]
    assert [Entry(since=7, until=12).serves(v) for v in (6, 7, 12, 13)] == [
        False, True, True, False,
    ]  # fmt: skip
    assert Entry().serves(1)


def test_a_conv_of_too_new_an_opset_is_caught_and_told_how_to_mend():
    assert list(refusals(conv(21), DIRECTML)) == []
    (found,) = operator_problems(conv(22), [DIRECTML])
    assert (found.code, found.severity.value) == ("EC-619", "warning")
    assert "form that opset 22 brought; it has that of opset 21 and before" in found.message
    assert "so the CPU does" in found.message
    assert found.where.node == "conv_0"
    assert "convert_opset" in found.hints[0]


def test_an_operator_without_a_kernel_and_one_of_another_type_go_elsewhere():
    b = Builder(opset=17)
    x = b.input("x", [1, 4], np.float64)
    y = b.node("Relu", [b.node("HardSwish", [x])])
    found = list(refusals(b.build({y: [1, 4]}, dtype=np.float64), DIRECTML))
    assert [(f.op, f.cause) for f in found] == [
        ("HardSwish", Cause.OPERATOR),
        ("Relu", Cause.TYPE),
    ]
    assert "is double, and it takes float, float16" in found[1].reason


def test_an_operator_of_another_domain_is_matched_by_its_first_input():
    b = Builder(opset=17)
    wide = b.node("Cast", [b.input("x", [1, 4])], to=11)
    y = b.node("Gelu", [b.node("Gelu", [wide], domain="com.microsoft")], domain="com.microsoft")
    (found,) = refusals(b.build({y: [1, 4]}, dtype=np.float64), DIRECTML)
    assert (found.op, found.cause) == ("com.microsoft::Gelu", Cause.TYPE)  # the other's is unknown
    other = Builder(opset=17)
    s = other.node("Scaler", [other.input("x", [1, 4])], domain="ai.onnx.ml", scale=[2.0])
    (far,) = refusals(other.build({s: [1, 4]}), DIRECTML)
    assert far.cause is Cause.DOMAIN


def test_columns_of_a_table_are_precisions():
    xint8 = OperatorSupport(table="vitisai", runtime="V", column="XINT8", elsewhere="the CPU")
    b = Builder()
    y = b.node("Sigmoid", [b.conv(b.input("x", [1, 3, 8, 8]), 3, 4)])
    model = b.build({y: [1, 4, 8, 8]})
    (found,) = refusals(model, xint8)
    assert (found.op, found.reason) == ("Sigmoid", "it has none for XINT8")
    assert list(refusals(model, xint8, column="A8W8")) == []


def test_without_an_elsewhere_the_model_is_refused():
    b = Builder()
    y = b.node("Gemm", [b.input("x", [2, 2]), b.random(2, 2)])
    nowhere = OperatorSupport(table="openvino-npu", runtime="the NPU")
    (found,) = operator_problems(b.build({y: [2, 2]}), [nowhere])
    assert (found.code, found.severity.value) == ("EC-602", "error")


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"table": "directmel"}, "no operator table"), ({"column": "INT3"}, "no column 'INT3'")],
)
def test_a_target_cannot_name_a_table_or_column_that_is_not_there(changes, says):
    with pytest.raises(ValidationError, match=says):
        OperatorSupport.model_validate({"table": "vitisai", "runtime": "V", **changes})
