"""The cache: what goes in comes out, damage is noticed, and failure never stops a build."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from edgecompile.diagnostics import Diagnostic
from edgecompile.store import DamagedError, Store, cache_root, canonical, key_of

MATERIAL = {"step": "simplify", "options": {"a": 1}}
KEY = key_of(MATERIAL)


@pytest.fixture
def heard() -> list[Diagnostic]:
    return []


@pytest.fixture
def store(tmp_path: Path, heard: list[Diagnostic]) -> Store:
    return Store(tmp_path / "cache", heard.append)


def test_an_entry_comes_back_as_it_went_in(store: Store, tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_bytes(b"<net/>")
    store.put(
        KEY,
        MATERIAL,
        {"model.onnx": b"bytes", "artifact/model.xml": tmp_path / "model.xml"},
        {"changed": True},
    )
    entry = store.get(KEY)
    assert entry is not None
    assert entry.material == MATERIAL
    assert entry.result == {"changed": True}
    assert entry.checked("model.onnx").read_bytes() == b"bytes"
    entry.copy_to("artifact/model.xml", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"<net/>"
    assert entry.total_bytes == 11


def test_keys_are_the_whole_sha256_of_canonical_json() -> None:
    assert canonical({"b": 1, "a": [True, None, "ü"]}) == '{"a":[true,null,"ü"],"b":1}'.encode()
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert len(KEY) == 64
    with pytest.raises(ValueError, match="not JSON compliant"):
        key_of({"a": float("nan")})


def test_nothing_is_found_before_it_is_put(store: Store, heard: list[Diagnostic]) -> None:
    assert store.get(KEY) is None
    assert heard == []


@pytest.mark.parametrize("victim", ["meta.json", "model.onnx"])
def test_damage_is_never_handed_out(
    store: Store, heard: list[Diagnostic], victim: str, tmp_path: Path
) -> None:
    store.put(KEY, MATERIAL, {"model.onnx": b"bytes"}, {"n": 1})
    path = store.directory(KEY) / victim
    path.write_bytes(path.read_bytes().replace(b"1", b"2").replace(b"bytes", b"bytez"))
    entry = store.get(KEY)
    if victim == "meta.json":
        assert entry is None
        assert [d.code for d in heard] == ["EC-702"]
        assert not store.directory(KEY).exists()
        return
    assert entry is not None
    with pytest.raises(DamagedError, match="another digest"):
        entry.checked("model.onnx")
    with pytest.raises(DamagedError, match="another digest"):
        entry.copy_to("model.onnx", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_lost_file_damages_the_entry_and_it_can_be_put_again(
    store: Store, heard: list[Diagnostic]
) -> None:
    store.put(KEY, MATERIAL, {"model.onnx": b"bytes"})
    (store.directory(KEY) / "model.onnx").unlink()
    assert store.get(KEY) is None
    assert "a file is gone" in heard[0].message
    assert store.put(KEY, MATERIAL, {"model.onnx": b"bytes"}) is not None


def test_an_entry_cannot_name_a_file_outside_itself(store: Store) -> None:
    store.put(KEY, MATERIAL, {"model.onnx": b"bytes"})
    meta = store.directory(KEY) / "meta.json"
    body = json.loads(meta.read_bytes())["body"]
    body["files"] = {"../../../../secret": body["files"]["model.onnx"]}
    import hashlib

    whole = hashlib.sha256(canonical(body)).hexdigest()
    meta.write_bytes(canonical({"sha256": whole, "body": body}))
    assert store.get(KEY) is None


def test_a_root_that_cannot_be_made_is_told_once_and_stops_nothing(
    tmp_path: Path, heard: list[Diagnostic]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = Store(tmp_path / "file" / "cache", heard.append)
    with store.in_use():
        assert store.get(KEY) is None
        assert store.put(KEY, MATERIAL, {"model.onnx": b"bytes"}) is None
        assert store.memo.recall("kind", [], None, lambda: 3) == 3
    assert [d.code for d in heard] == ["EC-701"]
    assert heard[0].severity == "warning"


def test_a_full_disk_leaves_nothing_half_written(heard: list[Diagnostic], tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", heard.append)
    store.put(KEY, MATERIAL, {"model.onnx": tmp_path / "vanished"})
    assert store.get(KEY) is None
    assert [d.code for d in heard] == ["EC-701"]
    assert list((store.root / "tmp").iterdir()) == []


def _put_many(root: Path, barrier: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    store = Store(root)
    for n in range(40):
        material = {"n": n}
        store.put(key_of(material), material, {"data": b"%d" % n * 1000})
        entry = store.get(key_of(material))
        assert entry is not None
        entry.checked("data")


def test_processes_that_make_the_same_entries_do_not_disturb_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    workers = [context.Process(target=_put_many, args=(tmp_path, barrier)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(list(Store(tmp_path).list())) == 40
    assert list((tmp_path / "tmp").iterdir()) == []


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_root(tmp_path) == tmp_path
    monkeypatch.setenv("EDGECOMPILE_CACHE_DIR", str(tmp_path / "named"))
    assert cache_root() == tmp_path / "named"
    monkeypatch.delenv("EDGECOMPILE_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "xdg"))
    assert "edgecompile" in str(cache_root())


def test_touching_does_not_need_a_writable_cache(store: Store) -> None:
    store.put(KEY, MATERIAL, {})
    meta = store.directory(KEY) / "meta.json"
    os.utime(meta, (1, 1))
    entry = store.get(KEY)
    assert entry is not None
    assert meta.stat().st_mtime > 1
