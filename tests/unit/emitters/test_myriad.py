"""A blob is believed by its header; without its toolchain the target takes IR, and says so."""

from __future__ import annotations

import struct

import pytest

from edgecompile.diagnostics import EdgecompileError
from edgecompile.driver.request import BuildRequest
from edgecompile.driver.resolve import preflight, resolve
from edgecompile.emitters import myriad
from edgecompile.emitters.myriad import OpenVinoBlobMyriad, _problems
from edgecompile.store.store import Store
from edgecompile.targets.catalogue import load_target
from tests.support import models
from tests.support.builds import DIGITS, RememberingSink
from tests.support.models import Builder


def static() -> models.Model:
    b = Builder(opset=13)
    return b.build({b.conv(b.input("x", [1, 3, 8, 8]), 3, 4): [1, 4, 8, 8]})


def blob(**changes: int) -> bytes:
    """What the plugin writes for `static`, header only, with some fields changed."""
    fields = {
        "magic": 9709, "size": 512, "major": 6, "minor": 0, "inputs": 1, "outputs": 1,
        "stages": 3, "input_bytes": 3 * 64 * 4, "output_bytes": 4 * 64 * 4, "batch": 1,
    }  # fmt: skip
    header = struct.pack("<10I", *{**fields, **changes}.values())
    return (b"\x7felf" + bytes(0x30) + header).ljust(512, b"\0")


def test_a_blob_of_the_model_passes():
    assert list(_problems(static(), blob())) == []
    halves = blob(input_bytes=3 * 64 * 2, output_bytes=4 * 64 * 2)
    assert list(_problems(static(), halves)) == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"magic": 1}, "magic number"),
        ({"major": 5}, "version 5"),
        ({"size": 511}, "512 bytes, and its header says 511"),
        ({"inputs": 2}, "2 inputs instead of 1"),
        ({"outputs": 0}, "0 outputs instead of 1"),
        ({"stages": 0}, "no stage"),
        ({"input_bytes": 64}, "its inputs take 64 bytes"),
        ({"output_bytes": 64000}, "its outputs take 64000 bytes"),
    ],
)
def test_every_field_of_the_header_counts(wrong, says):
    (problem,) = _problems(static(), blob(**wrong))
    assert says in problem


def test_what_is_no_blob_at_all_is_refused():
    assert list(_problems(static(), b"")) == ["the file does not begin like a blob"]


def test_a_layer_is_told_as_the_node_that_it_came_from(monkeypatch):
    b = Builder(opset=13)
    x = b.node("HardSigmoid", [b.input("x", [1, 4])])
    model = b.build({b.node("HardSigmoid", [x]): [1, 4]})
    layers = [node.outputs[0].name for node in model.graph.graph]
    refused = [{"name": name, "type": "HardSigmoid"} for name in (*layers, "other")]

    def answer(function, payload, work):
        if function == "query":
            return {"refused": [*refused, {"name": "y", "type": "Subtract"}], "problem": ""}
        reason = f'Failed to compile layer "{layers[0]}": unsupported layer type "HardSigmoid"'
        raise EdgecompileError((myriad.COMPILER_REFUSES.at(compiler="x", reason=reason),))

    monkeypatch.setattr(myriad, "_call", answer)
    (found,) = myriad._asked(model)
    assert found.code == "EC-600"
    assert "'HardSigmoid' (2 nodes, the first is 'hardsigmoid_0')" in found.message


@pytest.fixture
def resolved(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECOMPILE_TOOLCHAINS_DIR", str(tmp_path / "none"))

    def ask(**changes):
        values = {"model": DIGITS, "target": "ncs2", "output": tmp_path / "out"}
        sink = RememberingSink()
        request = BuildRequest(**{**values, **changes})
        return resolve(request, Store(tmp_path / "cache", sink.diagnostic), sink)

    return ask


def test_without_the_toolchain_there_is_ir_and_a_hint(resolved):
    found = resolved()
    assert [emitter.id for emitter in found.emitters] == ["openvino-ir"]
    (remark,) = found.remarks
    assert remark.code == "EC-641"
    assert "edgecompile toolchain install myriad" in remark.hints[0]
    preflight(found)


def test_with_the_toolchain_there_is_a_blob(resolved, monkeypatch):
    monkeypatch.setattr(OpenVinoBlobMyriad, "out_of_reach", lambda self, target: None)
    found = resolved()
    assert [emitter.id for emitter in found.emitters] == ["openvino-blob-myriad"]
    assert found.remarks == ()


def test_integers_become_half_precision_with_the_reason(resolved):
    found = resolved(recipe="openvino-int8")
    assert found.recipe.name == "myriad-fp16"
    remark = found.remarks[0]
    assert (remark.code, remark.severity.value) == ("EC-244", "warning")
    assert "no integer arithmetic" in remark.message
    assert resolved(recipe="openvino-fp16").recipe.name == "openvino-fp16"


def test_the_table_answers_where_the_plugin_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECOMPILE_TOOLCHAINS_DIR", str(tmp_path / "none"))
    b = Builder(opset=13)
    model = b.build({b.node("HardSigmoid", [b.input("x", [1, 4])]): [1, 4]})
    (found,) = OpenVinoBlobMyriad().supports(model, load_target("movidius-vpu"))
    assert (found.code, found.where.node) == ("EC-600", "hardsigmoid_0")
