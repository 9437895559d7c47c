"""The bound on memory holds inside the block, and only there."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from edgecompile.ir.guard import bounded_memory


def test_bound() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(MemoryError), bounded_memory(32 * 2**20):
        np.zeros(256 * 2**20, np.uint8)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert np.zeros(256 * 2**20, np.uint8).size == 256 * 2**20


def test_a_tighter_bound_of_the_user_stays() -> None:
    with bounded_memory(64 * 2**20):
        outer = resource.getrlimit(resource.RLIMIT_AS)
        with bounded_memory(2**40):
            assert resource.getrlimit(resource.RLIMIT_AS) == outer
        assert resource.getrlimit(resource.RLIMIT_AS) == outer
