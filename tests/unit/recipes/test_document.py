"""Recipes: every mistake has its code, line, column and, where there is one, the nearest name."""

import pytest

from edgecompile.diagnostics import EdgecompileError
from edgecompile.recipes.document import parse_recipe
from tests.support.recipe_passes import EMITTERS, PASSES, Box, Observe

HEAD = "schema: edgecompile/recipe@1\nname: mine\n"
GOOD = HEAD + (
    "description: for tests\n"
    "steps:\n"
    "  - pass: observe\n"
    "    method: entropy\n"
    "  - pass: shrink\n"
    "    operators: [Conv, MatMul]\n"
    "    bound: {metric: cosine, at_least: 1}\n"
    "  - pass: observe\n"
    "budgets:\n"
    "  - cosine>=0.99\n"
    "  - {metric: max_abs, at_most: 0.5}\n"
    "verify: {samples: 4}\n"
    "emit: {box-file: {half: true}}\n"
)


def _parse(text):
    return parse_recipe(text, "r.yaml", PASSES, EMITTERS)


def _problems(text):
    with pytest.raises(EdgecompileError) as caught:
        _parse(text)
    assert caught.value.exit_code == 2
    return [(d.code, str(d.where), d.message, d.hints) for d in caught.value.diagnostics]


def _problem(text):
    (found,) = _problems(text)
    return found


def test_a_good_recipe():
    recipe = _parse(GOOD)
    assert [s.label for s in recipe.steps] == ["observe", "shrink", "observe#2"]
    assert str(recipe.steps[1].where) == "r.yaml:7:11"
    assert recipe.steps[0].operation == Observe(method="entropy")
    assert recipe.steps[1].operation.bound.at_least == 1.0
    assert [str(b) for b in recipe.budgets] == ["cosine>=0.99", "max_abs<=0.5"]
    assert recipe.verify.samples == 4
    assert recipe.emitter("box-file") == Box(half=True)
    assert recipe.emitter("other") is None
    assert str(recipe.emit[0].where) == "r.yaml:15:8"
    assert recipe.source is None


def test_digest_follows_what_the_recipe_does_and_not_its_words():
    digest = _parse(GOOD).sha256
    assert _parse("# a comment\n" + GOOD).sha256 == digest
    assert _parse(GOOD.replace("for tests", "other words")).sha256 == digest
    spelt_out = GOOD.replace("method: entropy", "method: entropy\n    samples: 16")
    assert _parse(spelt_out).sha256 == digest
    for change in (
        ("entropy", "minmax"),
        ("0.99", "0.98"),
        ("samples: 4", "samples: 5"),
        ("half: true", "half: false"),
    ):
        assert _parse(GOOD.replace(*change)).sha256 != digest


