"""The metrics and tables of the benchmarks, against independent implementations."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks import measure
from benchmarks.boxes import f1_of_boxes, overlap
from benchmarks.measure import ChildFailedError, median, run_command, run_function
from benchmarks.metrics import cosine, edit_distance, roc_auc, spearman, sqnr_db
from benchmarks.table import Figure, Table, write
from benchmarks.zoo.samples import (
    pack_ragged,
    read_calibration,
    read_evaluation,
    unpack_ragged,
    write_calibration,
    write_evaluation,
)
from benchmarks.zoo.stamps import read_list
from benchmarks.zoo.store import NotFetchedError, Places

words = st.text("abc", max_size=8)


@given(words, words)
def test_edit_distance_is_levenshtein(left, right):
    def slow(a, b):
        if not a or not b:
            return len(a) + len(b)
        same = slow(a[1:], b[1:]) + (a[0] != b[0])
        return min(slow(a[1:], b) + 1, slow(a, b[1:]) + 1, same)

    assert edit_distance(left[:5], right[:5]) == slow(left[:5], right[:5])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
def test_spearman_is_that_of_scipy(pairs):
    left, right = np.array(pairs, float).T
    if len(set(left)) < 2 or len(set(right)) < 2:
        return
    assert spearman(left, right) == pytest.approx(stats.spearmanr(left, right)[0])


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=4, max_size=40))
def test_roc_auc_counts_pairs_in_order(rows):
    scores = np.array([score for score, _ in rows], float)
    labels = np.array([int(label) for _, label in rows])
    ones, zeros = scores[labels == 1], scores[labels == 0]
    if not len(ones) or not len(zeros):
        return
    wins = (ones[:, None] > zeros).mean() + 0.5 * (ones[:, None] == zeros).mean()
    assert roc_auc(scores, labels) == pytest.approx(wins)


def test_fidelity_of_known_arrays():
    exact = np.array([[3.0, 4.0], [0.0, 2.0]])
    assert cosine(2 * exact, exact) == pytest.approx(1)
    assert cosine(exact[:, ::-1], exact) == pytest.approx((24 / 25 + 0) / 2)
    assert sqnr_db(exact * 1.1, exact) == pytest.approx(20)
    assert sqnr_db(exact, exact) == float("inf")


def test_boxes_are_found_where_they_are():
    page = np.zeros((1, 64, 128), np.float32)
    page[0, 20:30, 20:80] = 0.9
    # 10 x 60 pixels grow by 1.6 * 600 / 140 on each side
    grow = 1.6 * 600 / 140
    box = np.array([[20 - grow, 20 - grow, 80 + grow, 30 + grow]])
    assert f1_of_boxes(page, box, np.array([1])) == 1
    far = np.array([[100.0, 0, 120, 10]])
    assert f1_of_boxes(page, far, np.array([1])) == 0
    both = np.concatenate([box, far])
    assert f1_of_boxes(page, both, np.array([2])) == pytest.approx(2 / 3)
    assert overlap((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)


def burn(seconds):
    import time

    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    held = bytearray(100_000_000)
    held[::4096] = b"x" * len(held[::4096])
    return {"burnt": seconds}


def test_a_child_is_measured_by_itself(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(measure.ROOT))
    done = run_function("tests.unit.benchmarks.test_figures:burn", seconds=0.3)
    assert done.result == {"burnt": 0.3}
    assert done.cpu_s > 0.3
    assert done.peak_rss_bytes > 100_000_000
    small = run_command([measure.sys.executable, "-c", "print('hello')"])
    assert small.stdout == "hello\n"
    assert small.peak_rss_bytes < 60_000_000


def test_a_failing_or_endless_child_is_told():
    python = measure.sys.executable
    with pytest.raises(ChildFailedError, match="exit code 3: why"):
        run_command([python, "-c", "import sys; sys.exit(sys.stderr.write('why') and 3)"])
    with pytest.raises(ChildFailedError, match="time limit"):
        run_command([python, "-c", "import time; time.sleep(60)"], timeout_s=0.3)


def test_a_table_shows_ratios_and_whether_goals_are_met(tmp_path):
    table = Table(
        title="speed",
        figures=[
            Figure(what="a", ours=2, unit="s", goal=1, floor=0.5, peers={"theirs": 8}),
            Figure(what="b", ours=0.97, unit="", goal=0.95, lower_is_better=False),
        ],
    )
    lines = table.markdown().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert cells[0] == [
        *("what", "unit", "ours", "goal", "met", "floor", "ours / floor", "theirs", "ours / it"),
    ]
    assert cells[2] == ["a", "s", "2", "1", "NO", "0.5", "4", "8", "0.25"]
    assert cells[3][:5] == ["b", "", "0.97", "0.95", "yes"]
    write([table], tmp_path / "x", {"cpu": "one"})
    document = json.loads((tmp_path / "x.json").read_text())
    assert document["machine"] == {"cpu": "one"}
    assert document["tables"][0]["figures"][0]["ratios"] == {"floor": 4.0, "theirs": 0.25}


def test_samples_come_back_as_they_were(tmp_path):
    rows = [np.arange(6).reshape(2, 3), np.arange(4).reshape(2, 2)]
    write_evaluation(tmp_path, **pack_ragged(rows, "rows"))
    for row, known in zip(unpack_ragged(read_evaluation(tmp_path), "rows"), rows, strict=True):
        np.testing.assert_array_equal(row, known)
    write_calibration(tmp_path, ({"x": np.full((1, 2), i)} for i in range(11)))
    assert [int(s["x"][0, 0]) for s in read_calibration(tmp_path)] == list(range(11))


def test_no_stamp_is_in_both_splits():
    labelled, unlabelled = read_list()
    assert (len(labelled), len(unlabelled)) == (90, 132)
    assert not set(labelled) & set(unlabelled)


def test_a_model_that_is_not_fetched_says_what_to_type(tmp_path):
    with pytest.raises(NotFetchedError, match=r"python -m benchmarks\.zoo fetch minilm"):
        Places(tmp_path).need("minilm")


def test_median_of_even_and_odd():
    assert median([3, 1, 2]) == 2
    assert median([4, 1, 2, 3]) == 2.5
