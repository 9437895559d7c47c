"""JSON documents on disk: deterministic text, no infinities, and loading that explains itself."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Self

from pydantic import ConfigDict, ValidationError

from edgecompile.diagnostics import Where
from edgecompile.diagnostics.catalogue.manifest import BAD_MANIFEST
from edgecompile.plugins.described import Described


class Record(Described):
    """Base of everything written as JSON: immutable, unknown keys refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        ser_json_inf_nan="strings",
        revalidate_instances="always",
        validate_by_name=True,
        validate_by_alias=True,
    )


class Document(Record):
    """A record that is a file of its own."""

    def to_text(self) -> str:
        """Equal documents give equal text: keys sorted, two spaces, one newline at the end."""
        plain = _finite(self.model_dump(mode="python", by_alias=True))
        return json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    def write(self, path: Path) -> None:
        """Write the document to `path`. Raises `OSError`."""
        path.write_text(self.to_text(), encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a document of this kind. Raises EC-660 when it is not one, `OSError` as usual."""
        kind = cls.__name__.lower()
        where = Where(file=path.as_posix())
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as invalid:
            first = invalid.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            problem = f"{place}: {first['msg']}" if place else first["msg"]
            raise BAD_MANIFEST.error(
                where, file=path.name, kind=kind, problem=problem[:1].lower() + problem[1:]
            ) from None


def _finite(value: Any) -> Any:
    """`value` as plain JSON data; infinities and NaN become the strings that JSON readers keep."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
