"""Round-to-nearest of weights in rows or blocks, with clipping chosen by squared error.

Every row of numbers that shares a scale (an output channel, or a block of one) is searched on its
own: first how far to shrink both ends of its range, then each end by itself. Shrinking the range
that is represented trades a few clipped outliers for finer steps, as in OCTAV (Sakr et al. 2022,
"Optimal clipping and magnitude-aware differentiation", arXiv:2206.06501) and MSE calibration
(Nagel et al. 2021, "A white paper on neural network quantization", arXiv:2106.08295, section 3.1);
the search here is a plain coordinate descent and needs no data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgecompile.passes.quantize.half_quadratic import half_quadratic

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[Any]
Clip = Literal["none", "mse", "hqq"]

CHUNK_ELEMENTS = 1 << 17
"""Numbers searched at a time: half a MiB and its temporaries fit a second-level cache."""
SHRINK = tuple(np.float32(g) for g in (0.95, 0.9, 0.85, 0.8, 0.75, 0.7))
HALF = np.float32(0.5)
STEPS = (np.float32(0.1), np.float32(0.05))
LEAST_SHARE = np.float32(0.4)
SMALLEST_SCALE = np.float32(np.finfo(np.float32).tiny * 256)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which numbers of a weight share a scale.

    With `block` None, all that have the same index along `axis` (all of them if `axis` is None
    too). Else, runs of `block` numbers along `axis`, whose length must be a multiple of it.
    """

    axis: int | None
    block: int | None = None

    def rows(self, weight: FloatArray) -> FloatArray:
        """`weight` as `[scales, numbers that share one]`, contiguous."""
        if self.axis is None:
            return np.ascontiguousarray(weight.reshape(1, -1))
        if self.block is None:
            moved = np.moveaxis(weight, self.axis, 0)
            return np.ascontiguousarray(moved.reshape(moved.shape[0], -1))
        moved = np.moveaxis(weight, self.axis, -1)
        return np.ascontiguousarray(moved).reshape(-1, self.block)

    def restore(self, rows: ByteArray, shape: tuple[int, ...]) -> ByteArray:
        """The inverse of `rows` for an array of `shape`."""
        if self.axis is None:
            return rows.reshape(shape)
        if self.block is None:
            first = (shape[self.axis], *(n for i, n in enumerate(shape) if i != self.axis))
            return np.ascontiguousarray(np.moveaxis(rows.reshape(first), 0, self.axis))
        last = (*(n for i, n in enumerate(shape) if i != self.axis), shape[self.axis])
        return np.ascontiguousarray(np.moveaxis(rows.reshape(last), -1, self.axis))

    def scales(self, per_row: ByteArray, shape: tuple[int, ...]) -> ByteArray:
        """One number per row in the shape that ONNX wants of a scale or zero point.

        A scalar, `[C]`, or the weight's shape with `axis` divided by `block`.
        """
        if self.axis is None:
            return per_row.reshape(())
        if self.block is None:
            return per_row
        counts = [n for i, n in enumerate(shape) if i != self.axis]
        blocks = per_row.reshape(*counts, shape[self.axis] // self.block)
        return np.ascontiguousarray(np.moveaxis(blocks, -1, self.axis))


@dataclass(frozen=True, kw_only=True)
class Levels:
    """The integers that may be used: `low` to `high`, with zero at 0 when `symmetric`."""

    bits: Literal[4, 8]
    symmetric: bool

    @property
    def low(self) -> int:
        """Smallest integer. Symmetric 8-bit weights leave out -128, as int8 kernels want."""
        if not self.symmetric:
            return 0
        return -8 if self.bits == 4 else -127

    @property
    def high(self) -> int:
        """Largest integer."""
        return (1 << (self.bits - 1)) - 1 if self.symmetric else (1 << self.bits) - 1

    @property
    def type_name(self) -> str:
        """`int4`, `uint4`, `int8` or `uint8`."""
        return f"{'' if self.symmetric else 'u'}int{self.bits}"

    @property
    def storage(self) -> np.dtype[Any]:
        """The numpy type of one integer, a byte also for 4 bits."""
        return np.dtype(np.int8 if self.symmetric else np.uint8)


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """A weight in integers: x' = (integers - zero_point) scale.

    `scale` and `zero_point` have the shapes of `Layout.scales`; `zero_point` is None when it is 0
    throughout. `sqnr_db` is 10 log10(sum of squares of the weight / sum of squares of the error).
    """

    integers: ByteArray
    scale: FloatArray
    zero_point: ByteArray | None
    levels: Levels
    layout: Layout
    sqnr_db: float

    def restored(self) -> FloatArray:
        """What `DequantizeLinear` makes of it, bit for bit."""
        shape = self.integers.shape
        steps = self.integers.astype(np.float32)
        if self.zero_point is not None:
            steps -= self._spread(self.zero_point, shape).astype(np.float32)
        return steps * self._spread(self.scale, shape)

    def _spread(self, values: ByteArray, shape: tuple[int, ...]) -> ByteArray:
        axis, block = self.layout.axis, self.layout.block
        if axis is None:
            return values
        if block is not None:
            return np.repeat(values, block, axis=axis)
        return values.reshape([-1 if i == axis else 1 for i in range(len(shape))])


def compress(
    weight: FloatArray,
    layout: Layout,
    levels: Levels,
    *,
    clip: Clip,
    importance: FloatArray | None = None,
    threads: int = 1,
) -> Compressed:
    """Quantize `weight` (finite float32). Rows of zeros get scale 1.

    `importance` (positive, of a shape that broadcasts to the weight's) says how much an error at
    each place counts in the search; None counts all alike.
    """
    rows = layout.rows(weight.astype(np.float32, copy=False))
    search = _Search(levels, clip)
    per_chunk = max(1, CHUNK_ELEMENTS // max(1, rows.shape[1]))
    counts = None
    if importance is not None and clip == "mse":
        counts = layout.rows(np.broadcast_to(importance.astype(np.float32), weight.shape))
    parts = [
        (rows[i : i + per_chunk], None if counts is None else counts[i : i + per_chunk])
        for i in range(0, len(rows), per_chunk)
    ]
    results = list(_in_order(search, parts, threads))
    integers = np.concatenate([r[0] for r in results])
    scale = np.concatenate([r[1] for r in results])
    zero = np.concatenate([r[2] for r in results])
    lost = float(sum(r[3] for r in results))
    power = float(sum(np.square(part, dtype=np.float64).sum() for part, _ in parts))
    shape = tuple(weight.shape)
    return Compressed(
        integers=layout.restore(integers, shape),
        scale=layout.scales(scale, shape),
        zero_point=None if levels.symmetric else layout.scales(zero, shape),
        levels=levels,
        layout=layout,
        sqnr_db=sqnr_db(power, lost),
    )


def sqnr_db(power: float, lost: float) -> float:
    """10 log10(power / lost), infinite for no loss."""
    if lost == 0:
        return float("inf")
    return float(10 * np.log10(power / lost)) if power else float("-inf")


def pack_nibbles(integers: ByteArray) -> npt.NDArray[np.uint8]:
    """4-bit integers, flattened, two to a byte, the first in the low half (ONNX's INT4 layout)."""
    flat = np.ascontiguousarray(integers).reshape(-1).astype(np.uint8) & np.uint8(15)
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    packed: npt.NDArray[np.uint8] = flat[0::2] | (flat[1::2] << np.uint8(4))
    return packed


Part = tuple[FloatArray, FloatArray | None]
Chunk = tuple[ByteArray, FloatArray, ByteArray, float]


def _in_order(search: Callable[[Part], Chunk], parts: list[Part], threads: int) -> Iterator[Chunk]:
    if threads <= 1 or len(parts) == 1:
        yield from map(search, parts)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(search, parts)


class _Search:
    """Finds scale and zero point of every row of a chunk, and its integers."""

    def __init__(self, levels: Levels, clip: Clip) -> None:
        self.levels, self.clip = levels, clip

    def __call__(self, part: Part) -> Chunk:
        rows, counts = part
        best = _Best(rows, counts, self.levels)
        if self.clip == "mse":
            for share in SHRINK:
                best.offer(share, share)
            self._ends(best)
        scale, zero = best.scale, best.zero
        low, high = np.float32(self.levels.low), np.float32(self.levels.high)
        if self.clip == "hqq":
            scale, zero = half_quadratic(
                rows, scale, zero, low=float(low), high=float(high), symmetric=self.levels.symmetric
            )
        steps = np.clip(np.rint(rows / scale[:, None]) + zero[:, None], low, high)
        lost = (steps - zero[:, None]) * scale[:, None] - rows
        storage = self.levels.storage
        error = float(np.square(lost, dtype=np.float64).sum())
        return steps.astype(storage), scale, zero.astype(storage), error

    def _ends(self, best: _Best) -> None:
        """Move each end by itself; symmetric rows have only one reach to move."""
        for step in STEPS:
            if self.levels.symmetric:
                moves = [(-step * HALF, -step * HALF), (step * HALF, step * HALF)]
            else:
                none = np.float32(0)
                moves = [(-step, none), (step, none), (none, -step), (none, step)]
            for down, up in moves:
                best.offer(best.down + down, best.up + up)


class _Best:
    """The parameters of least squared error so far, one set per row."""

    def __init__(self, rows: FloatArray, counts: FloatArray | None, levels: Levels) -> None:
        self.rows, self.counts, self.levels = rows, counts, levels
        self.floor = np.minimum(rows.min(axis=1), np.float32(0))
        self.ceiling = np.maximum(rows.max(axis=1), np.float32(0))
        self._scratch = np.empty_like(rows)
        self.down = self.up = np.ones(len(rows), np.float32)
        self.scale, self.zero = self._parameters(self.down, self.up)
        self.error = self._error(self.scale, self.zero)

    def offer(self, down: FloatArray | np.float32, up: FloatArray | np.float32) -> None:
        """Try the range [floor * down, ceiling * up] and keep it where it is better."""
        down = np.clip(down, LEAST_SHARE, np.float32(1)) + np.zeros_like(self.down)
        up = np.clip(up, LEAST_SHARE, np.float32(1)) + np.zeros_like(self.up)
        scale, zero = self._parameters(down, up)
        error = self._error(scale, zero)
        better = error < self.error
        self.down, self.up = np.where(better, down, self.down), np.where(better, up, self.up)
        self.scale = np.where(better, scale, self.scale)
        self.zero = np.where(better, zero, self.zero)
        self.error = np.where(better, error, self.error)

    def _parameters(self, down: FloatArray, up: FloatArray) -> tuple[FloatArray, FloatArray]:
        low, high = self.floor * down, self.ceiling * up
        top = np.float32(self.levels.high)
        if self.levels.symmetric:
            scale = np.maximum(-low, high) / top
            zero = np.zeros_like(scale)
        else:
            scale = (high - low) / top
            zero = np.rint(-low / np.where(scale < SMALLEST_SCALE, np.float32(1), scale))
        return np.where(scale < SMALLEST_SCALE, np.float32(1), scale), np.clip(zero, 0, top)

    def _error(self, scale: FloatArray, zero: FloatArray) -> FloatArray:
        work = self._scratch
        np.divide(self.rows, scale[:, None], out=work)
        np.rint(work, out=work)
        low, high = np.float32(self.levels.low), np.float32(self.levels.high)
        np.clip(work, (low - zero)[:, None], (high - zero)[:, None], out=work)
        work *= scale[:, None]
        work -= self.rows
        if self.counts is None:
            squares: FloatArray = np.einsum("ij,ij->i", work, work)
            return squares
        np.square(work, out=work)
        weighted: FloatArray = np.einsum("ij,ij->i", work, self.counts)
        return weighted
