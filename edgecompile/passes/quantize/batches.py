"""Work in batches of limited memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def batches(items: Iterable[T], size_of: Callable[[T], int], limit: int) -> Iterator[list[T]]:
    """Runs of `items` whose sizes sum to `limit` at most, or single ones that are larger."""
    batch: list[T] = []
    used = 0
    for item in items:
        size = size_of(item)
        if batch and used + size > limit:
            yield batch
            batch, used = [], 0
        batch.append(item)
        used += size
    if batch:
        yield batch
