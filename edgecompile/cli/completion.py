"""What the shell offers after TAB. Only what is cheap to know: no model is opened."""

from __future__ import annotations


def complete_codes(incomplete: str) -> list[tuple[str, str]]:
    """Diagnostic codes with their names."""
    from edgecompile.diagnostics.catalogue import all_rules

    wanted = incomplete.upper()
    return [(r.code, r.name) for r in all_rules().values() if r.code.startswith(wanted)]
