"""All rules, found by looking through the modules of this package: no central list.

Code ranges: 1xx model and IR, 2xx targets, recipes and options, 3xx data and calibration,
4xx passes, 5xx toolchains and vendors, 6xx emit, verify and budgets, 7xx store and output,
9xx bugs.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Iterable

from edgecompile.diagnostics.core import Diagnostic, ExitCode, Rule


@functools.cache
def all_rules() -> dict[str, Rule]:
    """Every rule by code, in order of code. Two rules with one code are a bug (`ValueError`)."""
    found: dict[str, Rule] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for value in vars(module).values():
            if isinstance(value, Rule) and found.setdefault(value.code, value) is not value:
                raise ValueError(f"two rules have the code {value.code}")
    return dict(sorted(found.items()))


def exit_code_of(errors: Iterable[Diagnostic]) -> ExitCode:
    """That of a model refused by `errors`: of usage where an option or the target is wrong."""
    rules = all_rules()
    codes = [rules[d.code].exit_code for d in errors if d.code in rules]
    if ExitCode.USAGE in codes:
        return ExitCode.USAGE
    return next((code for code in codes if code is not ExitCode.OK), ExitCode.REJECTED)
