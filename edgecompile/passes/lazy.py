"""`Lazy`: a value known by its digest, made only when somebody asks for it.

The chain of steps runs on digests, so a build whose steps are all cached never opens the model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lazy(Generic[T]):
    """A model, ranges, data or a vendor file that a step takes, and which step made it."""

    def __init__(self, digest: str, make: Callable[[], T], *, maker: str = "") -> None:
        """`make` is called at most once, by the first `get`; `maker` is a step's label."""
        self.digest = digest
        self.maker = maker
        self._make: Callable[[], T] | None = make
        self._value: T

    @classmethod
    def known(cls, digest: str, value: T, *, maker: str = "") -> Lazy[T]:
        """A value that is there already."""
        lazy = cls(digest, lambda: value, maker=maker)
        lazy.get()
        return lazy

    @property
    def made(self) -> bool:
        """Whether the value is there."""
        return self._make is None

    def get(self) -> T:
        """The value. Raises what making it raises."""
        if self._make is not None:
            self._value = self._make()
            self._make = None
        return self._value
