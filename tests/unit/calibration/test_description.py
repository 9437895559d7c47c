"""dataset.yaml: what it can say, and the line and column of what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecompile.calibration.dataset import Dataset, open_dataset
from edgecompile.calibration.sources.described import has_split
from tests.support.data import codes, problems, spec

X, Y = spec("x", ["N", 2]), spec("y", ["N", "L"])
HEAD = "schema: edgecompile/dataset@1\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Files that descriptions can name."""
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    np.savez(folder / "all.npz", x=np.arange(8, dtype=np.float32).reshape(4, 2))
    np.save(folder / "x.npy", np.arange(6, dtype=np.float32).reshape(3, 2))
    np.save(folder / "labels.npy", np.arange(4))
    (folder / "labels.json").write_text('{"sub/0.npy": 5, "sub/1.npy": [6, 7]}')
    for i in range(2):
        np.save(folder / "sub" / f"{i}.npy", np.full((1, 3 + i), i, np.float32))
        np.savez(folder / "sub" / f"{i}.npz", x=np.ones((1, 2)) * i, y=np.ones((1, 3 + i)))
    np.save(tmp_path / "secret.npy", np.zeros((4, 2), np.float32))
    return folder


def opened(place: Path, text: str, *inputs, role="calibration") -> Dataset:
    (place / "dataset.yaml").write_text(HEAD + text)
    return open_dataset(str(place), inputs or [X], role=role)


def test_a_stack_of_samples_with_labels_from_a_file(place: Path) -> None:
    data = opened(place, "files: all.npz\nlabels: labels.npy\n")
    assert [s.label for s in data] == [(0,), (1,), (2,), (3,)]


def test_inputs_by_name_with_a_stack_or_with_one_file_per_sample(place: Path) -> None:
    text = "inputs:\n  x: {files: [x.npy]}\n  y:\n    files: sub/0.npy\n"
    assert opened(place, "inputs: {x: x.npy}\n")[2].feeds["x"].tolist() == [[4, 5]]
    mixed = opened(place, "inputs:\n  y: sub/*.npy\n", Y)
    assert [s.feeds["y"].shape for s in mixed] == [(1, 3), (1, 4)]
    whole = opened(place, text, X, Y)  # in a list, a file is one sample
    assert len(whole) == 1 and whole[0].feeds["x"].shape == (3, 2)
    counts = "inputs: {x: x.npy, y: sub/*.npy}\n"
    assert codes(lambda: opened(place, counts, X, Y)) == ["EC-315"]


def test_other_lengths_are_fitted_by_declared_rules(place: Path) -> None:
    ids, mask = spec("x", [1, 2]), spec("y", [1, 4])
    refused = "files: sub/*.npz\n"
    (problem,) = problems(lambda: opened(place, refused, ids, mask)[0])
    assert problem.code == "EC-311"
    assert "fit: {y: {pad: 0}}" in problem.hints[0]
    data = opened(place, refused + "fit: {y: {pad: 0}}\n", ids, mask)
    assert data[0].feeds["y"].tolist() == [[1, 1, 1, 0]]
    assert data[1].feeds["y"].tolist() == [[1, 1, 1, 1]]
    front = opened(place, refused + "fit: {y: {pad: -1, side: start}}\n", ids, mask)
    assert front[0].feeds["y"].tolist() == [[-1, 1, 1, 1]]
    assert front.sha256 != data.sha256
    cut = opened(place, "files: sub/*.npy\nfit: {y: {crop: true}}\n", spec("y", [1, 3]))
    assert [s.feeds["y"].shape for s in cut] == [(1, 3), (1, 3)]


