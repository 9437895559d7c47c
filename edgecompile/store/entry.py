"""One cached result: some files, some JSON, and the material that its key stands for."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from edgecompile.store.files import sha256_of_file
from edgecompile.store.keys import Material, canonical, key_of

META = "meta.json"
SCHEMA = "edgecompile/cache-entry@1"


class DamagedError(Exception):
    """Bytes on disk are not those that were written."""


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """Digest and size of one file of an entry."""

    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A result in the cache. `result` was checked when the entry was read, files when used."""

    key: str
    directory: Path
    material: Material
    result: Mapping[str, Any]
    files: Mapping[str, StoredFile]

    @property
    def total_bytes(self) -> int:
        """Size of all files, without the metadata."""
        return sum(file.bytes for file in self.files.values())

    def checked(self, name: str) -> Path:
        """Path of a file whose digest was compared just now. Raises `DamagedError`."""
        path = self.directory / name
        try:
            actual = sha256_of_file(path)
        except OSError as error:
            raise DamagedError(f"'{name}' cannot be read: {error.strerror}") from error
        if actual != self.files[name].sha256:
            raise DamagedError(f"'{name}' has another digest than when it was written")
        return path

    def copy_to(self, name: str, destination: Path) -> None:
        """Write a file of the entry to `destination`, checking the digest on the way.

        Raises `DamagedError`, and `OSError` when `destination` cannot be written.
        """
        digest = hashlib.sha256()
        try:
            source = (self.directory / name).open("rb")
        except OSError as error:
            raise DamagedError(f"'{name}' cannot be read: {error.strerror}") from error
        with source, destination.open("wb") as target:
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                target.write(chunk)
        if digest.hexdigest() != self.files[name].sha256:
            destination.unlink()
            raise DamagedError(f"'{name}' has another digest than when it was written")

    def touch(self) -> None:
        """Mark as used now, for `gc`. A read-only cache keeps its old stamps."""
        with suppress(OSError):
            os.utime(self.directory / META)


def describe(material: Material, result: Mapping[str, Any], files: Mapping[str, Path]) -> bytes:
    """The bytes of `meta.json` for files that lie at the given paths. Raises `OSError`."""
    stored = {
        name: {"sha256": sha256_of_file(path), "bytes": path.stat().st_size}
        for name, path in sorted(files.items())
    }
    body = {"schema": SCHEMA, "material": material, "result": result, "files": stored}
    return canonical({"sha256": hashlib.sha256(canonical(body)).hexdigest(), "body": body})


def read_entry(directory: Path, key: str) -> Entry:
    """The entry in `directory`. Raises `FileNotFoundError`, and `DamagedError` for a bad one."""
    try:
        document = json.loads((directory / META).read_bytes())
        body = document["body"]
        whole = hashlib.sha256(canonical(body)).hexdigest() == document["sha256"]
        files = {name: StoredFile(**value) for name, value in body["files"].items()}
        present = all(_safe(name) and (directory / name).is_file() for name in files)
        material, result, schema = body["material"], body["result"], body["schema"]
    except (FileNotFoundError, NotADirectoryError) as error:
        if directory.is_dir():
            raise DamagedError("its description is gone") from None
        raise FileNotFoundError(directory) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError("its description cannot be read") from error
    if not whole or schema != SCHEMA or key_of(material) != key:
        raise DamagedError("its description does not have the digest that it was written with")
    if not present:
        raise DamagedError("a file is gone")
    return Entry(key=key, directory=directory, material=material, result=result, files=files)


def _safe(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and name != META
