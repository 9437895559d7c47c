"""`analyze`: a layer made bad on purpose comes first, with the reason; nothing of a vendor runs."""

import pytest

from edgecompile.diagnostics import EdgecompileError
from edgecompile.driver.analyze import analyze, shortened
from edgecompile.driver.resolve import resolve
from edgecompile.ir import save
from edgecompile.store.store import Store
from tests.support.builds import RememberingSink, request
from tests.support.data import npz_for
from tests.support.hard import chain

OVERFLOW = ("quantize_static.overflow=ignore", "calibrate.method=minmax")
# the default recipe would heal the layer that is made bad
ROUGH = (*OVERFLOW, "smooth_quant.gain=1000000")


def of_chain(tmp_path, bad, **changes):
    """The analysis of `chain(bad)`."""
    model, path = chain(bad), tmp_path / "chain.onnx"
    save(model, path)
    npz_for(model, tmp_path / "data.npz", samples=12)
    values = {"model": path, "calibration": str(tmp_path / "data.npz"), "overrides": ROUGH}
    return analyze(request(tmp_path, **{**values, **changes}), RememberingSink(), samples=2)


def test_the_layer_that_was_made_bad_comes_first_with_the_reason(tmp_path):
    found = of_chain(tmp_path, bad=(3,))
    worst, *others = found["layers"]
    assert len(others) == 5
    assert worst["layer"] == "conv_8"
    assert worst["noise_share"] > 0.9
    assert worst["alone_db"] < others[0]["alone_db"] - 10
    assert worst["input"]["channel_ratio"] > 500
    assert any("narrow channels" in why for why in worst["why"])
    assert worst["helps"] == ["smooth_quant", "quantize_static.keep_float=[conv_8]"]
    assert not any("narrow" in why for layer in others for why in layer["why"])
    assert worst["widths"]["int8"] == worst["alone_db"]
    assert worst["widths"]["int16"] > worst["alone_db"] + 20
    assert "int8" not in worst["takes"]
    assert all("int8" in layer["takes"] for layer in others)


def test_shares_add_up_and_layers_are_ranked(tmp_path):
    found = of_chain(tmp_path, bad=())
    layers = found["layers"]
    assert sum(layer["noise_share"] for layer in layers) == pytest.approx(1, abs=1e-4)
    assert sum(layer["macs_share"] for layer in layers) == pytest.approx(1, abs=1e-4)
    assert {layer["macs"] for layer in layers} == {8 * 8 * 6 * 6, 8 * 8 * 3 * 3}
    alone = [layer["alone_db"] for layer in layers]
    assert alone == sorted(alone)
    assert found["samples"] == 2
    assert found["schema"] == "edgecompile/analysis@1"


def test_passes_come_from_the_cache_and_the_document_stays(tmp_path):
    first, second = RememberingSink(), RememberingSink()
    asked = request(tmp_path)
    found = analyze(asked, first)
    assert analyze(asked, second) == found
    assert "calibrate" in first.ran
    assert second.ran == ["analyze"]
    assert "analyze" in first.steps_in_progress
    assert found["layers"]


def test_it_needs_no_toolchain_of_the_target(tmp_path):
    sink = RememberingSink()
    resolved = resolve(request(tmp_path), Store(tmp_path / "cache", sink.diagnostic), sink)
    assert {emitter.extra for emitter in resolved.emitters} == {"openvino"}
    short = shortened(resolved)
    assert short.emitters == ()
    assert {step.operation.extra for step in short.recipe.steps} == {None}


def test_steps_that_raise_layers_are_left_out(tmp_path):
    recipe = tmp_path / "mine.yaml"
    passes = ("convert_opset", "calibrate", "quantize_static", "keep_precision")
    steps = "\n".join(f"  - pass: {name}" for name in passes)
    recipe.write_text(f"schema: edgecompile/recipe@1\nname: mine\nsteps:\n{steps}\n")
    found = of_chain(tmp_path, bad=(3,), recipe=str(recipe), overrides=OVERFLOW)
    assert found["steps"] == ["convert_opset", "calibrate", "quantize_static"]
    assert len(found["layers"]) == 6


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"recipe": "openvino-int8-nncf"}, "EC-447"),
        ({"calibration": None}, "EC-300"),
        ({"calibration": None, "recipe": "openvino-int8-weights"}, "EC-300"),
    ],
)
def test_what_cannot_be_analyzed_is_said(tmp_path, changes, code):
    with pytest.raises(EdgecompileError) as caught:
        analyze(request(tmp_path, **changes), RememberingSink())
    assert caught.value.diagnostics[0].code == code


def test_weights_alone_are_layers_too(tmp_path):
    found = analyze(request(tmp_path, recipe="openvino-int8-weights"), RememberingSink())
    assert found["layers"]
    assert all(layer["weights"] is not None for layer in found["layers"])
