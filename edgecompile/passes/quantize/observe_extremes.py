"""`observe_extremes`: run the samples once; note the largest values of every float tensor."""

from __future__ import annotations

from typing import Annotated, ClassVar

import onnx_ir as ir
from pydantic import Field

from edgecompile.calibration.collector import collect
from edgecompile.calibration.method import range_method
from edgecompile.calibration.split import spread
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Need, Note, Outcome, Pass, unchanged
from edgecompile.passes.quantize.fp16_policy import LARGEST


class ObserveExtremes(Pass):
    """Extremes of all float tensors on calibration samples, for `cast_fp16` behind it.

    `cast_fp16` then keeps in float32 what really leaves the range of half precision, names it with
    the value that was seen, and casts what it would keep on suspicion alone.
    """

    id: ClassVar[str] = "observe_extremes"
    version: ClassVar[int] = 1
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA})
    makes: ClassVar[frozenset[Need]] = frozenset({Need.RANGES})
    libraries: ClassVar[tuple[str, ...]] = ("onnxruntime", "numpy")

    samples: Annotated[int, Field(ge=1)] = 256
    """Use at most this many samples, spread evenly over the data."""

    def run(self, model: Model, context: Context) -> Outcome:
        """Watch every float output of the main graph's nodes, and the inputs."""
        data = context.data
        if data is None:
            return unchanged(model)
        graph = model.graph.graph
        values = [*graph.inputs, *(value for node in graph for value in node.outputs)]
        tensors = [v.name for v in values if v.name and v.dtype == ir.DataType.FLOAT]
        ranges = collect(
            model,
            tensors,
            data.subset(spread(len(data), self.samples)),
            range_method("minmax", {}),
            threads=context.threads,
            progress=context.progress,
        )
        large = {
            name: max(abs(found.observed_min), abs(found.observed_max))
            for name, found in ranges.tensors.items()
        }
        beyond = sorted(name for name, top in large.items() if top > LARGEST)
        text = f"{len(ranges.tensors)} tensors observed on {ranges.samples} samples"
        notes = [Note(message=f"{text}, {len(beyond)} of them beyond {LARGEST:g}")]
        notes += [Note(message=f"reaches {large[name]:g}", tensor=name) for name in beyond]
        return Outcome(model=model, changed=False, notes=notes, ranges=ranges)
