"""`RangeMethod`: how a tensor's range follows from the histogram of its values.

A method is a value: its fields are its options, and `pick` is a pure function of a `Histogram`.
Adding one is adding a file to `calibration/methods/`.
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import ConfigDict, ValidationError

from edgecompile.calibration.histogram import Histogram
from edgecompile.diagnostics import EdgecompileError
from edgecompile.diagnostics.catalogue.data import METHOD_OPTION, METHOD_UNKNOWN
from edgecompile.plugins.described import Described


class RangeMethod(Described, ABC):
    """One way to choose a range. Subclasses are frozen; their fields are their options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: ClassVar[str]
    version: ClassVar[int] = 1
    source: ClassVar[str]
    """Paper or specification that the method follows."""
    histogram: ClassVar[bool] = True
    """Whether `pick` looks at more than the extremes; without it no bins are counted."""
    per_sample: ClassVar[bool] = True
    """Whether `pick` looks at the extremes of each sample, that is at `sum_min` and `sum_max`."""

    @abstractmethod
    def pick(self, histogram: Histogram, *, bits: int = 8, symmetric: bool = False) -> Pair:
        """The range `(min, max)` inside the observed extremes, for 2**bits levels.

        `symmetric` ranges have `min == -max` in the quantizer; the method may then choose one
        threshold for both sides, cut to the extremes that were seen.
        """

    def describe(self) -> str:
        """Id and options that are not the default, for `Ranges.method`: `percentile(cut=99.9)`."""
        options = [f"{k}={v}" for k, v in sorted(self.model_dump(exclude_defaults=True).items())]
        return f"{self.id}({', '.join(options)})" if options else self.id


Pair = tuple[float, float]


def all_methods() -> dict[str, type[RangeMethod]]:
    """Every range method by id: those of edgecompile, then those of installed plugins."""
    from edgecompile.plugins.discover import discover

    base: Any = RangeMethod
    return discover("edgecompile.calibration.methods", base, "edgecompile.calibration")


def range_method(name: str, options: Mapping[str, Any] | None = None) -> RangeMethod:
    """The method `name` with `options`. Raises EC-344 or EC-345."""
    known = all_methods()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        nearest = f"; did you mean '{near[0]}'?" if near else ""
        hint = f"choose one of: {', '.join(known)}"
        raise METHOD_UNKNOWN.error(name=name, nearest=nearest, hints=(hint,))
    try:
        return known[name](**(options or {}))
    except ValidationError as error:
        problems = tuple(
            METHOD_OPTION.at(
                option=".".join(map(str, item["loc"])),
                name=name,
                reason=_reason(item),
                hints=(f"options of '{name}': {', '.join(known[name].model_fields) or 'none'}",),
            )
            for item in error.errors()
        )
        raise EdgecompileError(problems) from error


def _reason(item: Mapping[str, Any]) -> str:
    if item["type"] == "extra_forbidden":
        return "there is no such option"
    text = str(item["msg"]).replace("Input should be", "must be")
    return text[:1].lower() + text[1:]
