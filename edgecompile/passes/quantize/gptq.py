"""`gptq`: round quantized weights for the inputs that they meet, instead of each to its nearest."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from edgecompile.passes.quantize.rounding import Problem, Rounded, RoundingPass
from edgecompile.passes.quantize.second_order import descend, round_second_order
from edgecompile.passes.quantize.stored_weight import StoredWeight


class Gptq(RoundingPass):
    """Second-order rounding of weights that an earlier step has made integers of.

    Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
    Transformers", arXiv:2210.17323; with `sweeps`, then cyclic coordinate descent on the same
    objective (Behdin et al. 2023, "QuantEase", arXiv:2309.01885). Of any width, per channel or in
    blocks; scales stay as they are, and every channel keeps the better of both roundings.
    """

    id: ClassVar[str] = "gptq"
    version: ClassVar[int] = 4

    sweeps: Annotated[int, Field(ge=0)] = 0
    """Rounds of coordinate descent afterwards, at most."""

    def rounded(self, layer: StoredWeight, problem: Problem) -> Rounded | None:
        """By second order, then one column at a time."""
        del layer
        steps = round_second_order(
            problem.weights, problem.moments, problem.lattice, partners=problem.partners
        )
        if steps is None:
            return None
        if not self.sweeps:
            return Rounded(steps=steps)
        steps = descend(
            steps,
            problem.weights,
            problem.moments,
            problem.lattice,
            sweeps=self.sweeps,
            partners=problem.partners,
        )
        return Rounded(steps=steps)
