"""`Described`: models whose fields are documented by the string below each of them.

Pydantic's `use_attribute_docstrings` does the same, but reads and parses source code whenever a
class is made, which took a third of a cached build. Here it is read when a schema is asked for.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from typing import Any

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class Described(BaseModel):
    """A model whose JSON Schema carries the fields' docstrings as descriptions."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The usual schema, with descriptions."""
        schema = handler(core_schema)
        properties: dict[str, Any] = handler.resolve_ref_schema(schema).get("properties", {})
        docs = field_docs(cls)
        for name, field in cls.model_fields.items():
            shown = properties.get(name, properties.get(field.alias or name))
            if shown is not None and name in docs:
                shown.setdefault("description", docs[name])
        return schema


def field_docs(cls: type[BaseModel]) -> dict[str, str]:
    """Field name -> the string literal below it, base classes included."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            found.update(_docs_of_module(base.__module__).get(base.__qualname__, {}))
    return found


@functools.cache
def _docs_of_module(module: str) -> dict[str, dict[str, str]]:
    """Class name -> field name -> docstring, for all classes of a module."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError):
        return {}  # no source at hand, as in a frozen application: schemas go without
    return dict(_classes(tree, ""))


def _classes(tree: ast.AST, prefix: str) -> list[tuple[str, dict[str, str]]]:
    found = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            name = f"{prefix}{node.name}"
            found += [(name, _fields(node)), *_classes(node, f"{name}.")]
        elif isinstance(node, ast.FunctionDef):
            found += _classes(node, f"{prefix}{node.name}.<locals>.")
    return found


def _fields(node: ast.ClassDef) -> dict[str, str]:
    docs: dict[str, str] = {}
    for field, below in zip(node.body, node.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        text = below.value if isinstance(below, ast.Expr) else None
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            docs[field.target.id] = inspect.cleandoc(text.value)
    return docs
