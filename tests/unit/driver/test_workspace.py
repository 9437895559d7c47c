"""The output is the old one or the new one, and what is not ours is never touched."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgecompile.diagnostics import EdgecompileError
from edgecompile.driver.workspace import Workspace, foreign_files

MANIFEST = {
    "schema": "edgecompile/manifest@1",
    "artifacts": [{"path": "artifacts/m.xml", "files": ["artifacts/m.xml", "artifacts/m.bin"]}],
}


def fill(directory: Path, word: str) -> None:
    (directory / "artifacts").mkdir(parents=True)
    (directory / "manifest.json").write_text(json.dumps(MANIFEST))
    (directory / "model.onnx").write_text(word)
    (directory / "artifacts" / "m.xml").write_text(word)


def publish(output: Path, word: str) -> None:
    with Workspace(output) as work:
        (work.scratch / "junk").write_text("junk")
        fill(work.build, word)
        work.publish()


def codes(output: Path) -> list[str]:
    with pytest.raises(EdgecompileError) as caught, Workspace(output):
        pass
    return [d.code for d in caught.value.diagnostics]


def test_publishing_replaces_the_old_build_and_leaves_nothing_beside(tmp_path: Path) -> None:
    output = tmp_path / "a" / "b" / "out"
    publish(output, "one")
    publish(output, "two")
    assert (output / "model.onnx").read_text() == "two"
    assert [p.name for p in output.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_build_that_fails_leaves_everything_as_it_was(
    tmp_path: Path, error: type[BaseException]
) -> None:
    output = tmp_path / "out"
    publish(output, "one")
    with pytest.raises(error), Workspace(output) as work:
        fill(work.build, "two")
        raise error
    assert (output / "model.onnx").read_text() == "one"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_failed_first_build_leaves_no_folders(tmp_path: Path) -> None:
    with pytest.raises(ValueError), Workspace(tmp_path / "a" / "b" / "out"):
        raise ValueError
    assert list(tmp_path.iterdir()) == []


def test_a_rename_that_fails_puts_the_old_build_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    publish(output, "one")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name == "build":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(EdgecompileError, match="No space left"), Workspace(output) as work:
        fill(work.build, "two")
        work.publish()
    assert (output / "model.onnx").read_text() == "one"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(EdgecompileError, match="No space left"), Workspace(tmp_path / "out"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_of_a_build_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert codes(tmp_path) == ["EC-710"]
    assert codes(tmp_path / "thesis.txt") == ["EC-712"]
    assert codes(tmp_path / "thesis.txt" / "out") == ["EC-711"]


def test_a_file_of_the_user_in_a_build_directory_is_not_lost(tmp_path: Path) -> None:
    output = tmp_path / "out"
    publish(output, "one")
    assert foreign_files(output) == []
    (output / ".DS_Store").write_text("")
    assert foreign_files(output) == []
    (output / "artifacts" / "notes.txt").write_text("mine")
    assert foreign_files(output) == ["artifacts/notes.txt"]
    assert codes(output) == ["EC-710"]


def test_an_empty_directory_will_do(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    publish(tmp_path / "out", "one")
    assert (tmp_path / "out" / "model.onnx").exists()


def test_a_place_where_nobody_can_write(tmp_path: Path) -> None:
    # Even root cannot make a folder below a device or in /proc.
    place = Path("/proc/edgecompile") if sys.platform == "linux" else tmp_path / "no\0name"
    assert codes(place / "out") == ["EC-711"]


def test_what_a_killed_build_left_is_swept(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for pid in (ended.pid, 1):
        (tmp_path / f".out.{pid}-abcd1234.tmp" / "build").mkdir(parents=True)
    publish(tmp_path / "out", "one")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".out.1-abcd1234.tmp", "out"]