@pytest.mark.parametrize(
    ("fit", "text"),
    [
        ("{z: {pad: 0}}", "'fit' names 'z', which is not an input of the model"),
        ("{y: {pad: 0.5}}", "'fit.y.pad' is 0.5, which int64 cannot hold"),
        ("{y: {fill: 0}}", "unknown key 'fit.y.fill'"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused_by_place(place: Path, fit: str, text: str) -> None:
    (problem,) = problems(
        lambda: opened(place, f"files: sub/*.npz\nfit: {fit}\n", X, spec("y", [1, 4], "int64"))
    )
    assert (problem.code, problem.where.line) == ("EC-326", 3)
    assert text in problem.message


def test_a_batch_is_never_padded_or_cropped(place: Path) -> None:
    rules = "files: [x.npy]\nfit: {x: {pad: 0, crop: true}}\n"
    assert codes(lambda: opened(place, rules, spec("x", [1, 2]))[0]) == ["EC-311"]


def test_one_npz_per_sample_with_labels_by_file_name(place: Path) -> None:
    data = opened(place, "files: sub/*.npz\nlabels: [3, [4, 5]]\n", X, Y)
    assert [s.label for s in data] == [(3,), (4, 5)]
    assert data[1].feeds["y"].shape == (1, 4)
    assert data.sha256 != opened(place, "files: sub/*.npz\nlabels: [3, 4]\n", X, Y).sha256
    named = opened(place, "inputs: {y: 'sub/*.npy'}\nlabels: labels.json\n", Y)
    assert [s.label for s in named] == [(5,), (6, 7)]


def test_the_task_says_which_output_and_classes(place: Path) -> None:
    task = "task: {kind: classification, output: logits, classes: [a, b]}\n"
    data = opened(place, "files: all.npz\nlabels: [0, 0, 1, 1]\n" + task)
    assert data.task is not None
    assert (data.task.output, data.task.classes) == ("logits", ("a", "b"))
    assert opened(place, "files: all.npz\n").task is None


def test_splits_go_by_role(place: Path) -> None:
    text = (
        "splits:\n  calibration: {files: x.npy}\n"
        "  evaluation: {files: all.npz, labels: labels.npy}\n"
    )
    assert len(opened(place, text)) == 3
    assert opened(place, text, role="evaluation").labelled
    assert has_split(str(place), "evaluation")
    only = "splits:\n  evaluation: {files: all.npz}\n"
    assert codes(lambda: opened(place, only)) == ["EC-326"]
    assert not has_split(str(place), "calibration")
    assert not has_split(str(place / "all.npz"), "evaluation")


WRONG = [
    ("files: all.npz\npreproces: {}\n", "EC-326", 3, 1, "unknown key 'preproces'"),
    ("files: all.npz\npreprocess: {resise: 3}\n", "EC-326", 3, 14, "'preprocess.resise'"),
    ("preprocess:\n  size: wide\nfiles: a\n", "EC-326", 3, 9, "'preprocess.size'"),
    ("preprocess: {mean: [1, 2], std: [1, 2, 3]}\nfiles: a\n", "EC-326", 2, 13, "mean and std"),
    ("files: all.npz\ninputs: {x: x.npy}\n", "EC-326", 1, 1, "both"),
    ("files: [all.npz\n", "EC-325", None, None, "not valid YAML"),
    ("files: all.npz\nfiles: x.npy\n", "EC-325", 3, 1, "twice"),
    ("", "EC-326", 1, 1, "names no samples"),
    ("files: nothing.npy\n", "EC-328", 2, 8, "'nothing.npy'"),
    ("files: ['sub/*.png']\n", "EC-328", 2, 9, "'sub/*.png'"),
    ("files: dataset.yaml\n", "EC-302", 2, 8, "dataset.yaml"),
    ("files: ['all.npz', 'x.npy']\n", "EC-304", 2, 8, "mixes"),
    ("files: ../secret.npy\n", "EC-327", 2, 8, "'../secret.npy'"),
    ("files: sub/../../secret.npy\n", "EC-327", 2, 8, "leaves"),
    ("files: /etc/hostname\n", "EC-327", 2, 8, "leaves"),
    ("files: 'C:\\x.npy'\n", "EC-327", 2, 8, "leaves"),
    ("files: all.npz\nlabels: ../secret.npy\n", "EC-327", 3, 9, "leaves"),
    ("files: all.npz\nlabels: [1, 2]\n", "EC-329", 3, 9, "2 labels for 4 samples"),
    ("files: all.npz\nlabels: [1, 2, -3, 4]\n", "EC-329", 3, 9, "'all.npz[2]'"),
    ("inputs: {z: x.npy}\n", "EC-310", 2, 9, "'z' is not an input"),
    ("inputs:\n  x: {files: x.npy, fils: 1}\n", "EC-326", 3, 21, "unknown key 'inputs.x.fils'"),
]


@pytest.mark.parametrize(("text", "code", "line", "column", "words"), WRONG)
def test_mistakes_are_told_with_their_place(
    place: Path, text: str, code: str, line: int | None, column: int | None, words: str
) -> None:
    found = problems(lambda: opened(place, text))[0]
    assert found.code == code
    assert words in found.message
    if line is not None:
        assert (found.where.line, found.where.column) == (line, column)


def test_all_mistakes_of_a_file_are_told_at_once(place: Path) -> None:
    text = "fils: 1\npreprocess: {colour: RGB, layout: chw}\ntask: segmentation\n"
    found = problems(lambda: opened(place, text))
    assert [p.where.line for p in found] == [2, 3, 3, 4]
    assert "did you mean 'files'?" in found[0].hints


def test_links_out_of_the_directory_are_refused(place: Path) -> None:
    (place / "link.npy").symlink_to(place.parent / "secret.npy")
    (place / "folder").symlink_to(place.parent)
    assert codes(lambda: opened(place, "files: link.npy\n")) == ["EC-327"]
    assert codes(lambda: opened(place, "files: folder/secret.npy\n")) == ["EC-327"]


def test_a_file_that_is_no_dataset(place: Path) -> None:
    for text in ("- 1\n", "just words\n", "schema: edgecompile/recipe@1\nfiles: all.npz\n"):
        (place / "dataset.yaml").write_text(text)
        assert codes(lambda: open_dataset(str(place / "dataset.yaml"), [X])) == ["EC-326"]
    (place / "dataset.yaml").write_bytes(b"\xff\xfe\x00")
    assert codes(lambda: open_dataset(str(place / "dataset.yaml"), [X])) == ["EC-325"]
