"""Finds vendor packages and runs them in guarded processes; never imports one at top level."""

from edgecompile.vendor.extras import ToolStatus, demand, doctor, missing, require, versions

__all__ = ["ToolStatus", "demand", "doctor", "missing", "require", "versions"]
