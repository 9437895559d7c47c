"""Making room drops the right entries and never one that a running build may need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgecompile.store import Store, key_of
from edgecompile.store.gc import gc

DAY_S = 24 * 3600


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    now_s = (tmp_path).stat().st_mtime
    for age_days in range(5):
        material = {"n": age_days}
        store.put(key_of(material), material, {"data": b"x" * 10_000})
        stamp_s = now_s - age_days * DAY_S - 60
        os.utime(store.directory(key_of(material)) / "meta.json", (stamp_s, stamp_s))
    return store


def left(store: Store) -> set[int]:
    return {entry.material["n"] for entry in store.list()}


def test_by_age(store: Store) -> None:
    swept = gc(store, older_than_s=2.5 * DAY_S)
    assert left(store) == {0, 1, 2}
    assert (swept.removed, swept.kept, swept.in_use) == (2, 3, 0)
    assert swept.removed_bytes > 20_000


def test_by_size_the_least_recently_used_goes_first(store: Store) -> None:
    store.get(key_of({"n": 4}))
    swept = gc(store, max_bytes=25_000)
    assert left(store) == {0, 4}
    assert swept.kept_bytes <= 25_000


def test_without_limits_nothing_sound_goes(store: Store) -> None:
    assert gc(store).removed == 0
    assert left(store) == {0, 1, 2, 3, 4}


def test_an_entry_in_use_stays(store: Store) -> None:
    with store.in_use():
        store.get(key_of({"n": 3}))
        swept = gc(store, max_bytes=0)
        assert left(store) == {3}
        assert (swept.removed, swept.in_use) == (4, 1)
    assert gc(store, max_bytes=0).removed == 1
    assert list((store.root / "users").iterdir()) == []


def test_the_mark_of_a_killed_build_protects_nothing(store: Store) -> None:
    (store.root / "users").mkdir(exist_ok=True)
    (store.root / "users" / "1-1-abcd.lock").touch()
    assert gc(store, max_bytes=0).removed == 5
    assert list((store.root / "users").iterdir()) == []


def test_an_entry_without_description_is_swept_first(store: Store) -> None:
    (store.directory(key_of({"n": 0})) / "meta.json").unlink()
    gc(store, older_than_s=30 * DAY_S)
    assert not store.directory(key_of({"n": 0})).exists()