@pytest.mark.parametrize(
    ("old", "new", "code", "place", "says", "hint"),
    [
        ("description:", "descripton:", "EC-233", "3:1", "'descripton'", "'description'"),
        ("method:", "metod:", "EC-233", "6:5", "unknown key 'metod' in the step 'observe'",
         "'method'"),
        ("pass: shrink", "pass: shrnk", "EC-235", "7:11", "no pass 'shrnk'", "'shrink'"),
        ("pass: shrink", "pass: [shrink]", "EC-235", "7:11", "no pass", "'shrink'"),
        ("pass: shrink", "pas: shrink", "EC-234", "7:5", "'pass' is required", ""),
        ("method: entropy", "method: entropie", "EC-234", "6:13", "not 'entropie'", "'entropy'"),
        ("method: entropy", "samples: 0", "EC-234", "6:14", "greater than or equal to 1", ""),
        ("method: entropy", "samples: '8'", "EC-234", "6:14", "valid integer, not '8'", ""),
        ("method: entropy", "samples: true", "EC-234", "6:14", "not 'true'", ""),
        ("[Conv, MatMul]", "[Conv, 3]", "EC-234", "8:23", "'operators.item 2'", ""),
        ("at_least: 1", "at_lest: 1", "EC-233", "9:29", "'at_lest'", ""),
        ("cosine>=0.99", "cosine>0.99", "EC-250", "12:5", "the sign is '>'", ""),
        ("cosine>=0.99", "cosine>=x", "EC-250", "12:5", "'x' is not a number", ""),
        ("at_most: 0.5", "atmost: 0.5", "EC-233", "13:23", "'atmost'", "'at_most'"),
        ("samples: 4", "samples: 0", "EC-234", "14:19", "'verify.samples' of the recipe", ""),
        ("samples: 4", "sample: 4", "EC-233", "14:10", "'sample'", ""),
        ("box-file", "boxfile", "EC-233", "15:8", "'boxfile' in 'emit'", "'box-file'"),
        ("half", "halv", "EC-233", "15:19", "'halv' in the format 'box-file'", "'half'"),
        ("half: true", "half: 1", "EC-234", "15:25", "'half' of the format 'box-file'", ""),
        ("{half: true}", "half", "EC-234", "15:18", "'emit.box-file' of the recipe", ""),
        ("name: mine", "name: a/b", "EC-234", "2:7", "'name' of the recipe", ""),
        ("recipe@1", "recipe@2", "EC-234", "1:9", "'schema' of the recipe", ""),
    ],
)  # fmt: skip
def test_a_mistake(old, new, code, place, says, hint):
    assert old in GOOD
    problems = _problems(GOOD.replace(old, new, 1))
    found = problems[0]
    assert found[:2] == (code, f"r.yaml:{place}")
    assert says in found[2]
    assert hint in " ".join(found[3])


@pytest.mark.parametrize("text", ["", "- a\n", "just words\n", "7\n"])
def test_a_file_that_is_no_recipe(text):
    code, _, message, _ = _problem(text)
    assert code == "EC-234"
    assert "edgecompile/recipe@1" in message


def test_missing_parts_are_all_named():
    messages = " ".join(p[2] for p in _problems("description: x\n"))
    for key in ("schema", "name", "steps"):
        assert f"'{key}' of the recipe is required" in messages.replace(":", "")


def test_no_steps_and_steps_that_are_none():
    assert "at least 1 item" in _problem(HEAD + "steps: []\n")[2]
    assert _problem(HEAD + "steps: observe\n")[1] == "r.yaml:3:8"
    assert _problem(HEAD + "steps:\n  - observe\n")[1] == "r.yaml:4:5"


def test_all_mistakes_are_reported_at_once_in_order():
    text = GOOD.replace("entropy", "x").replace("pass: shrink", "pass: y").replace("0.99", "z")
    assert [p[1] for p in _problems(text)] == ["r.yaml:6:13", "r.yaml:7:11", "r.yaml:12:5"]


def test_broken_yaml_is_a_recipe_error():
    code, place, _, _ = _problem(HEAD + "steps: [\n")
    assert (code, place) == ("EC-232", "r.yaml:4:1")


def test_nothing_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    text = GOOD.replace("[Conv, MatMul]", "['$HOME', '~', '${HOME}', '`ls`']")
    assert _parse(text).steps[1].operation.operators == ("$HOME", "~", "${HOME}", "`ls`")


def test_a_path_stays_in_the_recipes_directory(tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "secret").write_text("s")
    (tmp_path / "r" / "link").symlink_to(tmp_path / "secret")
    source = tmp_path / "r" / "r.yaml"

    def parse(path, source=source):
        text = HEAD + f"steps:\n  - pass: observe\n    table: {path}\n"
        file = source.as_posix() if source else "r.yaml"
        return parse_recipe(text, file, PASSES, EMITTERS, source)

    step = parse("data/t.json").steps[0]
    assert step.operation.table == tmp_path / "r" / "data" / "t.json"
    assert step.to_json()["options"]["table"] == "data/t.json"
    for path in ("../secret", "/etc/passwd", "link", "data/../../secret"):
        with pytest.raises(EdgecompileError) as caught:
            parse(path)
        (problem,) = caught.value.diagnostics
        assert (problem.code, problem.where.line, problem.where.column) == ("EC-238", 5, 12)
    with pytest.raises(EdgecompileError):
        parse("data/t.json", source=None)
