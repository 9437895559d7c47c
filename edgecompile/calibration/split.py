"""Which samples calibrate and which verify: never the same content in both."""

from __future__ import annotations

from dataclasses import dataclass

from edgecompile.calibration.dataset import Dataset
from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue.data import (
    FEW_SAMPLES,
    OVERLAP,
    OVERLAP_ALL,
    TOO_FEW_SAMPLES,
)

_HELD_OUT_SHARE = 5
_FEW = 10


@dataclass(frozen=True, kw_only=True)
class Split:
    """Disjoint data sets, and what the user should know about them."""

    calibrate: Dataset
    held_out: Dataset
    diagnostics: tuple[Diagnostic, ...] = ()


def split(
    calibration: Dataset,
    evaluation: Dataset | None,
    *,
    calibrate_n: int | None = None,
    verify_n: int | None = None,
) -> Split:
    """At most `calibrate_n` samples to calibrate with, at most `verify_n` to verify with.

    Without `evaluation`, about a fifth of `calibration` is held out, spread evenly. With it, those
    of its samples that `calibration` holds too are left out. Samples are compared by content.
    Raises EC-316 when there are too few different samples, EC-319 when none is left to verify.
    """
    if evaluation is None:
        result = _hold_out(calibration, calibrate_n, verify_n)
    else:
        result = _keep_apart(calibration, evaluation, calibrate_n, verify_n)
    count = len(result.calibrate)
    if count >= _FEW or result.calibrate.random:
        return result
    few = FEW_SAMPLES.at(Where(file=calibration.source), count=count, source=calibration.source)
    return Split(
        calibrate=result.calibrate,
        held_out=result.held_out,
        diagnostics=(*result.diagnostics, few),
    )


def spread(count: int, wanted: int | None) -> list[int]:
    """`wanted` indices below `count`, evenly spread and in order; all of them for `None`."""
    if wanted is None or wanted >= count:
        return list(range(count))
    return [(2 * i + 1) * count // (2 * wanted) for i in range(wanted)]


def _first_of_each(data: Dataset) -> dict[str, int]:
    found: dict[str, int] = {}
    for i in range(len(data)):
        found.setdefault(data.sample_sha256(i), i)
    return found


def _hold_out(data: Dataset, calibrate_n: int | None, verify_n: int | None) -> Split:
    different = list(_first_of_each(data).values())
    if len(different) < 2:
        raise TOO_FEW_SAMPLES.error(
            Where(file=data.source), count=len(different), source=data.source, needed=2
        )
    share = max(1, len(different) // _HELD_OUT_SHARE)
    wanted = share if verify_n is None else max(1, min(share, verify_n))
    held = {different[i] for i in spread(len(different), wanted)}
    rest = [i for i in different if i not in held]
    return Split(
        calibrate=data.subset([rest[i] for i in spread(len(rest), calibrate_n)]),
        held_out=data.subset(sorted(held)),
    )


def _keep_apart(
    data: Dataset, evaluation: Dataset, calibrate_n: int | None, verify_n: int | None
) -> Split:
    calibrate = data.subset(spread(len(data), calibrate_n))
    seen = {calibrate.sample_sha256(i) for i in range(len(calibrate))}
    total = len(evaluation)
    kept = [i for i in range(total) if evaluation.sample_sha256(i) not in seen]
    where = Where(file=evaluation.source)
    if not kept:
        raise OVERLAP_ALL.error(where, total=total, source=evaluation.source)
    dropped = total - len(kept)
    diagnostics = (OVERLAP.at(where, count=dropped, total=total),) if dropped else ()
    held_out = evaluation.subset([kept[i] for i in spread(len(kept), verify_n)])
    return Split(calibrate=calibrate, held_out=held_out, diagnostics=diagnostics)
