"""One pass, emitter or calibration method is one file: this finds it, so there is no list to edit.

Third parties register classes under the entry point group `edgecompile.<kind>`, for instance
`edgecompile.passes`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from importlib.metadata import entry_points
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


@functools.cache
def _modules(package: str) -> tuple[ModuleType, ...]:
    root = importlib.import_module(package)
    names = sorted(info.name for info in pkgutil.walk_packages(root.__path__, f"{package}."))
    return tuple(importlib.import_module(name) for name in names)


def discover(package: str, base: type[T], group: str) -> dict[str, type[T]]:
    """Concrete subclasses of `base` in `package` and in the entry point `group`, by their `id`.

    Raises `ValueError` when two of them claim the same id.
    """
    classes: list[type[T]] = [
        value
        for module in _modules(package)
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, base)
        and not inspect.isabstract(value)
        and value.__module__ == module.__name__
        and "id" in vars(value)
    ]
    classes += [point.load() for point in entry_points(group=group)]
    found: dict[str, type[T]] = {}
    for cls in classes:
        name: str = cls.id  # type: ignore[attr-defined]
        if found.setdefault(name, cls) is not cls:
            raise ValueError(f"{cls.__qualname__} and {found[name].__qualname__} are both '{name}'")
    return dict(sorted(found.items()))
