"""What the shell offers after TAB. Only what is cheap to know: no model is opened."""

from __future__ import annotations

from collections.abc import Iterable

Offers = list[tuple[str, str]]


def _beginning(incomplete: str, offers: Iterable[tuple[str, str]]) -> Offers:
    return [(name, text) for name, text in offers if name.startswith(incomplete)]


def complete_codes(incomplete: str) -> Offers:
    """Diagnostic codes with their names."""
    from edgecompile.diagnostics.catalogue import all_rules

    return _beginning(incomplete.upper(), ((r.code, r.name) for r in all_rules().values()))


def complete_targets(incomplete: str) -> Offers:
    """Targets and their aliases."""
    from edgecompile.targets.catalogue import all_targets

    targets = all_targets().values()
    names = [(t.id, t.summary) for t in targets]
    names += [(alias, t.summary) for t in targets for alias in t.aliases]
    return _beginning(incomplete, names)


def complete_recipes(incomplete: str) -> Offers:
    """Recipes that ship."""
    from edgecompile.recipes.library import shipped_recipes

    return _beginning(incomplete, ((name, "") for name in shipped_recipes()))


def complete_passes(incomplete: str) -> Offers:
    """Ids of passes."""
    from edgecompile.passes.registry import all_passes

    return _beginning(incomplete, ((name, "") for name in all_passes()))


def complete_toolchains(incomplete: str) -> Offers:
    """Isolated toolchains."""
    from edgecompile.vendor.toolchains.spec import all_toolchains

    return _beginning(incomplete, ((t.name, t.purpose) for t in all_toolchains().values()))


def complete_methods(incomplete: str) -> Offers:
    """Calibration methods."""
    from edgecompile.calibration.method import all_methods

    return _beginning(incomplete, ((name, "") for name in all_methods()))
