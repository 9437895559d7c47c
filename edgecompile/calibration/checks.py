"""Hold what data gives against what the model's inputs take. Collects every problem."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from edgecompile.diagnostics import Diagnostic, EdgecompileError, Where
from edgecompile.diagnostics.catalogue.data import (
    INPUT_DTYPE,
    INPUT_NAME,
    INPUT_NOT_FINITE,
    INPUT_RANK,
    INPUT_SHAPE,
)

if TYPE_CHECKING:
    import numpy as np

    from edgecompile.ir.facts import TensorSpec

Shape = Sequence[int | str | None]


def shape_text(shape: Shape) -> str:
    """`[1, 3, H, ?]`: names for symbolic axes, `?` for unknown ones."""
    return "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"


def raise_all(problems: Sequence[Diagnostic]) -> None:
    """Raise one `EdgecompileError` with all `problems`; do nothing when there are none."""
    if problems:
        raise EdgecompileError(tuple(problems))


def check_names(given: Iterable[str], inputs: Sequence[TensorSpec], where: Where) -> None:
    """Raise EC-310 for every input without data and every array that no input takes."""
    names, expected = list(given), [spec.name for spec in inputs]
    missing = [name for name in expected if name not in names]
    problems: list[Diagnostic] = []
    for name in names:
        if name in expected:
            continue
        near = difflib.get_close_matches(name, missing or expected, n=1, cutoff=0.5)
        hint = f"rename '{name}' to '{near[0]}'" if near else f"remove '{name}'"
        text = f"'{name}' is not an input of the model, which takes {quoted(expected)}"
        problems.append(INPUT_NAME.at(where, problem=text, hints=(hint, *INPUT_NAME.fix)))
    for name in missing:
        text = f"input '{name}' has no data; there is {quoted(names) or 'nothing'}"
        problems.append(INPUT_NAME.at(where, problem=text))
    raise_all(problems)


def quoted(names: Iterable[str]) -> str:
    """`'a', 'b'`."""
    return ", ".join(f"'{name}'" for name in names)


def convertible(array: np.ndarray, wanted: np.dtype) -> bool:
    """Whether `array` keeps its meaning as `wanted`: same kind of number and every value fits."""
    import numpy as np

    if array.dtype == wanted:
        return True
    if wanted.kind == "O":  # strings
        return array.dtype.kind in "US"
    kinds = {"f": "float", "i": "integer", "u": "integer", "b": "bool"}
    if kinds.get(array.dtype.kind, "other") != kinds.get(wanted.kind):
        return False
    if wanted.kind == "f" or np.can_cast(array.dtype, wanted, "safe") or not array.size:
        return True
    limits = np.iinfo(wanted)
    return bool(array.min() >= limits.min and array.max() <= limits.max)


def check_array(array: np.ndarray, spec: TensorSpec, sample: str, where: Where) -> list[Diagnostic]:
    """Every way in which one input of one sample does not fit: rank, shape, type, NaN."""
    import numpy as np

    if spec.ranked and array.ndim != len(spec.shape):
        return [
            INPUT_RANK.at(
                where,
                input=spec.name,
                actual=array.ndim,
                shape=shape_text(array.shape),
                expected=len(spec.shape),
                expected_shape=shape_text(spec.shape),
            )
        ]
    problems: list[Diagnostic] = []
    dims = zip(array.shape, spec.shape, strict=spec.ranked)
    if any(isinstance(w, int) and w != d for d, w in dims):
        actual, expected = shape_text(array.shape), shape_text(spec.shape)
        problem = INPUT_SHAPE.at(
            where,
            sample=sample,
            actual=actual,
            input=spec.name,
            expected=expected,
            hints=_ways_to_fit(array, spec),
        )
        problems.append(problem)
    if not convertible(array, spec.dtype):
        hint = f"convert it before saving: array.astype(numpy.{spec.dtype})"
        actual = str(array.dtype)
        problems.append(
            INPUT_DTYPE.at(
                where, input=spec.name, actual=actual, expected=str(spec.dtype), hints=(hint,)
            )
        )
    elif array.dtype.kind == "f" and not np.isfinite(array).all():
        what = "NaN" if np.isnan(array).any() else "infinity"
        problems.append(INPUT_NOT_FINITE.at(where, sample=sample, what=what, input=spec.name))
    return problems


def _ways_to_fit(array: np.ndarray, spec: TensorSpec) -> tuple[str, ...]:
    """What to write into a `dataset.yaml` for a sample of another length; the rule's own else."""
    sides = list(zip(array.shape, spec.shape, strict=True))
    batch = array.ndim > 1 and sides[0][1] == 1
    if batch and sides[0][0] != 1:
        return INPUT_SHAPE.fix
    longer = any(isinstance(want, int) and have > want for have, want in sides)
    shorter = any(isinstance(want, int) and have < want for have, want in sides)
    keys = ["pad: 0"] * shorter + ["crop: true"] * longer
    return (
        "say in the samples' dataset.yaml how other lengths are made to fit: "
        f"fit: {{{spec.name}: {{{', '.join(keys)}}}}} (docs/data.md)",
        "or choose another length with --shape, where the model leaves it open",
    )


def conform(
    feeds: Mapping[str, np.ndarray], inputs: Sequence[TensorSpec], sample: str, where: Where
) -> dict[str, np.ndarray]:
    """The feeds in the types of the inputs, C-contiguous. Raises EC-310 to EC-314."""
    import numpy as np

    check_names(feeds, inputs, where)
    problems: list[Diagnostic] = []
    for spec in inputs:
        problems += check_array(feeds[spec.name], spec, sample, where)
    raise_all(problems)
    return {spec.name: np.asarray(feeds[spec.name], dtype=spec.dtype, order="C") for spec in inputs}
