"""The JSON schemas of every document that others read: they change on purpose only.

After such a change: EDGECOMPILE_UPDATE_GOLDEN=1 pytest tests/golden/test_schemas.py
"""

import json

import pytest

from edgecompile.artifacts import manifest, report
from edgecompile.calibration import ranges
from edgecompile.recipes import json_schema as recipe_schema
from tests.support.golden import check_golden

SCHEMAS = {
    "manifest": manifest.json_schema,
    "ranges": ranges.json_schema,
    "recipe": recipe_schema,
    "report": report.json_schema,
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema(name):
    schema = SCHEMAS[name]()
    check_golden(f"schemas/{name}.json", json.dumps(schema, indent=2) + "\n")


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_names_its_version_and_forbids_unknown_keys(name):
    schema = SCHEMAS[name]()
    tag = schema["properties"]["schema"]
    assert tag["const"] == f"edgecompile/{name}@1"
    assert schema["$schema"].endswith("2020-12/schema")
    if name != "ranges":
        assert schema["additionalProperties"] is False
