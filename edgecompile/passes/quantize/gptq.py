"""`gptq`: round quantized weights for the inputs that they meet, instead of each to its nearest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import onnx_ir as ir
from pydantic import Field

from edgecompile.calibration.moments import Moments, moments_bytes, second_moments
from edgecompile.calibration.split import spread
from edgecompile.ir.facts import constant_array
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Need, NoteBook, Outcome, Pass, unchanged
from edgecompile.passes.quantize.affine import FloatArray, IntArray, IntegerType, integer_type
from edgecompile.passes.quantize.second_order import output_error, round_second_order
from edgecompile.passes.quantize.unfold import Unfolded, unfold
from edgecompile.targets.schema import Saturation

WORTHWHILE = 0.9
"""Share of a channel's error that a new rounding must come below. What is left above it fits the
samples at hand: of white noise, 48 inputs seen 384 times promise 5 % and lose 6 % on others."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One quantized weight of one operator, and the float one that it stands for."""

    name: str
    rows: Unfolded
    weights: FloatArray
    integers: ir.Value
    scale: FloatArray
    dtype: IntegerType


class Gptq(Pass):
    """Second-order rounding (GPTQ) of the weights that `quantize_static` has rounded to nearest.

    Scales stay as they are; every channel keeps the better of both roundings.
    """

    id: ClassVar[str] = "gptq"
    version: ClassVar[int] = 1
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA, Need.REFERENCE})
    facts: ClassVar[tuple[str, ...]] = ("quantization",)
    required_facts: ClassVar[tuple[str, ...]] = ("quantization",)
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "onnxruntime")
    lossy: ClassVar[bool] = True

    samples: Annotated[int, Field(ge=1)] = 32
    """Calibration samples to gather input moments from."""
    damping: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Share of the mean of the moments' diagonal added to it: higher trusts the samples less."""
    memory_mb: Annotated[int, Field(ge=16)] = 512
    """Moments held at once; layers beyond it take a further run over the samples."""
    largest_inputs: Annotated[int, Field(ge=1)] = 8192
    """Leave layers with more inputs per output than this: cost grows with its cube."""
    overflow: Literal["auto", "avoid", "ignore"] = "auto"
    """Whether pairs of weights must be safe from 16-bit saturation; `auto` asks the target."""

    def run(self, model: Model, context: Context) -> Outcome:
        """Round every weight that is a matrix of known inputs again."""
        style, data, reference = context.target.quantization, context.data, context.reference
        if style is None or data is None or reference is None:
            return unchanged(model)
        book, result = NoteBook(), model.clone()
        layers = list(_layers(result, reference, self.largest_inputs, book))
        avoid = self.overflow == "avoid" or (
            self.overflow == "auto" and style.saturation is not Saturation.NEVER
        )
        samples = data.subset(spread(len(data), self.samples))
        before = after = 0.0
        for batch in _batches(layers, self.memory_mb << 20):
            wanted = {layer.name: layer.rows for layer in batch}
            moments = second_moments(
                reference, wanted, samples, threads=context.threads, progress=context.progress
            )
            for layer in batch:
                lost, left = self._round(layer, moments[layer.name], book, avoid=avoid)
                before, after = before + lost, after + left
        if before == after:
            return unchanged(model, book.notes)
        ratio = 10 * np.log10(before / after) if after else np.inf
        book.fail(f"{len(layers)} weights rounded again: {ratio:.1f} dB less error of the outputs")
        return Outcome(model=result, changed=True, notes=book.notes)

    def _round(
        self, layer: Layer, moments: Moments, book: NoteBook, *, avoid: bool
    ) -> tuple[float, float]:
        """Round one layer in place: its error over its output's power, before and after."""
        stored = layer.integers.const_value
        assert stored is not None
        weights = layer.rows.matrix(layer.weights.astype(np.float32))
        nearest = layer.rows.matrix(stored.numpy().astype(np.float32))
        flat = layer.scale.astype(np.float32).reshape(-1)
        scale = np.broadcast_to(flat, weights.shape[:2]) if flat.size == 1 else flat
        scale = scale.reshape(weights.shape[:2])
        pairs = layer.rows.partners() if avoid and layer.dtype.bits == 8 else None
        found = round_second_order(
            weights, moments, scale, layer.dtype, damping=self.damping, partners=pairs
        )
        power = float(output_error(weights, moments).sum()) or 1.0
        error = output_error(nearest * scale[..., None] - weights, moments)
        if found is None:
            book.fail("its input moments cannot be inverted: rounded to nearest", layer.name)
            return error.sum() / power, error.sum() / power
        improved = output_error(found * scale[..., None] - weights, moments)
        better = improved < WORTHWHILE * error
        chosen = np.where(better[..., None], found, nearest)
        self._store(layer, chosen)
        return error.sum() / power, np.where(better, improved, error).sum() / power

    def _store(self, layer: Layer, integers: IntArray) -> None:
        array = layer.rows.restored(integers).astype(layer.dtype.storage)
        array = np.ascontiguousarray(array)
        old = layer.integers.const_value
        assert old is not None
        if not np.array_equal(array, old.numpy()):
            layer.integers.const_value = ir.tensor(array, dtype=old.dtype, name=old.name)


def _layers(model: Model, reference: Model, largest: int, book: NoteBook) -> Iterator[Layer]:
    """Weights of `model` behind a DequantizeLinear whose float form `reference` holds."""
    originals = {node.outputs[0].name: node for node in reference.graph.graph}
    for node in model.graph.graph:
        if node.op_type != "DequantizeLinear" or constant_array(node.inputs[0]) is None:
            continue
        uses = sorted(node.outputs[0].uses(), key=lambda use: use[0].outputs[0].name or "")
        if len(uses) != 1:
            book.fail("weights shared by several operators: rounded to nearest", node.name)
            continue
        consumer, index = uses[0]
        layer = _layer(node, originals.get(consumer.outputs[0].name), index, largest)
        if layer is not None:
            yield layer
        elif consumer.op_type in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
            book.fail("not a product of rows and weights: rounded to nearest", consumer.name)


def _layer(dequantize: ir.Node, original: ir.Node | None, index: int, largest: int) -> Layer | None:
    integers, scale, zero = (*dequantize.inputs, None)[:3]
    if original is None or integers is None or scale is None or integers.dtype is None:
        return None
    weights = constant_array(original.inputs[index])
    scales, zeros = constant_array(scale), None if zero is None else constant_array(zero)
    if weights is None or scales is None or (zeros is not None and zeros.any()):
        return None
    rows = unfold(original, index, weights)
    if rows is None or rows.shape[1] > largest or "block_size" in dequantize.attributes:
        return None
    return Layer(
        name=original.outputs[0].name or "",
        rows=rows,
        weights=weights,
        integers=integers,
        scale=scales,
        dtype=integer_type(integers.dtype.name.lower(), narrow=True),
    )


def _batches(layers: list[Layer], limit_bytes: int) -> Iterator[list[Layer]]:
    batch: list[Layer] = []
    used = 0
    for layer in layers:
        size = moments_bytes(layer.rows)
        if batch and used + size > limit_bytes:
            yield batch
            batch, used = [], 0
        batch.append(layer)
        used += size
    if batch:
        yield batch
