"""No two weights that meet in a 16-bit sum can overflow it: by number, and on real kernels."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecompile.ir import save
from edgecompile.passes.base import Context
from edgecompile.passes.quantize.affine import integer_type
from edgecompile.passes.quantize.gptq import Gptq
from edgecompile.passes.quantize.weights import PAIR_LIMIT, weight_reach
from edgecompile.targets.schema import Saturation
from tests.support.models import Builder, feeds
from tests.support.quantized import exact, quantized, stored_weights, target, worst_pair
from tests.support.samples import Samples

SAFE = 128
FEATURES = np._core._multiarray_umath.__cpu_features__


def heavy(b: Builder, *shape: int) -> str:
    """Weights with a long tail, as clipping by error meets them, mostly of one sign."""
    array = b.rng.standard_t(3, size=shape) + b.rng.choice([0.0, 1.0, 3.0])
    return b.constant(array.astype(np.float32))


@st.composite
def layers(draw):
    """One weighted operator of random shape."""
    b = Builder(seed=draw(st.integers(0, 10_000)))
    kind = draw(st.sampled_from(["Conv", "ConvTranspose", "MatMul", "stack", "left", "Gemm"]))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    size, out = draw(st.integers(1, 7)), draw(st.integers(1, 5))
    if kind == "Conv":
        k = draw(st.sampled_from([1, 2, 3]))
        x = b.input("x", ["N", size * groups, 5, 5])
        y = b.node(kind, [x, heavy(b, out * groups, size, k, k)], group=groups)
    elif kind == "ConvTranspose":
        x = b.input("x", ["N", size, 5, 5])
        y = b.node(kind, [x, heavy(b, size, out, 2, 2)])
    elif kind == "Gemm":
        x = b.input("x", ["N", size])
        y = b.node(kind, [x, heavy(b, out, size)], transB=1)
    elif kind == "left":
        x = b.input("x", ["N", size, 4])
        y = b.node("MatMul", [heavy(b, out, size), x])
    else:
        x = b.input("x", [3, "N", size])
        y = b.node("MatMul", [x, heavy(b, *([3] if kind == "stack" else []), size, out)])
    return b.build({y: None})


@settings(max_examples=120, deadline=None)
@given(layers(), st.sampled_from(["mse", "none"]), st.booleans())
def test_no_pair_can_overflow_after_rounding_to_nearest_and_after_gptq(model, clip, per_channel):
    inputs = feeds(model, batch=4)
    weights = target().quantization.weights.model_copy(update={"per_channel": per_channel})
    style = {"weights": weights}
    after = quantized(model, inputs, style=style, weight_clip=clip).model
    (stored,) = stored_weights(after)
    assert worst_pair(stored) <= SAFE
    given_all = Context(
        target=target(**style), data=Samples(feeds=[inputs]), reference=model
    )  # fmt: skip
    again = Gptq(samples=1).run(after, given_all).model
    (stored,) = stored_weights(again)
    assert worst_pair(stored) <= SAFE


def test_the_limit_is_that_of_signed_16_bits():
    assert 255 * SAFE <= 32767 < 255 * (SAFE + 1)
    assert int(PAIR_LIMIT) == SAFE


def large(groups: int = 1, channels: int = 16):
    """Convolution whose weights are all near the largest, of one sign; inputs are near 1."""
    b = Builder()
    x = b.input("x", ["N", channels, 6, 6])
    weight = b.constant(b.rng.uniform(0.8, 1.0, (16, channels // groups, 3, 3)))
    y = b.node("Conv", [x, weight], pads=[1] * 4, group=groups)
    return b.build({b.node("Relu", [y]): ["N", 16, 6, 6]})


@pytest.mark.parametrize("clip", ["none", "mse"])
def test_full_range_weights_overflow_in_number_and_ours_do_not(clip):
    (full,) = stored_weights(quantized(large(), overflow="ignore", weight_clip=clip).model)
    assert worst_pair(full) > 200
    outcome = quantized(large(), weight_clip=clip)
    (safe,) = stored_weights(outcome.model)
    assert 120 <= worst_pair(safe) <= SAFE
    (note,) = [note for note in outcome.notes if "saturate" in note.message]
    assert note.tensor == "c0"


def test_depthwise_kernels_keep_their_full_range_since_nothing_is_added():
    (depthwise,) = stored_weights(quantized(large(groups=16)).model)
    assert np.abs(depthwise.integers).max() == 127


def test_targets_that_cannot_saturate_keep_full_range():
    (full,) = stored_weights(quantized(large(), style={"saturation": Saturation.NEVER}).model)
    assert worst_pair(full) > 200
    forced = quantized(large(), style={"saturation": Saturation.NEVER}, overflow="avoid").model
    assert worst_pair(next(stored_weights(forced))) <= SAFE


def test_what_is_clipped_stays_clipped_when_the_scale_widens():
    """Enough weights that clipping two outliers pays, which are neighbours, so that it widens."""
    b = Builder()
    weight = b.rng.uniform(-3, 3, (20_000, 1))
    weight[:2, 0] = 10, 9.5
    y = b.node("MatMul", [b.input("x", ["N", 20_000]), b.constant(weight)])
    (stored,) = stored_weights(quantized(b.build({y: ["N", 1]})).model)
    assert stored.floats.max() < 9.2, "the outliers were not clipped"
    assert 120 <= worst_pair(stored) <= SAFE


SCRIPT = """
import sys
import numpy as np
import openvino as ov
core = ov.Core()
model = core.read_model(sys.argv[1])
compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
kinds = {op.get_rt_info()["layerType"].astype(str): op.get_rt_info()["runtimePrecision"].astype(str)
         for op in compiled.get_runtime_model().get_ops()}
