"""Intel's NPU: what its compiler does not parse, where that runs, and IR where it is missing."""

from __future__ import annotations

import numpy as np

from edgecompile.driver.request import BuildRequest
from edgecompile.driver.resolve import resolve
from edgecompile.emitters import openvino_placement as placement
from edgecompile.emitters.openvino import OpenVinoIr
from edgecompile.emitters.openvino_npu import OpenVinoBlobNpu
from edgecompile.ir.facts import all_nodes, constant_array
from edgecompile.store.store import Store
from edgecompile.targets.catalogue import load_target
from edgecompile.vendor.openvino.npu import npu_compiler
from tests.support.builds import DIGITS, RememberingSink, run_build
from tests.support.models import Builder

TARGET = load_target("core-ultra")


def test_what_the_compiler_does_not_parse_runs_elsewhere_and_is_told(tmp_path):
    b = Builder(opset=17)
    x = b.node("Relu", [b.input("x", [1, 4, 4])])
    model = b.build({x: [1, 4, 4]})
    assert placement.asked(model, TARGET) == []
    operators = {"Parameter": ["x"], "Relu": ["relu"], "SearchSorted": ["a", "b"]}
    # these are written out before the compiler parses
    operators |= {"Slice": ["s"], "Einsum": ["e"], "ScaledDotProductAttention": ["d"]}
    found = placement.elsewhere(operators, TARGET)
    assert [(f.node, f.op) for f in found] == [("a", "SearchSorted"), ("b", "SearchSorted")]
    (remark,) = placement.remarks(found, TARGET)
    assert remark.code == "EC-618"
    assert "the GPU or CPU (device 'HETERO')" in remark.message
    assert placement.device(found, TARGET) == "HETERO:NPU,GPU,CPU"
    assert placement.device([], TARGET) == "NPU"


def test_a_fixed_number_of_tiles_is_warned_about():
    b = Builder(opset=17)
    model = b.build({b.node("Relu", [b.input("x", [1, 4])]): [1, 4]})
    (found,) = OpenVinoBlobNpu(tiles=6).supports(model, load_target("lunar-lake-npu"))
    assert (found.code, found.severity.value) == ("EC-645", "warning")


def test_without_the_compiler_there_is_ir_and_the_device_compiles_it(tmp_path):
    sink = RememberingSink()
    request = BuildRequest(
        model=DIGITS, target="core-ultra", output=tmp_path / "out", calibration="random:4"
    )
    found = resolve(request, Store(tmp_path / "cache", sink.diagnostic), sink)
    formats = [emitter.id for emitter in found.emitters]
    if npu_compiler() is None:
        assert formats == ["openvino-ir"]
        assert found.remarks[0].code == "EC-641"
        kit = OpenVinoIr().kit(_artifact(), TARGET)
        assert kit.options == {"device": "NPU", "export": True}
    else:
        assert formats == ["openvino-blob-npu"]


def _artifact():
    from edgecompile.artifacts.types import Artifact

    return Artifact(path="", files=(), format="openvino-ir", sha256="", bytes=0, toolchain={})


def test_inputs_of_an_element_wise_operator_share_one_scale(tmp_path):
    result, _ = run_build(tmp_path, target="core-ultra")
    from edgecompile.ir import load

    model, seen = load(result.directory / "model.onnx"), 0
    for node in all_nodes(model):
        if node.op_type == "Add":
            scales = [
                constant_array(value.producer().inputs[1])
                for value in node.inputs
                if value.producer() is not None and value.producer().op_type == "DequantizeLinear"
            ]
            if len(scales) == 2:
                seen += 1
                np.testing.assert_array_equal(scales[0], scales[1])
    assert seen == 1
    assert all(isinstance(dim, int) for value in model.graph.graph.inputs for dim in value.shape)
