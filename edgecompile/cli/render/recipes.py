"""A recipe as the YAML that would make it again."""

from __future__ import annotations

import io
from typing import Any


def recipe_yaml(recipe: dict[str, Any]) -> str:
    """YAML of a resolved recipe (`Recipe.to_json()`), every option included."""
    from ruamel.yaml import YAML

    does = recipe["does"]
    document: dict[str, Any] = {
        "schema": recipe["schema"],
        "name": recipe["name"],
        "description": recipe["description"],
        "steps": [{"pass": step["pass"], **step["options"]} for step in does["steps"]],
        "verify": does["verify"],
    }
    if does["emit"]:
        document["emit"] = does["emit"]
    if does["budgets"]:
        document["budgets"] = does["budgets"]
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 100
    text = io.StringIO()
    yaml.dump(document, text)
    return text.getvalue().rstrip("\n")
