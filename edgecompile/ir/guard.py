"""A bound on memory around library code that a hostile model could make grow without end."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def bounded_memory(extra_bytes: int) -> Iterator[None]:
    """Let the process take at most `extra_bytes` more address space inside the block.

    An allocation beyond that raises `MemoryError` instead of waking the kernel's out-of-memory
    killer. Holds for all threads, so keep the block short. Does nothing where the operating system
    has no such limit (only Linux enforces it).
    """
    if sys.platform != "linux":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    bound = pages * resource.getpagesize() + extra_bytes
    if soft != resource.RLIM_INFINITY:
        bound = min(bound, soft)
    resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
