"""`Model`: a loaded graph, where it came from, and the digest of what it says."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import NewType

import onnx_ir

Digest = NewType("Digest", str)
"""64 lower-case hex characters of a SHA-256."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A graph and its origin. Treat `graph` as read-only: edit the graph of a `clone()` instead.

    `origin` is the file the user gave, also after passes have run: it is for messages.
    """

    graph: onnx_ir.Model
    origin: Path

    @functools.cached_property
    def digest(self) -> Digest:
        """SHA-256 of the canonical form: equal for equal content, wherever the weights lie."""
        from edgecompile.ir.digest import model_digest

        return model_digest(self.graph)

    def clone(self) -> Model:
        """A copy whose graph can be edited; tensors are shared, not copied."""
        return Model(graph=self.graph.clone(), origin=self.origin)
