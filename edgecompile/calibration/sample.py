"""`Sample`: what one run of the model is fed, and the label that belongs to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

Label = tuple[int, ...]
"""Accepted class ids of one sample: any of them is right."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sample in the shape and type that the model takes.

    `feeds` holds every model input, batch axis included (`[1, C, H, W]` for most image models);
    `name` says in messages where the sample came from, such as `photos/cat.png` or `data.npz[7]`.
    """

    feeds: Mapping[str, np.ndarray]
    label: Label | None
    name: str


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the labels mean, so that accuracy can be measured.

    `classification`: the label holds the accepted indices of the largest score. `output` names the
    model output with the scores (`None`: the first one), `classes` the ids in words.
    """

    kind: Literal["classification"] = "classification"
    output: str | None = None
    classes: tuple[str, ...] = ()
