"""Saving is atomic and deterministic, and what is saved never depends on another place."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from edgecompile.diagnostics import EdgecompileError
from edgecompile.ir import Model, load, save, to_bytes
from edgecompile.ir.facts import constant_array
from tests.support.models import branches, feeds, run
from tests.support.protos import external, linear, model, value, weight, write


def _external_model(directory: Path, data: str = "weights.bin", name: str = "model.onnx") -> Path:
    """Two products with weights [64, 64] in one file, in the order second, first."""
    arrays = [weight(size=64, seed=seed) for seed in (1, 2)]
    (directory / data).write_bytes(arrays[1].raw_data + arrays[0].raw_data)
    sizes = 64 * 64 * 4
    weights = [
        external(weight("a", 64), location=data, offset=sizes, length=sizes),
        external(weight("b", 64), location=data, offset=0, length=sizes),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("MatMul", ["h", "b"], ["y"]),
    ]
    io = {"inputs": [value("x", ["N", 64])], "outputs": [value("y", ["N", 64])]}
    return write(model(nodes, weights=weights, **io), directory, name)


def _arrays(model: Model) -> list[np.ndarray]:
    found = [constant_array(model.graph.graph.initializers[name]) for name in ("a", "b")]
    return [array for array in found if array is not None]


EXPECTED = [onnx.numpy_helper.to_array(weight(size=64, seed=seed)) for seed in (1, 2)]


def _holds(model: Model) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(_arrays(model), EXPECTED, strict=True))


def test_external_weights_come_along(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    loaded = load(_external_model(source))
    digest = loaded.digest
    save(loaded, target / "model.onnx")
    for path in source.iterdir():
        path.unlink()
    assert [path.name for path in target.iterdir()] == ["model.onnx"]
    assert _holds(load(target / "model.onnx"))
    assert load(target / "model.onnx").digest == digest


@pytest.mark.parametrize("inline_bytes", [2**30, 1000])
def test_same_bytes_every_time_and_from_every_place(tmp_path: Path, inline_bytes: int) -> None:
    results = []
    for name in ("one", "two"):
        directory = tmp_path / name
        directory.mkdir()
        loaded = load(_external_model(directory))
        save(loaded, directory / "out.onnx", inline_bytes=inline_bytes)
        save(load(directory / "out.onnx"), directory / "again.onnx", inline_bytes=inline_bytes)
        results.append([path.read_bytes() for path in sorted(directory.glob("out.onnx*"))])
        assert load(directory / "again.onnx").digest == loaded.digest
    assert results[0] == results[1]
    assert len(results[0]) == (1 if inline_bytes > 1000 else 2)


def test_large_weights_go_beside_the_model(tmp_path: Path) -> None:
    loaded = load(_external_model(tmp_path))
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / "big.onnx"
    save(loaded, path, inline_bytes=1000)
    assert sorted(p.name for p in path.parent.iterdir()) == ["big.onnx", "big.onnx.data"]
    assert path.stat().st_size < 1000
    assert (path.parent / "big.onnx.data").stat().st_size == 2 * 64 * 64 * 4
    assert _holds(load(path))
    assert load(path).digest == loaded.digest
    onnx.checker.check_model(str(path))
    assert np.array_equal(
        onnx.numpy_helper.to_array(onnx.load(path).graph.initializer[0]), EXPECTED[0]
    )


def test_one_tensor_used_twice_is_written_once(tmp_path: Path) -> None:
    loaded = load(_external_model(tmp_path)).clone()
    initializers = loaded.graph.graph.initializers
    initializers["b"].const_value = initializers["a"].const_value
    save(loaded, tmp_path / "tied.onnx", inline_bytes=1000)
    assert (tmp_path / "tied.onnx.data").stat().st_size == 64 * 64 * 4
    again = load(tmp_path / "tied.onnx")
    assert all(np.array_equal(array, EXPECTED[0]) for array in _arrays(again))


@pytest.mark.parametrize("inline_bytes", [2**30, 1000])
@pytest.mark.parametrize("target", ["model.onnx", "weights.bin"])
def test_replacing_the_file_that_the_weights_lie_in(
    tmp_path: Path, target: str, inline_bytes: int
) -> None:
    loaded = load(_external_model(tmp_path))
    digest = load(tmp_path / "model.onnx").digest
    save(loaded, tmp_path / target, inline_bytes=inline_bytes)
    assert _holds(load(tmp_path / target))
    assert _holds(loaded)
    assert loaded.digest == digest


def test_replacing_its_own_data_file_with_another_layout(tmp_path: Path) -> None:
    """`out.onnx.data` holds b before a; saving writes a before b into the same name."""
    path = _external_model(tmp_path, data="out.onnx.data", name="out.onnx")
    loaded = load(path)
    for _ in range(3):
        save(loaded, path, inline_bytes=1000)
        assert _holds(loaded)
        assert _holds(load(path))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.onnx", "out.onnx.data"]


def test_another_loaded_model_notices_that_its_weights_are_gone(tmp_path: Path) -> None:
    path = _external_model(tmp_path, data="out.onnx.data", name="out.onnx")
    writer, reader = load(path), load(path)
    save(writer, path, inline_bytes=1000)
    with pytest.raises(EdgecompileError) as caught:
        reader.graph.graph.initializers["a"].const_value.numpy()
    assert caught.value.diagnostics[0].code == "EC-122"
    with pytest.raises(EdgecompileError):
        to_bytes(reader)
    (tmp_path / "out.onnx.data").unlink()
    with pytest.raises(EdgecompileError):
        _ = reader.digest


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        save(load(write(linear(), tmp_path)), tmp_path / "out.onnx")
    finally:
        os.umask(previous)
    assert (tmp_path / "out.onnx").stat().st_mode & 0o777 == 0o640


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    loaded = load(write(linear(), tmp_path))
    (tmp_path / "directory").mkdir()
    for path in (tmp_path / "missing" / "out.onnx", tmp_path / "directory"):
        with pytest.raises(EdgecompileError) as caught:
            save(loaded, path)
        assert caught.value.diagnostics[0].code == "EC-121"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["directory", "model.onnx"]


@pytest.fixture(params=range(8))
def failing_replace(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[int]:
    """The n-th rename of a save fails, as on a disk that went read-only."""
    calls = 0
    original = Path.replace

    def replace(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == request.param + 1:
            raise OSError(errno.EROFS, "Read-only file system")
        return original(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    yield request.param
    monkeypatch.undo()


def test_a_failed_save_leaves_the_old_files(tmp_path: Path, failing_replace: int) -> None:
    old = load(_external_model(tmp_path, data="out.onnx.data", name="out.onnx"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    try:
        save(old, tmp_path / "out.onnx", inline_bytes=1000)
    except EdgecompileError as error:
        assert error.diagnostics[0].code == "EC-121"
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
        assert failing_replace < 4
    else:
        assert failing_replace >= 4
    assert _holds(old)


def test_a_model_too_large_for_one_message(tmp_path: Path) -> None:
    shape = [1 << 15, 1 << 14]
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(2**31)
    big = external(weight(), location="w.bin", offset=0, length=2**31)
    big.dims[:] = shape
    io = {"inputs": [value("x", ["N", shape[0]])], "outputs": [value("y", ["N", shape[1]])]}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    with pytest.raises(EdgecompileError) as caught:
        to_bytes(load(write(model(nodes, weights=[big], **io), tmp_path)))
    assert caught.value.diagnostics[0].code == "EC-120"


def test_subgraphs_functions_and_metadata_survive(tmp_path: Path) -> None:
    before = branches()
    save(before, tmp_path / "b.onnx")
    after = load(tmp_path / "b.onnx")
    for left, right in zip(run(before, feeds(before)), run(after, feeds(after)), strict=True):
        np.testing.assert_array_equal(left, right)
    assert after.digest == before.digest
