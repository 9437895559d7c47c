"""`quantize_weights`: store weights in 8 or 4 bits, compute in float. Needs no data."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import onnx_ir as ir

from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue import weights as rules
from edgecompile.diagnostics.catalogue.quantize import OPSET_TOO_LOW, UNKNOWN_NODE
from edgecompile.ir.facts import all_nodes, opset
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Note, Outcome, Pass, unchanged
from edgecompile.passes.quantize.placement import node_name
from edgecompile.passes.quantize.weight_blocks import Clip, Compressed, Layout, Levels, compress
from edgecompile.passes.quantize.weight_forms import Form, WeightWriter
from edgecompile.passes.quantize.weight_importance import input_power
from edgecompile.passes.quantize.weight_sites import WeightSite, smallest, weight_sites

SMALLEST_GROUP = 16
BLOCK_OPSET = 21


class QuantizeWeights(Pass):
    """Weights in INT8 per channel or INT4 in blocks, restored to float where they are used.

    4 bits go to matrices that are multiplied with; convolution kernels and recurrent weights, and
    whatever 4 bits would cost too much, take 8.
    """

    id: ClassVar[str] = "quantize_weights"
    version: ClassVar[int] = 1
    facts: ClassVar[tuple[str, ...]] = ("id", "opset", "weight_compression")
    libraries: ClassVar[tuple[str, ...]] = ("onnx-ir", "numpy")
    lossy: ClassVar[bool] = True

    bits: Literal[4, 8] = 8
    """Width of the weights that are multiplied with."""
    group_size: Literal[16, 32, 64, 128, "channel"] = 32
    """How many 4-bit numbers share a scale. Where the matrix does not divide into such blocks, the
    next smaller power of two down to 16 that it divides into. `channel`: all that make one output,
    for accelerators that scale sums and not products; then without zero points."""
    symmetric: bool = False
    """No zero points: a little smaller, and less accurate, most of all in 4 bits."""
    clip: Clip = "mse"
    """How to set a scale: `none` represents the largest weight, `mse` has least squared error,
    `hqq` (half-quadratic quantization) lets a few outliers decide less."""
    embeddings: Literal["int4", "int8", "float"] = "int8"
    """Tables whose rows are looked up; `int4` takes effect with `bits: 4`."""
    kernels: Literal["int4", "int8"] = "int8"
    """Weights that are not divided into blocks, such as those of convolutions; `int4` takes effect
    with `bits: 4`, a scale for each output channel: round them by `adaround` or `gptq` then."""
    otherwise: Literal["int8", "float"] = "int8"
    """What weights become that 4 bits are too few for; runtimes without a kernel for 8-bit weights
    and float activations want `float`."""
    min_elements: int = 1024
    """Smaller weights stay in float: they save nothing that counts."""
    float_share: float = 0.005
    """The smallest weights that together hold this share of all numbers stay in float, too. They
    are the first and the depthwise kernels of a CNN, whose errors every later layer sees."""
    min_sqnr_db_4bit: float = 12.0
    """A weight that 4 bits would restore worse than this takes 8."""
    min_sqnr_db_8bit: float = 25.0
    """A weight that 8 bits would restore worse than this stays in float."""
    keep_float: tuple[str, ...] = ()
    """Names of nodes whose weights stay in float."""

    def requires(self, model: Model, context: Context) -> list[Diagnostic]:
        """Opset 13, or 21 for blocks in standard form; no unknown name in `keep_float`."""
        where, found, have = Where(step=self.id), [], opset(model)
        if self._form(context) == "dequantize_linear" and self.bits == 4:
            if have < BLOCK_OPSET:
                rule = rules.OPSET_TOO_LOW_FOR_BLOCKS
                found.append(rule.at(where, opset=have, step=self.id))
            if context.target.opset.max < BLOCK_OPSET:
                ceiling, name = context.target.opset.max, context.target.id
                rule = rules.OPSET_ABOVE_TARGET_FOR_BLOCKS
                found.append(rule.at(where, target=name, ceiling=ceiling))
        elif have < 13:
            found.append(OPSET_TOO_LOW.at(where, opset=have, step=self.id, needed=13))
        names = {node_name(node) for node in all_nodes(model)}
        missing = [name for name in self.keep_float if name not in names]
        found += [UNKNOWN_NODE.at(where, node=name) for name in missing]
        sites = list(weight_sites(model.graph))
        small = smallest(sites, model.graph, self.float_share)
        if not any(self._left(site, small) is None for site in sites):
            found.append(rules.NO_WEIGHT_COMPRESSED.at(where, step=self.id))
        return found

    def run(self, model: Model, context: Context) -> Outcome:
        """Compress every weight that is worth it and can bear it."""
        copy, notes, figures = model.clone(), [], _Figures()
        writer = WeightWriter(copy.graph)
        form = self._form(context)
        sites = list(weight_sites(copy.graph))
        small = smallest(sites, copy.graph, self.float_share)
        for site in sites:
            reason = self._left(site, small) or _not_finite(site)
            if reason is None:
                compressed, reason = self._compress(site, context.threads)
                if compressed is not None:
                    size = writer.write(site, compressed, form)
                    figures.add(compressed, site.tensor.nbytes, size)
            if reason is not None:
                notes.append(_note(site, reason))
        if not figures.count:
            return unchanged(model, notes)
        return Outcome(model=copy, changed=True, notes=(*figures.notes(), *notes))

    @staticmethod
    def _form(context: Context) -> Form:
        style = context.target.weight_compression
        return "dequantize_linear" if style is None else style.form

    def _left(self, site: WeightSite, small: set[str]) -> str | None:
        """Why `site` stays in float, as far as can be told without looking at its numbers."""
        if site.tensor.dtype != ir.DataType.FLOAT:
            return f"its type is {site.tensor.dtype.name.lower()}, only float32 is compressed"
        if any(node_name(reader.node) in self.keep_float for reader in site.readers):
            return "named in keep_float"
        if site.is_table and self.embeddings == "float":
            return "it is a table, and 'embeddings' is 'float'"
        if site.tensor.size < self.min_elements:
            return f"it has {site.tensor.size} elements, fewer than {self.min_elements}"
        if site.name in small:
            return f"it is one of the smallest weights, {self.float_share:.1%} of all numbers"
        return None

    def _compress(self, site: WeightSite, threads: int) -> tuple[Compressed | None, str | None]:
        """The narrowest form that is good enough, and a remark where that is not the wanted one."""
        weight, remark = site.tensor.numpy(), None
        wanted = 4 if self.bits == 4 and (not site.is_table or self.embeddings == "int4") else 8
        form = self._four_bits(site) if wanted == 4 else None
        if form is not None:
            layout, levels = form
            counts = input_power(site) if layout.block is not None else None
            made = compress(
                weight, layout, levels, clip=self.clip, importance=counts, threads=threads
            )
            if made.sqnr_db >= self.min_sqnr_db_4bit:
                return made, None
            bar = f"below {self.min_sqnr_db_4bit:.1f}"
            remark = f"8 bits: 4 would restore it to {made.sqnr_db:.1f} dB, {bar}"
        elif wanted == 4 and not site.is_table:
            remark = f"8 bits: {self._why_no_blocks(site)}"
        if wanted == 4 and self.otherwise == "float" and not site.is_table:
            return None, (remark or "").replace("8 bits: ", "", 1)
        levels = Levels(bits=8, symmetric=self.symmetric)
        layout = Layout(axis=site.axes.channel)
        made = compress(weight, layout, levels, clip=self.clip, threads=threads)
        if made.sqnr_db >= self.min_sqnr_db_8bit:
            return made, remark
        bar = f"below {self.min_sqnr_db_8bit:.1f}"
        return None, f"8 bits would restore it to {made.sqnr_db:.1f} dB, {bar}"

    def _four_bits(self, site: WeightSite) -> tuple[Layout, Levels] | None:
        """Blocks where the weight divides into them, else a scale per channel where asked for."""
        group = self._group(site)
        if group is not None:
            levels = Levels(bits=4, symmetric=self.symmetric)
            return Layout(axis=site.axes.inner, block=group), levels
        per_channel = self.group_size == "channel" and site.axes.inner is not None
        if (per_channel or self.kernels == "int4") and not site.is_table:
            return Layout(axis=site.axes.channel), Levels(bits=4, symmetric=True)
        return None

    def _group(self, site: WeightSite) -> int | None:
        """The block size for `site`: `group_size` or the next smaller one that divides it."""
        axes, shape = site.axes, site.tensor.shape.numpy()
        if axes.inner is None or self.group_size == "channel":
            return None
        size = int(self.group_size)
        while size >= SMALLEST_GROUP and shape[axes.inner] % size:
            size //= 2
        return size if size >= SMALLEST_GROUP else None

    @staticmethod
    def _why_no_blocks(site: WeightSite) -> str:
        inner = site.axes.inner
        if inner is None:
            return f"weights of {' and '.join(site.operators)} are not divided into blocks"
        length = site.tensor.shape.numpy()[inner]
        return f"{length} inputs do not divide into blocks of {SMALLEST_GROUP} or more"


def _not_finite(site: WeightSite) -> str | None:
    return None if np.isfinite(site.tensor.numpy()).all() else "it holds values that are not finite"


def _note(site: WeightSite, reason: str) -> Note:
    reader = site.readers[0].node
    return Note(
        message=f"weight '{site.name}': {reason}",
        node=node_name(reader),
        tensor=site.name,
        op_type=reader.op_type,
        kept_float=not reason.startswith("8 bits:"),
    )


class _Figures:
    """Counts what was compressed, for one line per type in the report."""

    def __init__(self) -> None:
        self.count = 0
        self._types: dict[str, list[tuple[int, int, float]]] = {}

    def add(self, compressed: Compressed, before_bytes: int, after_bytes: int) -> None:
        self.count += 1
        kind, block = compressed.levels.type_name, compressed.layout.block
        label = f"{kind} per channel" if block is None else f"{kind} in blocks of {block}"
        figures = (before_bytes, after_bytes, compressed.sqnr_db)
        self._types.setdefault(label, []).append(figures)

    def notes(self) -> tuple[Note, ...]:
        lines = []
        for label, figures in sorted(self._types.items()):
            before, after, quality = zip(*figures, strict=True)
            lines.append(
                f"{len(figures)} weights to {label}: {sum(before):,} to {sum(after):,} bytes, "
                f"restored to at least {min(quality):.1f} dB"
            )
        return tuple(Note(message=line) for line in lines)
