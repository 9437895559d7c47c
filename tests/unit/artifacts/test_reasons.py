"""Reasons that differ in figures only are told once, with their span."""

import pytest

from edgecompile.artifacts.reasons import kind, merged

LEAVES = "raised to float for correlation>=0.99: alone in integers it leaves {} dB"


def test_figures_that_differ_become_a_span():
    told = merged(LEAVES.format(db) for db in ("8.9", "33.2", "11.3"))
    assert told == LEAVES.format("8.9 to 33.2")


@pytest.mark.parametrize("reason", [LEAVES.format("8.9"), "it has none for A8W8", "opset 21"])
def test_one_reason_stays_as_it_is(reason):
    assert merged([reason, reason]) == reason


def test_names_are_no_figures():
    assert kind("others read the input of 'Mul.126' too") != kind(
        "others read the input of 'Mul.94' too"
    )
    assert kind("it has none for A8W8") != kind("it has none for A16W8")
    assert kind(LEAVES.format("1")) == kind(LEAVES.format("2.5"))
