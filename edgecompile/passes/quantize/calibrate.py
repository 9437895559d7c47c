"""`calibrate`: run the samples once; note the range of every tensor that will get a Q/DQ pair."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from edgecompile.calibration.checkpoint import Checkpoint
from edgecompile.calibration.collector import Quantizer, collect
from edgecompile.calibration.method import range_method
from edgecompile.calibration.split import spread
from edgecompile.diagnostics import Diagnostic
from edgecompile.diagnostics.catalogue import quantize as rules
from edgecompile.diagnostics.core import Where
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Need, Note, Outcome, unchanged
from edgecompile.passes.quantize.affine import integer_type
from edgecompile.passes.quantize.forms import Forms, Zero
from edgecompile.passes.quantize.placed import PlacedPass
from edgecompile.passes.quantize.placement import Placement, place
from edgecompile.targets.schema import Target


class Calibrate(PlacedPass):
    """Run calibration samples through the float model and choose a range for each activation."""

    id: ClassVar[str] = "calibrate"
    version: ClassVar[int] = 2
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA})
    makes: ClassVar[frozenset[Need]] = frozenset({Need.RANGES})
    facts: ClassVar[tuple[str, ...]] = ("id", "quantization")
    required_facts: ClassVar[tuple[str, ...]] = ("quantization",)
    libraries: ClassVar[tuple[str, ...]] = ("onnxruntime", "numpy")

    method: str = "mse"
    """Range method: `minmax`, `moving_average`, `percentile`, `entropy`, `mse`, or a plug-in's."""
    options: dict[str, float | int | str | bool] = Field(default_factory=dict)
    """Options of the range method, such as `{cut: 99.99}` for `percentile`."""
    samples: Annotated[int, Field(ge=1)] = 256
    """Use at most this many samples, spread evenly over the data."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Stop before that when twice the samples have moved no end of a range by more than this share
    of its width, such as 0.01; null runs all samples."""

    def unfit(self, target: Target) -> list[str]:
        """A method or option that does not exist is refused before any model is loaded."""
        range_method(self.method, self.options)
        return super().unfit(target)

    def requires(self, model: Model, context: Context) -> list[Diagnostic]:
        """A target with a Q/DQ style: it decides which tensors are observed."""
        if context.target.quantization is not None:
            return []
        where = Where(step=self.id)
        return [rules.NO_QDQ_STYLE.at(where, target=context.target.id, step=self.id)]

    def run(self, model: Model, context: Context) -> Outcome:
        """Observe the tensors that `placement.place` would quantize, over the context's data."""
        style, data = self.style(context.target), context.data
        if style is None or data is None:
            return unchanged(model)
        placement = place(
            model,
            style,
            keep_float=self.floats_of(model),
            operators=self.operators,
            products=self.products == "integer",
            precision=self.widths(model),
        )
        checkpoint = None if context.checkpoint is None else Checkpoint(context.checkpoint, self.id)
        ranges = collect(
            model,
            placement.tensors,
            data.subset(spread(len(data), self.samples)),
            range_method(self.method, self.options),
            threads=context.threads,
            progress=context.progress,
            bits=integer_type(style.activations.type).bits,
            symmetric=style.activations.symmetric,
            special=_quantizers(placement, raised=Forms(style=style).wide is not None),
            checkpoint=checkpoint,
            tolerance=self.tolerance,
        )
        text = f"{len(ranges.tensors)} tensors calibrated by {ranges.method}"
        notes = [Note(message=f"{text} on {ranges.samples} samples")]
        if ranges.convergence is not None:
            notes.append(Note(message=str(ranges.convergence)))
        if checkpoint is not None and checkpoint.resumed:
            notes.append(Note(message=f"continued from sample {checkpoint.resumed}"))
        notes += [Note(message=why, tensor=name) for name, why in sorted(ranges.skipped.items())]
        return Outcome(model=model, changed=False, notes=notes, ranges=ranges)


def _quantizers(placement: Placement, *, raised: bool) -> dict[str, Quantizer]:
    """What each range is for: where several pairs read a tensor, the coarsest of them.

    Those of 16 bits have an interval of their own; `raised` says that any may get them later.
    """
    found: dict[str, Quantizer] = {}
    for site in placement.activations:
        wanted = Quantizer(site.form.bits, site.form.zero is not Zero.ANY)
        known = found.get(site.measured, wanted)
        wide = raised or known.wide or max(known.bits, wanted.bits) > 8
        found[site.measured] = min(known, wanted)._replace(wide=wide)
    return found
