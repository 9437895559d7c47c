"""Plugins are found where they lie, and two of one name are refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent

import pytest

from edgecompile.plugins import discover

BASE = """
from abc import ABC, abstractmethod
class Base(ABC):
    @abstractmethod
    def act(self): ...
"""
ONE = """
from plugged.base import Base
class Shared(Base):
    def act(self): ...
class One(Shared):
    id = "one"
class Abstract(Base):
    id = "abstract"
"""
TWO = """
from plugged.base import Base
from plugged.one import One
class Two(Base):
    id = "two"
    def act(self): ...
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `plugged` with a base class and two plugins, one of them in a subpackage."""
    root = tmp_path / "plugged"
    files = {"__init__": "", "base": BASE, "one": ONE, "sub/__init__": "", "sub/two": TWO}
    for name, content in files.items():
        path = root / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(content))
    monkeypatch.syspath_prepend(tmp_path)
    yield root
    for name in [name for name in sys.modules if name.split(".")[0] == "plugged"]:
        del sys.modules[name]
    _forget()


def _forget() -> None:
    sys.modules["edgecompile.plugins.discover"]._modules.cache_clear()


def _discover() -> dict[str, type]:
    from plugged.base import Base  # type: ignore[import-not-found]

    return discover("plugged", Base, "edgecompile.test")


@pytest.mark.usefixtures("package")
def test_concrete_classes_with_an_id_are_found_once_and_sorted() -> None:
    found = _discover()
    assert list(found) == ["one", "two"]
    assert found["one"].__module__ == "plugged.one"


def test_two_of_one_name(package: Path) -> None:
    (package / "other.py").write_text(TWO.replace("class Two", "class Other"))
    with pytest.raises(ValueError, match="are both 'two'"):
        _discover()


@pytest.mark.usefixtures("package")
def test_entry_points_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["edgecompile.plugins.discover"]

    def entry_points(*, group: str) -> list[EntryPoint]:
        assert group == "edgecompile.test"
        return [EntryPoint("theirs", "plugged_by_others:Theirs", group)]

    from plugged.base import Base  # type: ignore[import-not-found]

    others = type(sys)("plugged_by_others")
    others.Theirs = type("Theirs", (Base,), {"id": "theirs", "act": lambda self: None})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "plugged_by_others", others)
    monkeypatch.setattr(module, "entry_points", entry_points)
    assert list(_discover()) == ["one", "theirs", "two"]


def test_a_package_that_does_not_import_is_not_hidden(package: Path) -> None:
    (package / "broken.py").write_text("import no_such_module")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        _discover()
