"""NNCF as a pass: an OpenVINO model comes out, by the target's facts, and always the same one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from edgecompile.diagnostics import EdgecompileError
from edgecompile.emitters.openvino import OpenVinoIr
from edgecompile.ir import Model
from edgecompile.passes.base import Context, Outcome
from edgecompile.passes.quantize.nncf_quantize import NncfQuantize, has_attention
from edgecompile.targets.catalogue import load_target
from edgecompile.targets.schema import OpenVino, Saturation
from edgecompile.vendor import extras
from edgecompile.verify import verify
from tests.support import models
from tests.support.models import Builder
from tests.support.samples import Samples, samples_for

NUC = load_target("intel-nuc")


def target(saturation: Saturation):
    style = NUC.quantization.model_copy(update={"saturation": saturation})
    return NUC.model_copy(update={"quantization": style})


NEVER, SOME = target(Saturation.NEVER), target(Saturation.SOME)


def quantize(model: Model, workdir: Path, device=SOME, data=None, progress=None, **options):
    context = Context(
        target=device, data=data or samples_for(model, 6), workdir=workdir, progress=progress
    )
    return NncfQuantize(**options).run(model, context)


def peak_weight(outcome: Outcome) -> int:
    """The largest integer weight of the model that NNCF has made."""
    ir = ov.Core().read_model(outcome.artifact)
    constants = [node for node in ir.get_ops() if node.get_type_name() == "Constant"]
    integers = [c.get_data() for c in constants if c.get_element_type() == ov.Type.i8]
    return max(int(np.abs(data.astype(np.int16)).max()) for data in integers)


def test_the_result_is_an_openvino_model_that_computes_nearly_the_same(tmp_path):
    model = models.conv_bn_relu()
    seen: list[tuple[int, int]] = []
    outcome = quantize(model, tmp_path / "work", progress=lambda *at: seen.append(at))
    assert outcome.model is model
    assert not outcome.changed
    assert (6, 6) in seen
    assert "NNCF placed" in outcome.notes[0].message
    out = tmp_path / "out"
    artifact = OpenVinoIr().emit(model, SOME, out, outcome.artifact)
    assert set(artifact.toolchain) == {"openvino", "nncf"}
    result = verify(
        original=model,
        quantized=None,
        artifact=artifact,
        directory=out,
        target=SOME,
        data=samples_for(model),
        time_it=False,
    )
    assert result.diagnostics == ()
    assert result.integer_macs == 1.0
    for stage in result.judged:
        assert result.stages[stage].outputs["gemm_8_out"].sqnr_db > 20


def test_the_targets_facts_decide_about_overflow(tmp_path):
    model = models.conv_bn_relu()
    safe = quantize(model, tmp_path / "some", SOME)
    full = quantize(model, tmp_path / "never", NEVER)
    forced = quantize(model, tmp_path / "forced", NEVER, overflow_fix="enable")
    assert peak_weight(safe) <= 64 < peak_weight(full)
    assert peak_weight(forced) <= 64


def test_two_runs_give_the_same_bytes(tmp_path, monkeypatch):
    model = models.residual()
    first = quantize(model, tmp_path / "a").artifact
    monkeypatch.chdir(tmp_path)
    second = quantize(model, Path("b")).artifact
    for suffix in (".xml", ".bin"):
        content = first.with_suffix(suffix).read_bytes()
        assert content == second.with_suffix(suffix).read_bytes()
        assert str(tmp_path).encode() not in content
    assert sorted(p.name for p in first.parent.iterdir()) == ["model.bin", "model.xml"]
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["nncf"]


def test_a_transformer_with_dynamic_length_and_integer_input(tmp_path):
    model = models.attention()
    data = Samples(feeds=[models.feeds(model, 1, seed=i, L=3 + i % 3) for i in range(4)])
    outcome = quantize(model, tmp_path, data=data, smooth_quant_alpha=0.5)
    assert "(transformer, overflow fix: enable)" in outcome.notes[0].message


def test_attention_is_recognised_and_nothing_else():
    assert [name for name, build in models.ALL.items() if has_attention(build())] == ["attention"]
    b = Builder()
    scores = b.node("Softmax", [b.linear(b.input("x", ["N", 16]), 16, 4)])
    assert not has_attention(b.build({b.linear(scores, 4, 2): ["N", 2]}))


@pytest.mark.parametrize(
    ("openvino", "reason"),
    [
        (None, "the target declares no 'openvino'"),
        (OpenVino(device="MYRIAD"), "NNCF has no rules for OpenVINO's device MYRIAD"),
        (OpenVino(device="GPU"), None),
    ],
)
def test_targets_that_nncf_does_not_know_are_refused(openvino, reason):
    device = NUC.model_copy(update={"openvino": openvino})
    assert NncfQuantize().unfit(device) == ([reason] if reason else [])


def test_a_missing_nncf_is_told_before_any_work(monkeypatch):
    monkeypatch.setitem(
        extras.EXTRAS,
        "openvino",
        extras.Extra(name="openvino", distributions=("not-here",), module="x", purpose=""),
    )
    problems = NncfQuantize().requires(models.mlp(), Context(target=SOME))
    assert [p.code for p in problems] == ["EC-500"]


def test_a_model_without_anything_to_quantize_is_told(tmp_path):
    b = Builder()
    model = b.build({b.node("Sigmoid", [b.input("x", ["N", 4])]): ["N", 4]})
    with pytest.raises(EdgecompileError, match="EC-514: nncf gave no usable result: it quantized"):
        quantize(model, tmp_path)


def test_a_failure_of_nncf_is_one_error(tmp_path):
    model = models.mlp()
    wrong = Samples(feeds=[{"x": np.zeros((1, 3), np.float32)}])
    with pytest.raises(EdgecompileError, match="EC-510: nncf failed: ") as caught:
        quantize(model, tmp_path, data=wrong)
    assert "Traceback" in caught.value.details
    assert list(tmp_path.rglob("*.xml")) == []
