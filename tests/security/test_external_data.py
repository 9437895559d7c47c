"""A model reads nothing but regular files in its own directory, however it asks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgecompile.diagnostics import EdgecompileError
from edgecompile.ir import Limits, load, save
from edgecompile.ir.facts import constant_array
from tests.support.protos import codes, external, linear, refusal, weight, write

DATA = weight().raw_data


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory for the model, with a secret of the right size next to it."""
    (tmp_path / "secret.bin").write_bytes(DATA)
    directory = tmp_path / "models" / "inner"
    directory.mkdir(parents=True)
    return directory


def _model(directory: Path, **fields: object) -> Path:
    return write(linear(external(weight(), **fields)), directory)


@pytest.mark.parametrize(
    "location",
    [
        "../../secret.bin",
        "sub/../../../secret.bin",
        "./../../secret.bin",
        "..",
        "a/..",
        "..\\..\\secret.bin",
        "/etc/passwd",
        "//etc/passwd",
        "\\\\server\\share\\secret.bin",
        "C:\\secret.bin",
        "C:secret.bin",
        "",
    ],
)
def test_paths_that_lead_out(place: Path, location: str) -> None:
    error = refusal(_model(place, location=location))
    assert codes(error) == ["EC-109"]
    assert error.diagnostics[0].where.tensor == "w"


def test_absolute_path_of_a_file_in_the_right_place(place: Path) -> None:
    (place / "w.bin").write_bytes(DATA)
    assert codes(refusal(_model(place, location=place / "w.bin"))) == ["EC-109"]


def test_no_location_at_all(place: Path) -> None:
    assert codes(refusal(_model(place, offset=0))) == ["EC-109"]


@pytest.mark.parametrize("target", ["../../secret.bin", "/etc/hostname"])
def test_symbolic_link_to_a_file_outside(place: Path, target: str) -> None:
    (place / "w.bin").symlink_to(target)
    error = refusal(_model(place, location="w.bin"))
    assert codes(error) == ["EC-109"]
    assert "symbolic link" in str(error)


def test_symbolic_link_to_a_directory_outside(place: Path) -> None:
    (place / "sub").symlink_to(place.parent.parent)
    assert codes(refusal(_model(place, location="sub/secret.bin"))) == ["EC-109"]


def test_directory_whose_name_only_begins_alike(place: Path) -> None:
    twin = place.with_name("inner-twin")
    twin.mkdir()
    (twin / "w.bin").write_bytes(DATA)
    (place / "w.bin").symlink_to(twin / "w.bin")
    assert codes(refusal(_model(place, location="w.bin"))) == ["EC-109"]


def test_symbolic_link_that_stays_inside(place: Path) -> None:
    (place / "real.bin").write_bytes(DATA)
    (place / "w.bin").symlink_to("real.bin")
    loaded = load(_model(place, location="w.bin"))
    array = constant_array(loaded.graph.graph.initializers["w"])
    assert array is not None
    assert array.tobytes() == DATA


def test_hard_link_to_a_file_outside(place: Path) -> None:
    os.link(place.parent.parent / "secret.bin", place / "w.bin")
    error = refusal(_model(place, location="w.bin"))
    assert codes(error) == ["EC-109"]
    assert "2 hard links" in str(error)


def test_what_is_no_regular_file(place: Path) -> None:
    os.mkfifo(place / "pipe")
    (place / "directory").mkdir()
    (place / "loop").symlink_to("loop")
    (place / "dangling").symlink_to("nowhere")
    for location in (
        "pipe",
        "directory",
        "loop",
        "dangling",
        "missing",
        ".",
        "a\0b",
        "#0",
        "x" * 5000,
    ):
        assert codes(refusal(_model(place, location=location))) == ["EC-108"], location


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"offset": 1}, "beyond the end"),
        ({"offset": 65, "length": 64}, "beyond the end"),
        ({"offset": 2**63 - 1}, "beyond the end"),
        ({"length": 65}, "takes 64"),
        ({"length": 63}, "takes 64"),
        ({"length": 0}, "takes 64"),
        ({"offset": -1}, "not a byte count"),
        ({"offset": "1e3"}, "not a byte count"),
        ({"offset": " 0"}, "not a byte count"),
        ({"offset": "٣"}, "not a byte count"),
        ({"offset": "9" * 5000}, "not a byte count"),
        ({"length": "-64"}, "not a byte count"),
    ],
)
def test_ranges_outside_the_file(place: Path, fields: dict[str, object], word: str) -> None:
    (place / "w.bin").write_bytes(DATA)
    error = refusal(_model(place, location="w.bin", **fields))
    assert codes(error) == ["EC-110"]
    assert word in str(error)
    assert len(str(error)) < 300


