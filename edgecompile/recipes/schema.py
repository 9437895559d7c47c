"""The JSON schema of a recipe file, for editors and docs, generated from the pass classes."""

from __future__ import annotations

from typing import Any

from edgecompile.artifacts.budget import Budget
from edgecompile.emitters.registry import all_emitters
from edgecompile.passes.base import Pass
from edgecompile.passes.registry import all_passes
from edgecompile.recipes.document import Header, Passes


def json_schema(passes: Passes | None = None) -> dict[str, Any]:
    """JSON Schema 2020-12 of a recipe, with one alternative per pass, told apart by `pass`."""
    known = all_passes() if passes is None else passes
    schema = Header.model_json_schema(ref_template="#/$defs/{model}")
    definitions: dict[str, Any] = schema.pop("$defs", {})
    for id_ in sorted(known):
        step = pass_schema(known[id_])
        for name, definition in step.pop("$defs", {}).items():
            definitions[f"{id_}.{name}"] = definition
        definitions[id_] = step
    definitions["Budget"] = Budget.model_json_schema()
    emitters = {name: kind.model_json_schema() for name, kind in all_emitters().items()}
    properties = schema["properties"]
    properties["emit"].update(properties=emitters, additionalProperties=False)
    properties["steps"]["items"] = {"oneOf": [{"$ref": f"#/$defs/{id_}"} for id_ in sorted(known)]}
    properties["budgets"]["items"] = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Budget"}]}
    schema["title"] = "edgecompile recipe"
    schema["$defs"] = dict(sorted(definitions.items()))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def pass_schema(operation: type[Pass]) -> dict[str, Any]:
    """The schema of one step: `pass` fixed to the id, and the pass's options."""
    template = f"#/$defs/{operation.id}.{{model}}"
    schema = operation.model_json_schema(ref_template=template)
    schema["title"] = operation.id
    schema["properties"] = {"pass": {"const": operation.id}, **schema.get("properties", {})}
    schema["required"] = ["pass", *schema.get("required", [])]
    return schema
