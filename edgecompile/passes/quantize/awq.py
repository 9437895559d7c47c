"""`awq`: give weights that meet loud inputs finer steps, before weights are stored in 4 bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from edgecompile.calibration.moments import Moments, moments_bytes, second_moments
from edgecompile.calibration.split import spread
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Need, NoteBook, Outcome, Pass, unchanged
from edgecompile.passes.quantize.affine import FloatArray
from edgecompile.passes.quantize.batches import batches
from edgecompile.passes.quantize.channel_scale import Layer, Scales
from edgecompile.passes.quantize.scaled_groups import Group, scaled_groups
from edgecompile.passes.quantize.second_order import output_error
from edgecompile.passes.quantize.weight_blocks import Layout, Levels, compress

PRODUCTS = ("MatMul", "Gemm")
GRID = tuple(i / 20 for i in range(1, 21))


class Awq(Pass):
    """Activation-aware scaling of the inputs of matrix products, for `quantize_weights` behind it.

    Lin et al. 2023, "AWQ: Activation-aware Weight Quantization for LLM Compression and
    Acceleration", arXiv:2306.00978, section 3.2: weights times s and inputs by s, with s a power of
    the inputs' size, chosen by the error of the quantized product. The model computes the same.
    Give `group_size` and `symmetric` as to `quantize_weights`.
    """

    id: ClassVar[str] = "awq"
    version: ClassVar[int] = 1
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA})
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "onnxruntime", "onnx-ir")

    group_size: Literal[16, 32, 64, 128] = 32
    """How many 4-bit numbers will share a scale."""
    symmetric: bool = False
    """Whether they will have no zero points."""
    insert: bool = False
    """Multiply by the inverse scales where nothing before the tensor can take them in, as in
    models that normalise behind the residual: an operator more. Else such tensors stay."""
    samples: Annotated[int, Field(ge=1)] = 32
    """Calibration samples to gather the moments of inputs from."""
    rows: Annotated[int, Field(ge=1)] = 4
    """Inputs (tokens) to gather in all, in multiples of the inputs per output."""
    memory_mb: Annotated[int, Field(ge=16)] = 128
    """Moments held at once; layers beyond it take a further run over the samples."""
    gain: Annotated[float, Field(ge=1)] = 1.02
    """Leave tensors alone whose error would fall by less than this factor."""

    def run(self, model: Model, context: Context) -> Outcome:
        """Scale every tensor that gains from it."""
        if context.data is None:
            return unchanged(model)
        book, result = NoteBook(), model.clone()
        insert = PRODUCTS if self.insert else ()
        groups = list(scaled_groups(result, PRODUCTS, book, insert=insert))
        samples = context.data.subset(spread(len(context.data), self.samples))
        # the moments are those of the model before any scale
        views = {group.name: group.views[0] for group in groups}
        count = 0
        for batch in batches(groups, lambda g: moments_bytes(g.views[0]), self.memory_mb << 20):
            found = second_moments(
                model,
                {group.name: views[group.name] for group in batch},
                samples,
                rows_per_input=self.rows,
                threads=context.threads,
                progress=context.progress,
            )
            count += sum(self._scale(g, found.pop(g.name), result, book) for g in batch)
        if not count:
            return unchanged(model, book.notes)
        book.fail(f"{count} of {len(groups)} tensors scaled")
        return Outcome(model=result, changed=True, notes=book.notes)

    def _scale(self, group: Group, moments: Moments, result: Model, book: NoteBook) -> bool:
        """Find and apply the scales of one group; whether there are any."""
        shrunk = moments.shrunk()[0].astype(np.float32)
        loud = np.sqrt(np.maximum(np.diagonal(shrunk), 0)).astype(np.float64)
        if not loud.any():
            return False
        before = best = self._error(group.layers, shrunk, np.ones_like(loud))
        chosen, alpha = np.ones_like(loud), 0.0
        for exponent in GRID:
            scales = powers(loud, exponent)
            error = self._error(group.layers, shrunk, scales)
            if error < best:
                best, chosen, alpha = error, scales, exponent
        if before < self.gain * best:
            return False
        group.scale(chosen, result)
        gained = 10 * np.log10(before / best) if best else np.inf
        told = f"inputs scaled with alpha {alpha:g}: {gained:.1f} dB less error of its products"
        book.fail(told, group.layers[0].node.name, op_type=group.layers[0].node.op_type)
        return True

    def _error(self, layers: Sequence[Layer], moments: FloatArray, scales: Scales) -> float:
        """Error of the layers' products, each over the power of its exact ones."""
        total = 0.0
        levels = Levels(bits=4, symmetric=self.symmetric)
        for layer in layers:
            plain = np.ascontiguousarray(layer.by_input(layer.weights)[0, :, :, 0])
            wide = (plain * scales).astype(np.float32)
            made = compress(
                wide, Layout(axis=1, block=self._block(len(scales))), levels, clip="none"
            )
            off = (made.restored() / scales - plain).astype(np.float32)
            power = float(output_error(plain[None], moments[None]).sum()) or 1.0
            total += float(output_error(off[None], moments[None]).sum()) / power
        return total

    def _block(self, length: int) -> int:
        """As `quantize_weights` divides; a row that it does not divide counts as one block."""
        size = int(self.group_size)
        while size >= 16 and length % size:
            size //= 2
        return size if size >= 16 else length


def powers(loud: Scales, exponent: float) -> Scales:
    """s = size^exponent, their geometric mean 1; inputs that are always zero keep 1."""
    live = loud > 0
    logarithm = exponent * np.log(np.where(live, loud, 1.0))
    centred = np.where(live, logarithm - logarithm[live].mean(), 0.0)
    scales: Scales = np.exp(np.clip(centred, -6.0, 6.0))
    return scales
