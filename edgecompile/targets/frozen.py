"""The base of every fact about a device."""

from __future__ import annotations

from pydantic import ConfigDict

from edgecompile.plugins.described import Described


class Frozen(Described):
    """Base of every fact: immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
