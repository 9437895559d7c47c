"""YAML with places: strict, bounded, and exact about where everything stands."""

import pytest

from edgecompile.diagnostics import EdgecompileError, Rule
from edgecompile.diagnostics.located import MAX_TEXT_LENGTH, read_yaml

RULE = Rule(code="EC-000", name="r", message="{problem}", why="", fix=())


def _problem(text):
    with pytest.raises(EdgecompileError) as caught:
        read_yaml(text, "f.yaml", RULE)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


def test_values_and_keys_have_their_own_places():
    document = read_yaml("a: 1\nb:\n  - {c: x}\n  - 'two'\n", "f.yaml", RULE)
    assert document.value == {"a": 1, "b": [{"c": "x"}, "two"]}
    assert str(document.where(("b", 0, "c"))) == "f.yaml:3:9"
    assert str(document.where(("b", 0, "c"), key=True)) == "f.yaml:3:6"
    assert str(document.where(("b", 1))) == "f.yaml:4:5"


def test_what_is_not_there_stands_where_its_parent_does():
    document = read_yaml("a: {b: 1}\n", "f.yaml", RULE)
    assert document.where(("a", "missing", 3)) == document.where(("a",))
    assert str(read_yaml("", "f.yaml", RULE).where(())) == "f.yaml"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8), ("-3", -3), ("1e-3", 0.001), ("0.5", 0.5), ("true", True), ("null", None),
        ("~", None), ("", None), ("no", "no"), ("entropy", "entropy"), ("'8'", "8"),
        ("2020-01-01", "2020-01-01"), ("[a, 1]", ["a", 1]), ("|\n  x\n", "x\n"), ("0o17", 15),
    ],
)  # fmt: skip
def test_scalars_are_yaml_1_2(text, value):
    read = read_yaml(text, "f.yaml", RULE).value
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("a: [1,\n", "f.yaml:2:1", "stream end"),
        ("a: 1\n b: 2\n", "f.yaml:2:3", "not allowed"),
        ("a: 1\na: 2\n", "f.yaml:2:1", "twice"),
        ("a: &x 1\nb: *x\n", "f.yaml:1:4", "anchors"),
        ("b: *x\n", "f.yaml:1:4", "anchors"),
        ("a: !!python/object/apply:os.system [ls]\n", "f.yaml:1:4", "tag"),
        ("a: !!binary aGk=\n", "f.yaml:1:4", "tag"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1", "second document"),
        ("? [a]\n: 1\n", "f.yaml:1:3", "plain word"),
        ("a: \x07\n", "f.yaml:1:4", "#x0007"),
        ("x: 1\ny: \x00\n", "f.yaml:2:4", "#x0000"),
        ("[" * 5000, "f.yaml:1:26", "nested"),
        ("a: " + "9" * 5000, "f.yaml:1:4", "digits"),
    ],
)
def test_what_is_refused_and_where(text, place, says):
    diagnostic = _problem(text)
    assert str(diagnostic.where) == place
    assert says in diagnostic.message


def test_large_texts_and_many_values_are_refused():
    assert "longer" in _problem("#" * (MAX_TEXT_LENGTH + 1)).message
    assert "more than" in _problem("[" + "0," * 30_000 + "]").message


def test_an_alias_bomb_costs_nothing():
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{b}: &{b} [{', '.join(['*' + a] * 9)}]"
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    assert "anchors" in _problem("\n".join(lines)).message
