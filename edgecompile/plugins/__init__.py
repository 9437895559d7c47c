"""Discovery: find the classes of a kind in a package of ours and in entry points of others."""

from edgecompile.plugins.discover import discover

__all__ = ["discover"]
