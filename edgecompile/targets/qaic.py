"""Facts about cards with Qualcomm's Cloud AI 100, for its emitter."""

from __future__ import annotations

from pydantic import PositiveInt

from edgecompile.targets.frozen import Frozen


class Qaic(Frozen):
    """What its compiler is told about the card."""

    cores: PositiveInt
    """AI cores of one chip."""
    chips: PositiveInt = 1
    hw_version: str
    """As `-aic-hw-version` takes it."""
    source: tuple[str, ...] = ()
