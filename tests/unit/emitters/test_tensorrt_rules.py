"""Every rule of TensorRT's quantization: broken once, it is told with its code before any build."""

from __future__ import annotations

import numpy as np
import pytest

from edgecompile.emitters.tensorrt_rules import quantization_problems
from edgecompile.ir.qdq import integer_products
from edgecompile.targets.catalogue import load_target
from edgecompile.targets.stacks import with_release
from tests.support import models
from tests.support.models import Builder
from tests.support.tensorrt import qdq_net, weights_4bit

ORIN, NANO, T4, A100, RTX = (
    load_target(name) for name in ("jetson-orin", "jetson-nano", "egx-t4", "egx-a100", "rtx-pc")
)


def codes(model, target=ORIN):
    return sorted({d.code for d in quantization_problems(model, target)})


def with_type(kind) -> models.Model:
    """A model that casts its input to `kind` and back."""
    import onnx

    b = Builder(opset=19)
    there = b.node("Cast", [b.input("x", [4])], to=kind)
    return b.build({b.node("Cast", [there], to=onnx.TensorProto.FLOAT): [4]}, ir_version=10)


def test_the_form_that_tensorrt_wants_has_no_problems():
    for target in (ORIN, T4, A100, RTX, with_release(ORIN, "jetpack", "5.1")):
        assert codes(qdq_net(), target) == []
    assert [name.split("_")[0] for name in integer_products(qdq_net())] == ["conv", "gemm"]
    assert codes(qdq_net(gemm_transposed=False)) == []


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ({"scale_shape": (1,)}, "EC-690"),
        ({"zero_point": 3}, "EC-691"),
        ({"activation": np.uint8}, "EC-692"),
        ({"activation": np.int16, "opset": 21}, "EC-692"),
        ({"conv_axis": 1}, "EC-693"),
        ({"gemm_axis": 1}, "EC-693"),
        ({"gemm_axis": 0, "gemm_transposed": False}, "EC-693"),
        ({"bias_pair": True}, "EC-694"),
        ({"pair_data": False}, "EC-695"),
        ({"pair_weight": False}, "EC-695"),
    ],
)
def test_each_broken_rule_has_its_code(broken, code):
    assert codes(qdq_net(**broken)) == [code]


def test_maxwell_has_no_int8():
    found = quantization_problems(qdq_net(opset=13), NANO)
    assert [d.code for d in found] == ["EC-697"]
    assert "6.1" in found[0].message
    assert "5.3" in found[0].message


def test_weights_in_4_bits_need_blocks_no_zero_points_a_gpu_and_a_release():
    assert codes(weights_4bit(), A100) == []
    assert codes(weights_4bit(), RTX) == []
    assert codes(weights_4bit(256), A100) == ["EC-698"]
    assert codes(weights_4bit(zero=True), A100) == ["EC-691"]
    assert codes(weights_4bit(), T4) == ["EC-697"]
    assert "EC-697" in codes(weights_4bit(), with_release(ORIN, "jetpack", "5.1"))


def test_fp8_and_bf16_need_newer_gpus():
    import onnx

    bf16, fp8 = (with_type(k) for k in (onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT8E4M3FN))
    assert codes(bf16, A100) == codes(bf16, RTX) == []
    assert codes(bf16, T4) == codes(fp8, A100) == codes(fp8, RTX) == ["EC-697"]
    ada = RTX.tensorrt.model_copy(update={"compute_capabilities": ("8.9", "12.0")})
    assert codes(fp8, RTX.model_copy(update={"tensorrt": ada})) == []


def test_a_float_model_breaks_nothing():
    assert codes(models.conv_bn_relu()) == []
    assert integer_products(models.conv_bn_relu()) == ()
