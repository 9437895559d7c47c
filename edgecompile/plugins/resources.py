"""YAML files of a kind: those of our own package, and of packages that others register.

A third party registers a package that holds YAML files under the entry point group, for instance
`edgecompile.targets` or `edgecompile.recipes`.
"""

from __future__ import annotations

import importlib
from importlib import resources
from importlib.metadata import entry_points
from importlib.resources.abc import Traversable

from edgecompile.diagnostics.catalogue.target import BAD_TARGET_PLUGIN


def yaml_files(root: Traversable, group: str) -> dict[str, Traversable]:
    """YAML files in `root` and in the packages of the entry points `group`, by file name's stem.

    Ours win over those of others with the same name. Raises EC-205 for an entry point that names
    no package.
    """
    found = _in_directory(root)
    for point in sorted(entry_points(group=group), key=lambda p: (p.name, p.value)):
        try:
            package = resources.files(importlib.import_module(point.value))
        except (ImportError, TypeError) as error:
            problem = str(error)
            raise BAD_TARGET_PLUGIN.error(name=point.name, group=group, problem=problem) from None
        found = {**_in_directory(package), **found}
    return dict(sorted(found.items()))


def _in_directory(root: Traversable) -> dict[str, Traversable]:
    if not root.is_dir():
        return {}
    return {
        entry.name.removesuffix(".yaml"): entry
        for entry in root.iterdir()
        if entry.name.endswith(".yaml") and entry.is_file()
    }
