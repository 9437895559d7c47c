"""What is said of artifacts that compute in narrow floats instead of integers."""

import io

import pytest

from edgecompile.artifacts.narrow import narrow_float
from edgecompile.cli.page import PlainPage
from edgecompile.cli.render.report import _coverage


@pytest.mark.parametrize(
    ("precision", "kind"),
    [
        ({"fp8": 3, "fp16": 5}, "fp8"),
        ({"bf16": 3, "fp32": 5}, "bf16"),
        ({"int8": 3, "fp16": 5}, None),
        ({"int4": 1, "fp8": 5}, None),
        ({"int8": 0, "fp16": 5}, "fp16"),
        ({"fp32": 5}, None),
    ],
)
def test_the_narrowest_float_of_what_has_no_integers(precision, kind):
    assert narrow_float(precision) == kind


def test_a_report_tells_what_is_in_8_bit_float_and_no_share_of_integers():
    page = PlainPage(stream := io.StringIO())
    told = {"nodes": 8, "accelerated": 8, "precision": {"fp8": 3, "fp16": 5}, "fallback": []}
    _coverage(page, told, 0.0)
    text = stream.getvalue()
    assert "no integers: 3 of 8 nodes in 8-bit float" in text
    assert "0.00 %" not in text
