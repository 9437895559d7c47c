"""The content-addressed cache of step results."""

from edgecompile.store.entry import DamagedError, Entry
from edgecompile.store.keys import Material, canonical, key_of
from edgecompile.store.location import cache_root
from edgecompile.store.memo import Memo
from edgecompile.store.store import Store

__all__ = [
    "DamagedError",
    "Entry",
    "Material",
    "Memo",
    "Store",
    "cache_root",
    "canonical",
    "key_of",
]