def test_every_bad_tensor_is_told(place: Path) -> None:
    proto = linear(external(weight(), location="missing"))
    proto.graph.initializer.append(external(weight("v"), location="/etc/passwd"))
    assert codes(refusal(write(proto, place))) == ["EC-108", "EC-109"]


def test_one_missing_file_is_one_problem_and_many_problems_stay_readable(place: Path) -> None:
    proto = linear(external(weight(), location="missing"))
    for number in range(50):
        proto.graph.initializer.append(external(weight(f"v{number}"), location="missing"))
    assert codes(refusal(write(proto, place))) == ["EC-108"]
    (place / "missing").write_bytes(DATA[:10])
    error = refusal(write(proto, place))
    assert codes(error) == ["EC-110"] * 21
    assert error.diagnostics[-1].message == "31 more problems of this kind"


def test_external_data_in_an_attribute_is_held_to_the_same_rules(place: Path) -> None:
    from onnx import helper

    from tests.support.protos import model

    for location, code in (("../../secret.bin", "EC-109"), ("missing", "EC-108")):
        tensor = external(weight(), location=location)
        nodes = [
            helper.make_node("Constant", [], ["w"], value=tensor),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ]
        assert codes(refusal(write(model(nodes), place))) == [code]


def test_relative_to_the_model_and_not_to_where_one_stands(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "w.bin").write_bytes(DATA)
    _model(place, location="w.bin")
    monkeypatch.chdir(place)
    loaded = load(Path("model.onnx"))
    monkeypatch.chdir(place.parent)
    array = constant_array(loaded.graph.graph.initializers["w"])
    assert array is not None
    assert array.tobytes() == DATA


def test_file_swapped_for_a_link_after_loading(place: Path) -> None:
    (place / "w.bin").write_bytes(DATA)
    loaded = load(_model(place, location="w.bin"))
    (place / "w.bin").unlink()
    (place / "w.bin").symlink_to(place.parent.parent / "secret.bin")
    with pytest.raises(EdgecompileError, match="EC-122"):
        save(loaded, place / "out.onnx")
    assert not (place / "out.onnx").exists()


def test_file_cut_after_loading(place: Path) -> None:
    (place / "w.bin").write_bytes(DATA)
    loaded = load(_model(place, location="w.bin"))
    os.truncate(place / "w.bin", 10)
    with pytest.raises(EdgecompileError, match="EC-122"):
        constant_array(loaded.graph.graph.initializers["w"])


def test_tensor_far_larger_than_its_file(place: Path) -> None:
    (place / "w.bin").write_bytes(DATA)
    for dims, limits, code in (
        ([2**20, 2**20], Limits(), "EC-107"),
        ([2**20, 2**20], Limits(tensor_bytes=2**43, weight_bytes=2**43), "EC-110"),
    ):
        tensor = external(weight(), location="w.bin")
        tensor.dims[:] = dims
        assert set(codes(refusal(write(linear(tensor), place), limits=limits))) == {code}


def test_many_tensors_over_one_range_count_together(place: Path) -> None:
    (place / "w.bin").write_bytes(DATA)
    proto = linear(external(weight(), location="w.bin"))
    for number in range(9):
        proto.graph.initializer.append(external(weight(f"w{number}"), location="w.bin"))
    path = write(proto, place)
    assert len(load(path, limits=Limits(weight_bytes=640)).graph.graph.initializers) == 10
    assert codes(refusal(path, limits=Limits(weight_bytes=639))) == ["EC-107"]
    assert np.isfinite(load(path).graph.graph.initializers["w3"].const_value.numpy()).all()
