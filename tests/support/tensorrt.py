"""Q/DQ models in TensorRT's form, each rule breakable; and programs that stand in for trtexec.

The stand-ins test the logic of `build.sh` alone: they write down their arguments and build nothing.
"""

from __future__ import annotations

import stat
from importlib.util import find_spec
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from edgecompile.ir import Model
from tests.support.models import Builder

needs_rtx = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None,
    reason="TensorRT-RTX is not installed: edgecompile[tensorrt-rtx]",
)


def qdq_net(
    *,
    scale_shape: tuple[int, ...] = (),
    zero_point: int = 0,
    activation: type = np.int8,
    conv_axis: int = 0,
    pair_data: bool = True,
    pair_weight: bool = True,
    bias_pair: bool = False,
    gemm_transposed: bool = True,
    gemm_axis: int | None = None,
    batch: int | str = 1,
    opset: int = 19,
    tail: bool = False,
) -> Model:
    """`x [batch, 16, 8, 8]`: a 3x3 Conv with Relu, and a Gemm of 32 to 10.

    With `tail` a MatMul in float behind it.
    """
    b = Builder(seed=3, opset=opset)

    def pair(x: str) -> str:
        scale = b.constant(np.full(scale_shape, 0.05, np.float32))
        zero = b.constant(np.full(scale_shape, zero_point, activation))
        return b.node("DequantizeLinear", [b.node("QuantizeLinear", [x, scale, zero]), scale, zero])

    def weight(shape: tuple[int, ...], axis: int) -> str:
        if not pair_weight:
            return b.random(*shape, scale=0.05)
        integers = b.constant(b.rng.integers(-127, 128, shape).astype(np.int8))
        scales = b.constant(np.full(shape[axis], 0.01, np.float32))
        zeros = b.constant(np.zeros(shape[axis], np.int8))
        return b.node("DequantizeLinear", [integers, scales, zeros], axis=axis)

    x = b.input("x", [batch, 16, 8, 8])
    inputs = [pair(x) if pair_data else x, weight((32, 16, 3, 3), conv_axis)]
    if bias_pair:
        stored = b.constant(b.rng.integers(-9, 9, 32).astype(np.int32))
        inputs.append(b.node("DequantizeLinear", [stored, b.constant(np.float32(0.001))]))
    y = b.node("Relu", [b.node("Conv", inputs, pads=[1, 1, 1, 1])])
    y = b.node("Flatten", [b.node("GlobalAveragePool", [y])])
    shape = (10, 32) if gemm_transposed else (32, 10)
    axis = (0 if gemm_transposed else 1) if gemm_axis is None else gemm_axis
    y = pair(y) if pair_data else y
    y = b.node("Gemm", [y, weight(shape, axis)], transB=int(gemm_transposed))
    if tail:
        y = b.node("MatMul", [y, b.random(10, 10)])
    return b.build({y: [batch, 10]}, ir_version=10)


def weights_4bit(block: int = 32, *, zero: bool = False, opset: int = 21) -> Model:
    """A MatMul of 256 x 64 with INT4 weights in blocks along its inputs."""
    b = Builder(seed=1, opset=opset)
    x = b.input("x", [4, 256])
    stored = b.constant(b.rng.integers(-7, 8, (256, 64)).astype(ml_dtypes.int4))
    inputs = [stored, b.constant(np.full((256 // block, 64), 0.1, np.float32))]
    if zero:
        inputs.append(b.constant(np.ones((256 // block, 64), ml_dtypes.int4)))
    w = b.node("DequantizeLinear", inputs, axis=0, block_size=block)
    return b.build({b.node("MatMul", [x, w]): [4, 64]}, ir_version=10)


def stand_in(
    folder: Path,
    version: str,
    *,
    fails: bool = False,
    silent: bool = False,
    stale: bool = False,
    half_ms: float = 2.5,
) -> Path:
    """A `trtexec` that prints the banner of `version` and writes its arguments to `arguments`.

    Its engines take 1.25 ms, those called `fp16` take `half_ms`, `fp32` 3.5 ms. A `stale` one ends
    with an error where a timing cache is there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "trtexec"
    banner = "" if silent else f"&&&& RUNNING TensorRT.trtexec [TensorRT v{version}] # trtexec"
    end = "echo 'Error: no kernel' >&2; exit 1" if fails else "exit 0"
    path.write_text(
        f"""#!/bin/sh
echo '{banner}'
[ "$1" = --help ] && exit 0
median=1.25
for argument in "$@"; do
  printf '%s\\n' "$argument" >> '{folder}/arguments'
  case "$argument" in --saveEngine=*) printf engine > "${{argument#--saveEngine=}}";;
    --timingCacheFile=*) {"[ ! -e ${argument#--timingCacheFile=} ] || exit 1" if stale else ":"};;
    --loadEngine=*/fp32.part) median=3.5;; --loadEngine=*/fp16.part) median={half_ms};; esac
done
echo '[I] GPU Compute Time: min = 1.1 ms, max = 1.9 ms, mean = 1.3 ms, median = '"$median"' ms'
{end}
"""
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def arguments(folder: Path) -> list[str]:
    """What the stand-in in `folder` was called with."""
    return (folder / "arguments").read_text().splitlines()
