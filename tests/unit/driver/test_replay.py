"""A build is replayed only under the recipes and facts that it was made with."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecompile.driver import replay
from edgecompile.driver.request import BuildRequest
from edgecompile.store.store import Store
from tests.support.builds import DIGITS


def test_a_shipped_recipe_that_changed_is_another_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    monkeypatch.setattr(replay, "RECIPES", recipes)
    request = BuildRequest(model=DIGITS, target="intel-nuc", output=tmp_path / "out")
    store = Store(tmp_path / "cache")
    keys = []
    for text in ("gain: 1", "gain: 1", "gain: 2"):
        (recipes / "openvino-int8.yaml").write_text(text)
        keys.append(replay.replay_key(request, store))
    assert keys[0] is not None
    assert keys[0] == keys[1]
    assert keys[0] != keys[2]


def test_an_sdk_that_comes_or_goes_is_another_build(tmp_path: Path, monkeypatch) -> None:
    for name in ("QAIRT_SDK_ROOT", "QNN_SDK_ROOT", "SNPE_ROOT"):
        monkeypatch.delenv(name, raising=False)
    request = BuildRequest(model=DIGITS, target="rb5", output=tmp_path / "out")
    store = Store(tmp_path / "cache")
    without = replay.replay_key(request, store)
    monkeypatch.setenv("QAIRT_SDK_ROOT", str(tmp_path / "2.28.0.241029"))
    wrong = replay.replay_key(request, store)
    (tmp_path / "2.28.0.241029" / "bin").mkdir(parents=True)
    there = replay.replay_key(request, store)
    assert without is not None
    assert without != wrong != there != without
