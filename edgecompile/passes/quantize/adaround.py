"""`adaround`: learn whether each quantized weight is rounded down or up."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from edgecompile.passes.quantize.rounding import Problem, Rounded, RoundingPass
from edgecompile.passes.quantize.second_order import descend, without_overflow
from edgecompile.passes.quantize.soft_rounding import learn_rounding
from edgecompile.passes.quantize.stored_weight import StoredWeight


class Adaround(RoundingPass):
    """Learned rounding (AdaRound) of weights that an earlier step has made integers of.

    Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization",
    arXiv:2004.10568, layer by layer, on the second moments of each layer's inputs. Of any width,
    per channel or in blocks; scales stay as they are. Worth its time in 4 bits.
    """

    id: ClassVar[str] = "adaround"
    version: ClassVar[int] = 1

    iterations: Annotated[int, Field(ge=10)] = 300
    """Steps of each layer; each sees all samples."""
    rate: Annotated[float, Field(gt=0)] = 0.1
    """Learning rate."""
    regularisation: Annotated[float, Field(gt=0)] = 0.5
    """Weight of what drives each rounding to a decision."""
    sweeps: Annotated[int, Field(ge=0)] = 3
    """Rounds of coordinate descent afterwards, at most (as in `gptq`): gradients are slow where
    inputs are alike."""

    def rounded(self, layer: StoredWeight, problem: Problem) -> Rounded:
        """By gradient descent on a soft rounding."""
        del layer
        steps = learn_rounding(
            problem.weights,
            problem.moments,
            problem.lattice,
            iterations=self.iterations,
            rate=self.rate,
            regularisation=self.regularisation,
        )
        if problem.partners is not None:
            steps = without_overflow(steps, problem.partners)
        steps = descend(
            steps,
            problem.weights,
            problem.moments,
            problem.lattice,
            sweeps=self.sweeps,
            partners=problem.partners,
        )
        return Rounded(steps=steps)
