"""Arrays as data: what fits, how samples are cut, and a code for everything that does not fit."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgecompile.calibration.dataset import open_dataset
from tests.support.data import codes, one_file_per_sample, problems, spec

X = spec("x", ["N", 3, 4])
RNG = np.random.default_rng(0)
DATA = RNG.normal(size=(5, 3, 4)).astype(np.float32)


def test_every_way_to_store_an_array_gives_the_same_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "stored.npz", x=DATA)
    np.savez_compressed(tmp_path / "compressed.npz", x=DATA)
    np.savez(tmp_path / "fortran.npz", x=np.asfortranarray(DATA))
    np.savez_compressed(tmp_path / "fortran_compressed.npz", x=np.asfortranarray(DATA))
    np.savez(tmp_path / "big_endian.npz", x=DATA.astype(">f4"))
    np.savez(tmp_path / "double.npz", x=DATA.astype(np.float64))
    np.savez(tmp_path / "unnamed.npz", DATA)
    np.save(tmp_path / "lone.npy", DATA)
    for path in sorted(tmp_path.iterdir()):
        data = open_dataset(str(path), [X])
        assert len(data) == 5
        for i in (4, 0, 2):  # backwards too: compressed members are streams
            feed = data[i].feeds["x"]
            assert feed.dtype == np.float32 and feed.flags.c_contiguous
            np.testing.assert_array_equal(feed, DATA[i : i + 1], err_msg=path.name)


@pytest.mark.parametrize(
    ("shape", "stored", "count", "fed"),
    [
        (["N", 4], (6, 4), 6, (1, 4)),
        ([1, 4], (6, 4), 6, (1, 4)),
        ([2, 4], (6, 4), 3, (2, 4)),
        (["T", 4], (6, 7, 4), 6, (7, 4)),
        ([2, 1, 4], (6, 2, 1, 4), 6, (2, 1, 4)),
        ([], (6,), 6, ()),
    ],
)
def test_the_first_axis_is_cut_as_the_input_asks(
    tmp_path: Path,
    shape: list[int | str],
    stored: tuple[int, ...],
    count: int,
    fed: tuple[int, ...],
) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros(stored, np.float32))
    data = open_dataset(str(tmp_path / "d.npz"), [spec("x", shape)])
    assert len(data) == count
    assert data[count - 1].feeds["x"].shape == fed


def test_samples_of_different_shapes_come_one_per_file(tmp_path: Path) -> None:
    lengths = (3, 7, 5)
    samples = [{"ids": np.ones((1, n), np.int64), "mask": np.ones(n, np.int64)} for n in lengths]
    source = one_file_per_sample(samples, tmp_path / "d")
    inputs = [spec("ids", ["N", "L"], np.int64), spec("mask", ["N", "L"], np.int64)]
    data = open_dataset(source, inputs)
    assert [sample.feeds["mask"].shape for sample in data] == [(1, n) for n in lengths]
    assert [sample.name for sample in data] == ["0000.npz", "0001.npz", "0002.npz"]


def test_a_directory_of_npy_is_one_sample_per_file_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        np.save(tmp_path / f"{name}.npy", DATA[ord(name) - ord("a")])
    (tmp_path / "notes.txt").write_text("not data")
    (tmp_path / ".hidden.npy").write_bytes(b"")
    data = open_dataset(str(tmp_path), [X])
    assert [sample.name for sample in data] == ["a.npy", "b.npy", "c.npy"]
    np.testing.assert_array_equal(data[1].feeds["x"], DATA[1:2])


def test_integers_are_narrowed_where_every_value_fits(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", ids=np.array([[0, 256]], np.int64))
    narrow = open_dataset(str(tmp_path / "d.npz"), [spec("ids", ["N", 2], np.int32)])
    assert narrow[0].feeds["ids"].dtype == np.int32
    too_narrow = [spec("ids", ["N", 2], np.uint8)]
    assert codes(lambda: open_dataset(str(tmp_path / "d.npz"), too_narrow)) == ["EC-313"]


def test_labels_in_an_npz_are_ids_or_padded_lists_of_accepted_ids(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=DATA, labels=np.arange(5))
    np.savez(
        tmp_path / "b.npz", x=DATA, labels=np.array([[3, -1], [1, 2], [0, -1], [4, 4], [7, 8]])
    )
    a, b = (open_dataset(str(tmp_path / name), [X]) for name in ("a.npz", "b.npz"))
    assert [s.label for s in a] == [(0,), (1,), (2,), (3,), (4,)]
    assert [s.label for s in b.subset([1, 0])] == [(1, 2), (3,)]
    assert a.labelled and a.task is not None and a.task.kind == "classification"
    np.savez(tmp_path / "c.npz", x=DATA, labels=np.arange(4))
    assert codes(lambda: open_dataset(str(tmp_path / "c.npz"), [X])) == ["EC-329"]


def test_the_digest_is_of_content_and_reading_not_of_paths_or_times(tmp_path: Path) -> None:
    first, second = tmp_path / "a.npz", tmp_path / "sub"
    second.mkdir()
    np.savez(first, x=DATA)
    (second / "b.npz").write_bytes(first.read_bytes())
    os.utime(second / "b.npz", (1, 1))
    a, b = open_dataset(str(first), [X]), open_dataset(str(second / "b.npz"), [X])
    assert a.sha256 == b.sha256
    assert a.subset([0, 1]).sha256 != a.sha256 != a.subset([1, 0]).sha256
    changed = DATA.copy()
    changed[4, 2, 3] += 1
    np.savez(first, x=changed)
    c = open_dataset(str(first), [X])
    assert c.sha256 != a.sha256 and c.sample_sha256(0) == b.sample_sha256(0)
    assert c.sample_sha256(4) != b.sample_sha256(4)


def test_the_same_content_has_one_sample_digest_however_it_is_stored(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=DATA)
    np.savez_compressed(tmp_path / "b.npz", x=DATA[::-1])
    a, b = (open_dataset(str(tmp_path / f), [X]) for f in ("a.npz", "b.npz"))
    assert a.sample_sha256(0) == b.sample_sha256(4) != b.sample_sha256(0)


def test_random_data_is_seeded_marked_and_only_by_its_name() -> None:
    inputs = [X, spec("ids", [None, "L"], np.int64)]
    data = open_dataset("random:3", inputs)
    assert data.random and [d.code for d in data.diagnostics] == ["EC-323"]
    again = open_dataset("random:3", inputs)
    np.testing.assert_array_equal(data[2].feeds["x"], again[2].feeds["x"])
    assert data[0].feeds["ids"].shape == (1, 32) and data.sha256 == again.sha256
    assert data.sample_sha256(0) != data.sample_sha256(1)
    for wrong in ("random:", "random:0", "random:many", "random:-1", "random:1e3"):
        assert codes(lambda: open_dataset(wrong, inputs)) == ["EC-322"]  # noqa: B023


def _damaged_member(path: Path) -> None:
    np.savez_compressed(path, x=DATA)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def _promises_too_much(path: Path) -> None:
    whole = io.BytesIO()
    np.save(whole, DATA)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", whole.getvalue()[:-8])


WRONG_ARRAYS = {
    "name": ({"y": DATA}, ["EC-310", "EC-310"]),
    "missing": ({}, ["EC-310"]),
    "surplus": ({"x": DATA, "extra": DATA}, ["EC-310"]),
    "rank": ({"x": DATA[0, 0]}, ["EC-312"]),
    "shape": ({"x": DATA[:, :2]}, ["EC-311"]),
    "integers": ({"x": np.zeros((5, 3, 4), np.uint8)}, ["EC-313"]),
    "complex": ({"x": DATA.astype(complex)}, ["EC-313"]),
    "text": ({"x": np.full((5, 3, 4), "a")}, ["EC-313"]),
    "shape and type": ({"x": np.zeros((5, 2, 4), np.int64)}, ["EC-311", "EC-313"]),
    "nan": ({"x": np.full((5, 3, 4), np.nan, np.float32)}, ["EC-314"]),
    "infinity": ({"x": np.full((5, 3, 4), np.inf, np.float32)}, ["EC-314"]),
    "no samples": ({"x": DATA[:0]}, ["EC-303"]),
    "objects": ({"x": np.array([[1], [1, 2]], dtype=object)}, ["EC-305"]),
}


@pytest.mark.parametrize("case", WRONG_ARRAYS)
def test_arrays_that_do_not_fit(tmp_path: Path, case: str) -> None:
    arrays, expected = WRONG_ARRAYS[case]
    np.savez(tmp_path / "d.npz", **arrays)
    assert codes(lambda: open_dataset(str(tmp_path / "d.npz"), [X])) == expected


def test_a_misspelt_name_is_offered_the_nearest(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", inptu_ids=np.zeros((2, 4), np.int64))
    inputs = [spec("input_ids", ["N", 4], np.int64)]
    found = problems(lambda: open_dataset(str(tmp_path / "d.npz"), inputs))
    assert "rename 'inptu_ids' to 'input_ids'" in found[0].hints


def test_nan_is_told_with_sample_and_input(tmp_path: Path) -> None:
    bad = DATA.copy()
    bad[3, 1, 1] = np.nan
    np.savez(tmp_path / "d.npz", x=bad)
    data = open_dataset(str(tmp_path / "d.npz"), [X])
    (found,) = problems(lambda: list(data))
    assert found.message == "sample 'd.npz[3]' has NaN in input 'x'"


def test_inputs_must_have_as_many_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=DATA, y=DATA[:4])
    inputs = [X, spec("y", ["N", 3, 4])]
    assert codes(lambda: open_dataset(str(tmp_path / "d.npz"), inputs)) == ["EC-315"]


@pytest.mark.parametrize("write", [_damaged_member, _promises_too_much])
def test_a_damaged_archive_is_told(tmp_path: Path, write) -> None:
    write(tmp_path / "d.npz")
    assert codes(lambda: list(open_dataset(str(tmp_path / "d.npz"), [X]))) == ["EC-306"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"\x93NUMPY\x01\x00"])
@pytest.mark.parametrize("name", ["d.npz", "d.npy"])
def test_files_that_are_not_what_their_name_says(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert codes(lambda: open_dataset(str(tmp_path / name), [X])) == ["EC-306"]


def test_places_without_data(tmp_path: Path) -> None:
    def opened(path: Path) -> list[str]:
        return codes(lambda: open_dataset(str(path), [X]))

    assert opened(tmp_path / "nowhere") == ["EC-301"]
    assert opened(tmp_path) == ["EC-303"]
    (tmp_path / "notes.txt").write_text("nothing to read")
    assert opened(tmp_path) == ["EC-303"]
    (tmp_path / "data.pkl").write_bytes(b"\x80\x04.")
    assert opened(tmp_path / "data.pkl") == ["EC-302"]
    np.save(tmp_path / "a.npy", DATA[0])
    np.savez(tmp_path / "b.npz", x=DATA[0])
    assert opened(tmp_path) == ["EC-304"]


def test_files_of_one_array_cannot_feed_two_inputs(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", DATA[0])
    assert codes(lambda: open_dataset(str(tmp_path), [X, spec("y", ["N"])])) == ["EC-310"]


def test_limit_keeps_the_first_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=DATA)
    data = open_dataset(str(tmp_path / "d.npz"), [X], limit=2)
    assert len(data) == 2 and len(list(data)) == 2
