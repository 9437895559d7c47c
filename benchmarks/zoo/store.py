"""Where fetched packages, exported models and prepared data lie: outside of the repository."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

VARIABLE = "EDGECOMPILE_BENCH_DIR"


class NotFetchedError(RuntimeError):
    """A model or its data is not there; the message says what to type."""


@dataclass(frozen=True)
class Places:
    """The folders under one root."""

    root: Path

    @property
    def downloads(self) -> Path:
        """Wheels, Debian packages and npm archives as they came."""
        return self.root / "downloads"

    @property
    def packages(self) -> Path:
        """Wheels, unpacked."""
        return self.root / "packages"

    @property
    def debian(self) -> Path:
        """Debian packages, unpacked."""
        return self.root / "debian"

    @property
    def environment(self) -> Path:
        """The virtual environment with torch that exports models and prepares data."""
        return self.root / "environment"

    @property
    def python(self) -> Path:
        """The interpreter of that environment."""
        scripts = "Scripts/python.exe" if os.name == "nt" else "bin/python"
        return self.environment / scripts

    def model(self, name: str) -> Path:
        """The ONNX file of a model. Raises `NotFetchedError` when it is not there."""
        return self._existing(self.root / "models" / f"{name}.onnx", name)

    def data(self, name: str) -> Path:
        """The folder with a model's samples. Raises `NotFetchedError` when it is not there."""
        return self._existing(self.root / "data" / name, name)

    @staticmethod
    def _existing(path: Path, name: str) -> Path:
        if not path.exists():
            raise NotFetchedError(
                f"{path} is not there; run: python -m benchmarks.zoo fetch {name}"
            )
        return path


def places() -> Places:
    """The folders under `$EDGECOMPILE_BENCH_DIR`, or under the user's cache directory."""
    root = os.environ.get(VARIABLE)
    return Places(Path(root) if root else platformdirs.user_cache_path("edgecompile") / "bench")
