"""A fact is recomputed exactly when a file changed."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecompile.store.memo import Memo


class Counting:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        return self.calls


@pytest.fixture
def settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Path]:
    """Write a file, and let the clock run on so that it is not a fresh one."""

    def write(data: bytes) -> Path:
        path = tmp_path / "file"
        path.write_bytes(data)
        later_ns = time.time_ns() + 10_000_000_000
        monkeypatch.setattr(time, "time_ns", lambda: later_ns)
        return path

    return write


def test_computed_once_while_nothing_changes(
    tmp_path: Path, settled: Callable[[bytes], Path]
) -> None:
    path, count = settled(b"one"), Counting()
    for _ in range(3):
        assert Memo(tmp_path / "memo").recall("k", [path], {"p": 1}, count) == 1
    assert Memo(tmp_path / "memo").recall("k", [path], {"p": 2}, count) == 2
    assert Memo(tmp_path / "memo").recall("other", [path], {"p": 1}, count) == 3


def test_a_copy_is_known_by_its_content(tmp_path: Path) -> None:
    count = Counting()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        files = [tmp_path / folder / name for name in ("x", "y")]
        for file in files:
            file.write_bytes(b"same")
        assert Memo(tmp_path / "memo").recall("k", files, None, count) == 1
    files[1].write_bytes(b"other")
    assert Memo(tmp_path / "memo").recall("k", files, None, count) == 2


def test_a_settled_file_is_not_read_again(
    tmp_path: Path, settled: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, memo = settled(b"one"), Memo(tmp_path / "memo")
    first = memo.content([path])
    monkeypatch.setattr("edgecompile.store.memo.sha256_of_file", None)
    assert memo.content([path]) == first == hashlib.sha256(b"one").hexdigest()


def test_a_file_that_changes_meanwhile_leaves_no_fact(tmp_path: Path) -> None:
    path, memo = tmp_path / "file", Memo(tmp_path / "memo")
    path.write_bytes(b"one")

    def compute() -> int:
        path.write_bytes(b"two")
        return 1

    assert memo.recall("k", [path], None, compute) == 1
    path.write_bytes(b"one")
    assert memo.recall("k", [path], None, lambda: 2) == 2


def test_large_files_are_told_by_their_state(
    tmp_path: Path, settled: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecompile.store.memo.LARGE_BYTES", 2)
    path, memo = settled(b"one"), Memo(tmp_path / "memo")
    first = memo.content([path])
    assert memo.content([path]) == first != hashlib.sha256(b"one").hexdigest()
    os.utime(path, (1, 1))
    assert memo.content([path]) != first


def test_same_size_and_same_modification_time_do_not_fool_it(
    tmp_path: Path, settled: Callable[[bytes], Path]
) -> None:
    memo = Memo(tmp_path / "memo")
    path = settled(b"one")
    before = path.stat()
    first = memo.content([path])
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert memo.content([path]) != first


def test_a_file_written_just_now_is_read_each_time(tmp_path: Path) -> None:
    path, memo = tmp_path / "file", Memo(tmp_path / "memo")
    path.write_bytes(b"one")
    before = path.stat()
    first = memo.content([path])
    with path.open("r+b") as file:
        file.write(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert memo.content([path]) != first


def test_a_damaged_memo_is_computed_again(tmp_path: Path, settled: Callable[[bytes], Path]) -> None:
    path, count, memo = settled(b"one"), Counting(), Memo(tmp_path / "memo")
    memo.recall("k", [path], None, count)
    for kept in (tmp_path / "memo").iterdir():
        kept.write_bytes(b"{")
    assert memo.recall("k", [path], None, count) == 2


def test_without_a_root_nothing_is_kept(settled: Callable[[bytes], Path]) -> None:
    path, count = settled(b"one"), Counting()
    assert [Memo(None).recall("k", [path], None, count) for _ in range(2)] == [1, 2]


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Memo(tmp_path).content([tmp_path / "nothing"])
