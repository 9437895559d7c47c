"""Quantizers in isolated environments: what goes in, and what is accepted of what comes out.

The real vendors run in `make test-vendors`; here a tiny environment plays their part.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import pytest

from edgecompile.diagnostics import EdgecompileError
from edgecompile.ir import to_bytes
from edgecompile.passes.base import Context
from edgecompile.passes.quantize import outside
from edgecompile.passes.quantize.aimet_quantize import AimetQuantize
from edgecompile.passes.quantize.onc_quantize import OncQuantize
from edgecompile.passes.quantize.outside import OutsidePass
from edgecompile.targets.catalogue import load_target
from edgecompile.vendor.toolchains.install import install
from tests.support import models
from tests.support.cli import ROOT, run
from tests.support.samples import samples_for
from tests.support.toolchains import register, toolchain

NUC = load_target("intel-nuc")

JOB = """
import json, pathlib, shutil
def quantize(payload, session):
    pathlib.Path({seen!r}).write_text(json.dumps(payload))
    for path in [payload["model"], *payload["samples"]]:
        assert pathlib.Path(path).is_file()
    if {made!r}:
        shutil.copyfile({made!r}, payload["output"])
    return {{}}
"""


class Tiny(OutsidePass):
    """A pass of the tiny toolchain."""

    id: ClassVar[str] = "tiny_quantize"

    toolchain: ClassVar[str | None] = "tiny"

    def run(self, model, context):
        return self._quantize(model, context, task_file="job.py", options={"depth": 3})


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("environment")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGECOMPILE_TOOLCHAINS_DIR", str(folder / "root"))
        register(patch, folder, toolchain())
        install(toolchain(), told=lambda _: None)
        yield folder


@pytest.fixture
def answer(environment, tmp_path, monkeypatch):
    """Run the pass on a model, the tool writing the given one."""

    def give(model, made: onnx.ModelProto | bytes | None):
        path = tmp_path / "made.onnx"
        if made is not None:
            content = made if isinstance(made, bytes) else made.SerializeToString()
            path.write_bytes(content)
        seen = str(tmp_path / "seen.json")
        job = tmp_path / "job.py"
        job.write_text(JOB.format(seen=seen, made=str(path) if made is not None else ""))
        monkeypatch.setattr(outside, "task", lambda file, name: f"{tmp_path / file}:{name}")
        context = Context(target=NUC, data=samples_for(model, 3), workdir=tmp_path / "work")
        assert Tiny().requires(model, context) == []
        return Tiny().run(model, context)

    return give


def quantized(model, domain: str = "") -> onnx.ModelProto:
    """`model` with a pair at its first input, as a vendor would write it."""
    proto = onnx.load_model_from_string(to_bytes(model))
    name = proto.graph.input[0].name
    for node in proto.graph.node:
        node.input[:] = ["dq" if i == name else i for i in node.input]
    tensors = [("s", np.float32(0.1)), ("z", np.uint8(128))]
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(value), key) for key, value in tensors
    )
    pair = [
        onnx.helper.make_node("QuantizeLinear", [name, "s", "z"], ["q"], domain=domain),
        onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["dq"], domain=domain),
    ]
    nodes = [*pair, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    proto.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    proto.producer_name = "acme"
    return proto


def test_the_tool_gets_files_and_its_model_comes_back_clean(answer, tmp_path):
    model = models.mlp()
    outcome = answer(model, quantized(model, domain="com.microsoft"))
    assert outcome.changed
    census = models.operators(outcome.model)
    assert census.count("QuantizeLinear") == census.count("DequantizeLinear") == 1
    assert outcome.model.graph.opset_imports == model.graph.opset_imports
    assert outcome.model.graph.producer_name == model.graph.producer_name
    assert outcome.model.origin == model.origin
    assert outcome.notes[0].message == "tiny placed 2 Q and DQ nodes"
    feeds = models.feeds(model)
    (actual,), (expected,) = models.run(outcome.model, feeds), models.run(model, feeds)
    assert 0 < np.abs(actual - expected).max() < 0.5
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert (len(seen["samples"]), seen["options"]) == (3, {"depth": 3})
    assert [p.name for p in (tmp_path / "work").iterdir()] == ["made"]


def refusal(answer, model, made) -> str:
    with pytest.raises(EdgecompileError, match="EC-514: tiny gave no usable result") as caught:
        answer(model, made)
    return str(caught.value)


def test_what_cannot_be_used_is_refused(answer):
    model = models.mlp()
    float_one = onnx.load_model_from_string(to_bytes(model))
    assert "it quantized nothing" in refusal(answer, model, float_one)
    assert "'model.onnx' is missing" in refusal(answer, model, None)
    assert "its model is refused" in refusal(answer, model, b"garbage")
    renamed = quantized(model)
    last = next(n for n in renamed.graph.node if n.output[0] == renamed.graph.output[0].name)
    renamed.graph.output[0].name = last.output[0] = "other"
    assert "outputs are not those" in refusal(answer, model, renamed)
    own = quantized(model)
    own.graph.node.append(onnx.helper.make_node("Secret", ["q"], ["s2"], domain="com.microsoft"))
    assert "operators that only it knows: com.microsoft::Secret" in refusal(answer, model, own)


def test_a_quantized_model_is_not_quantized_again(answer, environment):
    model = models.mlp()
    twice = answer(model, quantized(model)).model
    assert [d.code for d in Tiny().requires(twice, Context(target=NUC))] == ["EC-443"]


@pytest.mark.parametrize("kind", [AimetQuantize, OncQuantize])
def test_targets_that_a_tool_cannot_serve_are_refused(kind):
    assert kind().unfit(NUC) == []
    assert kind().unfit(NUC.model_copy(update={"quantization": None}))
    style = NUC.quantization.model_copy(update={"power_of_two_scales": True})
    assert "it has no power-of-two scales" in kind().unfit(
        NUC.model_copy(update={"quantization": style})
    )


@pytest.mark.parametrize(("tool", "recipe"), [("aimet", "aimet"), ("neural-compressor", "onc")])
def test_a_build_without_the_toolchain_fails_before_any_work(
    capsys, tmp_path, monkeypatch, tool, recipe
):
    monkeypatch.setenv("EDGECOMPILE_TOOLCHAINS_DIR", str(tmp_path / "none"))
    data = ROOT / "calibration_data/digits/calibration.npz"
    arguments = ["--recipe", f"openvino-int8-{recipe}", "-c", data, "-o", tmp_path / "out"]
    ran = run(
        capsys, "build", ROOT / "examples/digits/model.onnx", "-t", "intel-nuc", *arguments,
        "--cache-dir", tmp_path / "cache",
    )  # fmt: skip
    assert ran.code == 3
    assert "error[EC-520]" in ran.err
    assert f"edgecompile toolchain install {tool}" in ran.err
    assert "simplify" not in ran.err
    assert not Path(tmp_path / "out").exists()
