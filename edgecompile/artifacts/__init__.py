"""Artifacts: what a build gives, its manifest and its report."""
