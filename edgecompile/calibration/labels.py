"""Labels: one class id, or several accepted ids, for every sample."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecompile.calibration.arrays import ArrayFile, open_npy
from edgecompile.calibration.checks import shape_text
from edgecompile.calibration.sample import Label
from edgecompile.diagnostics import Where
from edgecompile.diagnostics.catalogue.data import LABELS


def labels_of_array(array: ArrayFile, count: int, where: Where) -> list[Label]:
    """Ids `[N]`, or accepted ids `[N, K]` padded with -1. Raises EC-329."""
    if array.dtype.kind not in "iu" or len(array.shape) not in {1, 2}:
        what = f"{array.dtype} {shape_text(array.shape)}"
        raise LABELS.error(where, problem=f"labels must be integers [N] or [N, K], not {what}")
    _check_count(len(array), count, where)
    table = array.whole().reshape(count, -1).tolist()
    return [tuple(i for i in row if i >= 0) for row in table]


def labels_of_values(values: Any, names: Sequence[str], where: Where) -> list[Label]:
    """A list in the order of the samples, or a mapping from their file names. Raises EC-329."""
    if isinstance(values, Mapping):
        return _by_name(values, names, where)
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise LABELS.error(where, problem="labels must be a list, a mapping, or a file")
    _check_count(len(values), len(names), where)
    return [_label(value, name, where) for value, name in zip(values, names, strict=True)]


def labels_of_file(path: Path, names: Sequence[str]) -> list[Label]:
    """The labels in a `.npy` or `.json`. Raises EC-306 or EC-329."""
    where = Where(file=str(path))
    if path.suffix.lower() == ".npy":
        return labels_of_array(open_npy(path), len(names), where)
    if path.suffix.lower() != ".json":
        raise LABELS.error(where, problem=f"labels are read from .npy and .json, not '{path.name}'")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise LABELS.error(where, problem=f"'{path.name}' is not JSON: {error}") from None
    return labels_of_values(values, names, where)


def _by_name(values: Mapping[str, Any], names: Sequence[str], where: Where) -> list[Label]:
    missing = [name for name in names if name not in values]
    if missing:
        problem = f"no label for '{missing[0]}'"
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise LABELS.error(where, problem=problem + more)
    unused = sorted(set(values) - set(names))
    if unused:
        raise LABELS.error(where, problem=f"a label for '{unused[0]}', which is not a sample")
    return [_label(values[name], name, where) for name in names]


def _check_count(found: int, count: int, where: Where) -> None:
    if found != count:
        raise LABELS.error(where, problem=f"{found} labels for {count} samples")


def _label(value: Any, name: str, where: Where) -> Label:
    ids = value if isinstance(value, list) else [value]
    sound = all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in ids)
    if not ids or not sound:
        problem = f"the label of '{name}' must be a class id or a list of them, not {value!r}"
        raise LABELS.error(where, problem=problem)
    return tuple(ids)
