"""Facts about passes and range methods as data, for `passes` and the reference pages."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

    from edgecompile.calibration.method import RangeMethod
    from edgecompile.passes.base import Pass


def pass_facts(operation: type[Pass]) -> dict[str, Any]:
    """Everything the class of a pass says about itself, JSON-able."""
    text = inspect.cleandoc(operation.__doc__ or "")
    summary, _, rest = text.partition("\n\n")
    return {
        "id": operation.id,
        "version": operation.version,
        "group": _group(operation.__module__),
        "summary": " ".join(summary.split()),
        "description": rest,
        "needs": sorted(need.value for need in operation.needs),
        "extra": operation.extra,
        "toolchain": operation.toolchain,
        "facts": sorted(operation.facts),
        "libraries": sorted(operation.libraries),
        "options": _options(operation),
    }


def method_facts(method: type[RangeMethod]) -> dict[str, Any]:
    """Everything the class of a range method says about itself, JSON-able."""
    text = inspect.cleandoc(method.__doc__ or "")
    summary, _, rest = text.partition("\n\n")
    return {
        "id": method.id,
        "summary": " ".join(summary.split()),
        "description": rest,
        "source": method.source,
        "options": _options(method),
    }


def _group(module: str) -> str:
    """`graph`, `fuse`, `quantize`, or the top package of somebody else's pass."""
    own = "edgecompile.passes."
    return module.removeprefix(own).split(".")[0] if module.startswith(own) else module


def _options(operation: type[BaseModel]) -> list[dict[str, Any]]:
    schema = operation.model_json_schema()
    definitions = schema.get("$defs", {})
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "type": _type_text(prop, definitions),
            "required": name in required,
            "default": prop.get("default"),
            "description": " ".join(_description(prop, definitions).split()),
        }
        for name, prop in schema.get("properties", {}).items()
    ]


def _description(prop: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "description" in prop or "$ref" not in prop:
        return str(prop.get("description", ""))
    return str(_resolve(prop, definitions).get("description", ""))


def _resolve(prop: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    name = str(prop["$ref"]).rsplit("/", 1)[-1]
    found: dict[str, Any] = definitions[name]
    return found


BOUNDS = {
    "minimum": ">= {}",
    "exclusiveMinimum": "> {}",
    "maximum": "<= {}",
    "exclusiveMaximum": "< {}",
}


def _type_text(prop: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A type as people write it: `int8 | uint8`, `integer >= 1`, `list of string`."""
    if "$ref" in prop:
        return _type_text(_resolve(prop, definitions), definitions)
    if "enum" in prop:
        return " | ".join(str(value) for value in prop["enum"])
    if "const" in prop:
        return str(prop["const"])
    choices = prop.get("anyOf") or prop.get("oneOf")
    if choices:
        return " | ".join(dict.fromkeys(_type_text(c, definitions) for c in choices))
    kind = str(prop.get("type", "any"))
    if kind == "array":
        items = prop.get("items") or (prop.get("prefixItems") or [{}])[0]
        return f"list of {_type_text(items, definitions)}"
    bounds = [text.format(prop[key]) for key, text in BOUNDS.items() if key in prop]
    return " ".join([kind, ", ".join(bounds)]).strip()


def default_text(option: dict[str, Any]) -> str:
    """The default as YAML writes it; empty for an option that must be given."""
    if option["required"]:
        return ""
    value = option["default"]
    return value if isinstance(value, str) else json.dumps(value)
