"""Docstrings of fields reach the JSON Schema, and reading them costs nothing before."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgecompile.plugins.described import Described, field_docs


class Base(Described):
    first: int = 1
    """The first."""
    silent: int = 2


class Derived(Base):
    first: int = 3
    """The first,
    overridden.
    """
    renamed: Annotated[str, Field(alias="pass")] = ""
    """Has an alias."""
    spoken: int = Field(default=0, description="said in the field")
    """Not this."""
    inner: Base = Base()


def test_descriptions_of_all_fields() -> None:
    schema = Derived.model_json_schema(by_alias=True)
    texts = {name: prop.get("description") for name, prop in schema["properties"].items()}
    assert texts == {
        "first": "The first,\noverridden.",
        "silent": None,
        "pass": "Has an alias.",
        "spoken": "said in the field",
        "inner": None,
    }
    assert schema["$defs"]["Base"]["properties"]["first"]["description"] == "The first."


def test_every_option_of_every_pass_is_documented() -> None:
    from edgecompile.passes.registry import all_passes

    bare = [
        f"{id}.{name}"
        for id, cls in all_passes().items()
        for name in cls.model_fields
        if not field_docs(cls).get(name) and not cls.model_fields[name].description
    ]
    assert bare == []
