"""Tiny toolchains for tests: wheels written here, for the real venv and pip, no network."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pytest

from edgecompile.vendor.toolchains import spec
from edgecompile.vendor.toolchains.spec import Toolchain

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def write_wheel(folder: Path, name: str, version: str, code: str, requires: str = "") -> Path:
    """A wheel of one module."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    texts = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in (*texts, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in {**texts, f"{info}/RECORD": record}.items():
            wheel.writestr(file, text)
    return path


def toolchain(name: str = "tiny", **changes: object) -> Toolchain:
    """A toolchain without requirements, for this Python."""
    document = {
        "schema": "edgecompile/toolchain@1",
        "name": name,
        "purpose": "for tests",
        "licence": "Apache-2.0",
        "python": [HERE],
        "size_bytes": 1000,
        "requirements": [],
        "imports": ["json"],
        **changes,
    }
    return Toolchain.model_validate(document)


def register(monkeypatch: pytest.MonkeyPatch, folder: Path, made: Toolchain) -> None:
    """Let this toolchain be found beside those that ship."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{made.name}.yaml"
    # JSON is YAML.
    path.write_text(json.dumps(made.model_dump(mode="json", by_alias=True)), encoding="utf-8")
    known = {**spec.files(), made.name: path}
    monkeypatch.setattr(spec, "files", lambda: known)
    loaded = {made.name: made}
    load = spec._load
    monkeypatch.setattr(spec, "_load", lambda name: loaded.get(name) or load(name))
