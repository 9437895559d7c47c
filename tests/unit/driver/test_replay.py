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