assert kinds["Convolution"] in ("u8", "i8"), kinds
np.save(sys.argv[3], compiled(np.load(sys.argv[2]))[0])
"""


def on_kernels(model, x: np.ndarray, isa: str, folder: Path) -> np.ndarray:
    """Output of OpenVINO's CPU plugin with oneDNN's kernels up to `isa`."""
    paths = [folder / name for name in ("model.onnx", "x.npy", "y.npy")]
    save(model, paths[0])
    np.save(paths[1], x)
    subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, paths)],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": isa},
        check=True,
        timeout=120,
    )
    return np.load(paths[2])


@pytest.mark.parametrize("channels", [16, 1])
def test_real_kernels_without_vnni_give_the_same_bits_for_our_weights_only(tmp_path, channels):
    model = large(channels=channels)
    x = np.random.default_rng(0).uniform(0.9, 1.0, (1, channels, 6, 6)).astype(np.float32)
    found, wrong = {}, {}
    safe = quantized(model, {"x": x}).model
    full = quantized(model, {"x": x}, overflow="ignore").model
    for isa in ("AVX2", "AVX512_CORE", "ALL"):
        found[isa] = on_kernels(safe, x, isa, tmp_path)
        made = on_kernels(full, x, isa, tmp_path)
        (right,) = exact(full, {"x": x})
        wrong[isa] = float(np.abs(made - right).max() / right.max())
    assert np.array_equal(found["AVX2"], found["ALL"])
    assert np.array_equal(found["AVX512_CORE"], found["ALL"])
    (right,) = exact(safe, {"x": x})
    assert np.abs(found["ALL"] - right).max() <= 1e-5 * right.max()
    if platform.machine() in ("x86_64", "AMD64"):
        # the kernels of AVX2 pair up channels only, so a single one takes AVX-512 to go wrong
        assert wrong["AVX2"] > 0.05 or channels == 1
        assert wrong["AVX512_CORE"] > 0.05 or (channels == 1 and not FEATURES["AVX512_SKX"])
        # without VNNI the uncapped kernels saturate just the same
        assert wrong["ALL"] < 1e-5 or wrong["ALL"] in (wrong["AVX2"], wrong["AVX512_CORE"])


def test_the_clipping_found_does_not_depend_on_how_many_rows_are_looked_at(monkeypatch):
    rows = np.random.default_rng(0).standard_t(3, size=(37, 50)).astype(np.float32)
    rows[5] = 0
    whole = weight_reach(rows, 0, integer_type("int8"), clip="mse")
    monkeypatch.setattr("edgecompile.passes.quantize.weights.STRIP", 200)
    assert np.array_equal(weight_reach(rows, 0, integer_type("int8"), clip="mse"), whole)
    assert whole[5] == 0 and (whole <= np.abs(rows).max(axis=1)).all()
