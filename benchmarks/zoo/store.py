"""Where fetched packages, exported models and prepared data lie: outside of the repository."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

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
        """Where the ONNX file of a model belongs."""
        return self.root / "models" / f"{name}.onnx"

    def data(self, name: str) -> Path:
        """Where the folder with a model's samples belongs."""
        return self.root / "data" / name

    def need(self, name: str) -> tuple[Path, Path]:
        """Model and data of `name`. Raises `NotFetchedError` when one is not there."""
        for path in (self.model(name), self.data(name) / "evaluation.npz"):
            if not path.exists():
                command = f"python -m benchmarks.zoo fetch {name}"
                raise NotFetchedError(f"{path} is not there; run: {command}")
        return self.model(name), self.data(name)


def places() -> Places:
    """The folders under `$EDGECOMPILE_BENCH_DIR`, or under the user's cache directory."""
    root = os.environ.get(VARIABLE)
    if root:
        return Places(Path(root))
    import platformdirs

    return Places(platformdirs.user_cache_path("edgecompile") / "bench")
