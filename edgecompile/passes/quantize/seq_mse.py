"""`seq_mse`: choose the scales of quantized weights by the outputs of their layers."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from edgecompile.passes.quantize.rounding import Problem, Rounded, RoundingPass
from edgecompile.passes.quantize.scale_search import search_scale, unclipped
from edgecompile.passes.quantize.second_order import without_overflow
from edgecompile.passes.quantize.stored_weight import StoredWeight

OCTAVES = (1.0, 0.5, 0.25)


class SeqMse(RoundingPass):
    """Scales of least output error (SeqMSE) for weights that an earlier step made integers of.

    As in AIMET's sequential MSE: shares of each channel's or block's range, tried on the layer's
    inputs. Rounds to nearest; run `adaround` or `gptq` behind it to round better on these scales.
    """

    id: ClassVar[str] = "seq_mse"
    version: ClassVar[int] = 1

    candidates: Annotated[int, Field(ge=2, le=200)] = 29
    """Scales to try for each channel or block; powers of two where the target asks for them."""
    smallest: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """The smallest share of the range that is tried."""
    rounds: Annotated[int, Field(ge=1)] = 2
    """How often the blocks of a channel are gone through: what is best for one depends on all."""

    def rounded(self, layer: StoredWeight, problem: Problem) -> Rounded:
        """By trying scales."""
        base = unclipped(problem.weights, problem.lattice, layer.scale)
        shares = np.linspace(1.0, self.smallest, self.candidates).tolist()
        if problem.power_of_two:
            base, shares = np.exp2(np.ceil(np.log2(base))).astype(np.float32), list(OCTAVES)
        if layer.shared:
            base = np.full_like(base, base.max())
        scale = search_scale(
            problem.weights,
            problem.moments,
            problem.lattice,
            layer.scale,
            base,
            shares=shares,
            shared=layer.shared,
            rounds=self.rounds,
        )
        steps = layer.lattice(scale).nearest(problem.weights)
        if problem.partners is not None:
            steps = without_overflow(steps, problem.partners)
        return Rounded(steps=steps, scale=scale)
