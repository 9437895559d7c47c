"""Every mistake a user can make has a code and an exit of its own, and destroys nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper as onh
import pytest

from edgecompile.diagnostics import EdgecompileError, ExitCode
from tests.support.builds import DIGITS, DIGITS_DATA, digests, run_build

DATA = DIGITS_DATA / "calibration.npz"


@dataclass(frozen=True)
class Case:
    """Options that make the mistake, and what must come of it."""

    options: Callable[[Path], dict[str, Any]]
    code: str
    exit_code: ExitCode
    says: str


def model_with_nan(directory: Path) -> Path:
    model = onnx.load(DIGITS)
    weight = max(model.graph.initializer, key=lambda t: int(np.prod(t.dims)))
    array = onh.to_array(weight).copy()
    array.flat[0] = np.nan
    weight.CopyFrom(onh.from_array(array, weight.name))
    onnx.save(model, directory / "nan.onnx")
    return directory / "nan.onnx"


def custom_operator(directory: Path) -> Path:
    graph = oh.make_graph(
        [oh.make_node("Wavelet", ["x"], ["y"], domain="my.company", name="wave")],
        "custom",
        [oh.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4])],
        [oh.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4])],
    )
    imports = [oh.make_opsetid("", 17), oh.make_opsetid("my.company", 1)]
    onnx.save(oh.make_model(graph, opset_imports=imports, ir_version=9), directory / "c.onnx")
    return directory / "c.onnx"


def samples() -> tuple[str, np.ndarray]:
    with np.load(DATA) as stored:
        (name,) = stored.files
        return name, stored[name]


def data(directory: Path, change: Callable[[np.ndarray], np.ndarray], name: str = "") -> str:
    own, array = samples()
    np.savez(directory / "data.npz", **{name or own: change(array.copy())})
    return str(directory / "data.npz")


def with_nan(array: np.ndarray) -> np.ndarray:
    array[0].flat[0] = np.nan
    return array


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def recipe(directory: Path, text: str) -> str:
    return str(written(directory / "mine.yaml", f"schema: edgecompile/recipe@1\n{text}".encode()))


def nowhere(directory: Path) -> Path:
    """A place where even root cannot make a folder."""
    return Path("/proc/out") if sys.platform == "linux" else directory / "file" / "out"


STEPS = "name: mine\ndescription: x\nsteps:\n"
USAGE, REJECTED = ExitCode.USAGE, ExitCode.REJECTED

CASES = {
    "missing model": Case(lambda d: {"model": d / "no.onnx"}, "EC-101", USAGE, "does not exist"),
    "model is a directory": Case(lambda d: {"model": d}, "EC-102", USAGE, "is a directory"),
    "empty model": Case(
        lambda d: {"model": written(d / "e.onnx", b"")}, "EC-104", REJECTED, "empty"
    ),
    "not ONNX": Case(
        lambda d: {"model": written(d / "t.onnx", b"{'json': true}")}, "EC-105", REJECTED, "t.onnx"
    ),
    "truncated": Case(
        lambda d: {"model": written(d / "h.onnx", DIGITS.read_bytes()[:5000])},
        "EC-106",
        REJECTED,
        "h.onnx",
    ),
    "NaN in weights": Case(lambda d: {"model": model_with_nan(d)}, "EC-116", REJECTED, "1 NaN"),
    "custom operator": Case(
        lambda d: {"model": custom_operator(d)}, "EC-115", REJECTED, "my.company::Wavelet"
    ),
    "unknown target": Case(lambda d: {"target": "intel-nux"}, "EC-201", USAGE, "'intel-nux'"),
    "unknown recipe": Case(
        lambda d: {"recipe": "openvino-int9"}, "EC-230", USAGE, "'openvino-int9'"
    ),
    "misspelt recipe key": Case(
        lambda d: {"recipe": recipe(d, "budgests: []\n" + STEPS + "  - pass: simplify\n")},
        "EC-233",
        USAGE,
        "'budgests'",
    ),
    "misspelt pass": Case(
        lambda d: {"recipe": recipe(d, STEPS + "  - pass: simplfy\n")}, "EC-235", USAGE, "'simplfy'"
    ),
    "misspelt step in --set": Case(
        lambda d: {"overrides": ("calibrat.samples=8",)}, "EC-241", USAGE, "'calibrat'"
    ),
    "misspelt option in --set": Case(
        lambda d: {"overrides": ("calibrate.smaples=8",)}, "EC-242", USAGE, "'smaples'"
    ),
    "bad value in --set": Case(
        lambda d: {"overrides": ("calibrate.samples=none",)}, "EC-243", USAGE, "samples"
    ),
    "no such metric": Case(
        lambda d: {"budgets": ("cosin>=0.9",)}, "EC-250", USAGE, "did you mean 'cosine'?"
    ),
    "no budget": Case(lambda d: {"budgets": ("cosine",)}, "EC-250", USAGE, "'cosine'"),
    "no data": Case(lambda d: {"calibration": None}, "EC-300", USAGE, "'calibrate'"),
    "data not found": Case(lambda d: {"calibration": str(d / "photos")}, "EC-301", USAGE, "photos"),
    "empty directory": Case(lambda d: {"calibration": str(d)}, "EC-303", USAGE, "no samples"),
    "another input name": Case(
        lambda d: {"calibration": data(d, lambda a: a, "imgae")}, "EC-310", USAGE, "'imgae'"
    ),
    "another shape": Case(
        lambda d: {"calibration": data(d, lambda a: np.tile(a, (1, 1, 2, 2)))},
        "EC-311",
        USAGE,
        "has shape",
    ),
    "another type": Case(
        lambda d: {"calibration": data(d, lambda a: a.astype(np.int64))}, "EC-313", USAGE, "int64"
    ),
    "NaN in data": Case(lambda d: {"calibration": data(d, with_nan)}, "EC-314", USAGE, "NaN"),
    "too few samples": Case(
        lambda d: {"calibration": data(d, lambda a: a[:1])}, "EC-316", USAGE, "1 different sample"
    ),
    "read-only output": Case(lambda d: {"output": nowhere(d)}, "EC-711", USAGE, "cannot write"),
    "dump in a place that cannot be": Case(
        lambda d: {"dump_ir": nowhere(d)}, "EC-711", USAGE, "cannot write"
    ),
    "output is a file": Case(
        lambda d: {"output": written(d / "file", b"mine")}, "EC-712", USAGE, "is a file"
    ),
    "output holds other files": Case(lambda d: {"output": d}, "EC-710", USAGE, "mine.txt"),
}


@pytest.mark.parametrize("name", CASES)
def test_each_mistake_has_its_code(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    options = case.options(inputs)
    if name == "output holds other files":
        written(inputs / "mine.txt", b"mine")
    before = digests(inputs)
    with pytest.raises(EdgecompileError) as caught:
        run_build(tmp_path, **options)
    found = caught.value.diagnostics
    assert case.code in {d.code for d in found}
    assert case.says in " ".join(d.message for d in found if d.code == case.code)
    assert caught.value.exit_code is case.exit_code
    assert all(d.hints and d.why for d in found)
    assert digests(inputs) == before
    left = {p.name for p in tmp_path.iterdir()} - {"inputs", "cache"}
    assert left == set()


def test_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    overrides = ("calibrat.samples=8", "quantize_static.wieghts=int8")
    with pytest.raises(EdgecompileError) as caught:
        run_build(tmp_path, overrides=overrides)
    assert [d.code for d in caught.value.diagnostics] == ["EC-241", "EC-242"]


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    result, sink = run_build(tmp_path, cache_dir=tmp_path / "file" / "cache")
    assert result.exit_code is ExitCode.OK
    assert [d.code for d in sink.diagnostics if d.code.startswith("EC-7")] == ["EC-701"]
