"""Small passes for tests of the recipe loader, which must not depend on the real ones."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgecompile.emitters.base import Emitter
from edgecompile.passes.base import Need, Pass, unchanged


class Bound(BaseModel):
    """A nested option."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    at_least: float = 0.0


class Observe(Pass):
    """Makes ranges."""

    id: ClassVar[str] = "observe"
    makes: ClassVar[frozenset[Need]] = frozenset({Need.RANGES})

    method: Literal["minmax", "entropy"] = "minmax"
    """How."""
    samples: int = Field(default=16, ge=1)
    """How many."""
    table: Path | None = None
    """A file beside the recipe."""

    def run(self, model, context):
        """Nothing."""
        return unchanged(model)


class Shrink(Pass):
    """Consumes ranges, for targets with a Q/DQ style."""

    id: ClassVar[str] = "shrink"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.RANGES})
    facts: ClassVar[tuple[str, ...]] = ("quantization", "opset")
    required_facts: ClassVar[tuple[str, ...]] = ("quantization",)

    operators: tuple[str, ...] = ()
    """Which."""
    opset: int | None = None
    """At which opset."""
    bound: Bound | None = None
    """A nested option."""

    def unfit(self, target):
        """An opset above the target's ceiling does not do."""
        reasons = super().unfit(target)
        if self.opset is not None and self.opset > target.opset.max:
            reasons.append(f"opset {self.opset} is above its ceiling of {target.opset.max}")
        return reasons

    def run(self, model, context):
        """Nothing."""
        return unchanged(model)


class Box(Emitter):
    """A format for tests."""

    id: ClassVar[str] = "box-file"
    libraries: ClassVar[tuple[str, ...]] = ()

    half: bool = False
    """Whether to halve."""

    def supports(self, model, target):
        """Everything."""
        return []

    def emit(self, model, target, directory, source):
        """Nothing."""
        raise AssertionError("tests of recipes do not emit")


EMITTERS = {"box-file": Box}
PASSES = {"observe": Observe, "shrink": Shrink}
