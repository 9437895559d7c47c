"""Isolated environments for vendors whose packages clash with the core's.

One YAML per toolchain in this folder; `spec` reads them, `place` finds what is installed, `install`
makes an environment, `isolated` talks to the Python in it.
"""
