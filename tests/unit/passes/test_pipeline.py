"""The chain of steps: what runs, what comes from the cache, and who is caught lying."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from edgecompile.diagnostics import Diagnostic, EdgecompileError, ExitCode
from edgecompile.ir.model import Model
from edgecompile.ir.save import to_bytes
from edgecompile.passes.base import Pass
from edgecompile.passes.cached_step import Surroundings
from edgecompile.passes.instruments import Census, DumpIr, Timing
from edgecompile.passes.lazy import Lazy
from edgecompile.passes.pipeline import PipelineResult, run_pipeline
from edgecompile.passes.verify_each import VerifyEach
from edgecompile.store import Store
from edgecompile.targets.catalogue import load_target
from tests.support.toys import (
    DropRelu,
    Lies,
    MakeArtifact,
    Measure,
    ScaleWeights,
    UseRanges,
    _Toy,
    steps,
    toy,
)


@pytest.fixture(autouse=True)
def runs() -> list[str]:
    _Toy.runs.clear()
    return _Toy.runs


class Bench:
    """Runs toy recipes in one cache."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.heard: list[Diagnostic] = []
        self.store = Store(root / "cache", self.heard.append)
        self.count = 0

    def run(
        self, *operations: Pass, data: str = "d", scale: float = 2.0, **how: Any
    ) -> PipelineResult:
        self.count += 1
        workdir = self.root / f"work{self.count}"
        workdir.mkdir()
        model = toy(self.root, scale)
        target = how.pop("target", None) or load_target("intel-nuc")
        samples: Lazy[Any] = Lazy(data * 64, lambda: ["sample"])
        return run_pipeline(
            steps(*operations),
            how.pop("start", None) or Lazy.known(model.digest, model, maker="load"),
            Surroundings(
                origin=model.origin,
                target=target,
                workdir=workdir,
                data=samples,
                progress=how.pop("progress", None),
            ),
            store=how.pop("store", self.store),
            **how,
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


RECIPE = (ScaleWeights(), Measure(), UseRanges(), MakeArtifact())
ALL = ["scale_weights", "measure", "use_ranges", "make_artifact"]


def test_a_second_run_runs_nothing_and_gives_the_same(bench: Bench, runs: list[str]) -> None:
    cold = bench.run(*RECIPE)
    assert runs == ALL
    runs.clear()
    warm = bench.run(*RECIPE)
    assert runs == []
    assert [step.cached for step in warm.steps] == [True] * 4
    assert to_bytes(warm.state.model.get()) == to_bytes(cold.state.model.get())
    assert warm.state.model.get().digest == warm.state.model.digest == cold.state.model.digest
    assert warm.state.ranges is not None
    assert cold.state.ranges is not None
    assert warm.state.ranges.get() == cold.state.ranges.get()
    assert warm.state.artifact is not None
    assert cold.state.artifact is not None
    assert warm.state.artifact.get().read_bytes() == cold.state.artifact.get().read_bytes()
    assert warm.state.artifact.get().with_suffix(".bin").read_bytes() == b"weights"
    assert [s.notes for s in warm.steps] == [s.notes for s in cold.steps]
    assert [s.seconds for s in warm.steps] == [s.seconds for s in cold.steps]
    assert warm.state.model.get().origin == cold.state.model.get().origin


def test_a_run_that_hits_everywhere_opens_no_model(bench: Bench) -> None:
    digest = bench.run(*RECIPE).steps[0].input_digest

    def forbidden() -> Model:
        raise AssertionError("the model was opened")

    warm = bench.run(*RECIPE, start=Lazy(digest, forbidden))
    assert all(step.cached for step in warm.steps)


def test_an_option_runs_its_step_and_those_behind_it(bench: Bench, runs: list[str]) -> None:
    bench.run(*RECIPE)
    runs.clear()
    bench.run(ScaleWeights(), Measure(width=2.0), UseRanges(), MakeArtifact())
    assert runs == ["measure", "use_ranges", "make_artifact"]


def test_data_runs_the_steps_that_need_it_and_those_behind(bench: Bench, runs: list[str]) -> None:
    bench.run(*RECIPE)
    runs.clear()
    bench.run(*RECIPE, data="e")
    # The new samples gave the ranges of the old ones, so the chain is cut off there.
    assert runs == ["measure"]


def test_a_step_that_gives_the_same_cuts_the_chain_off(bench: Bench, runs: list[str]) -> None:
    bench.run(ScaleWeights(factor=3.0), Measure(), UseRanges())
    runs.clear()
    # Other weights and another factor, and the same product.
    result = bench.run(ScaleWeights(factor=6.0), Measure(), UseRanges(), scale=1.0)
    assert runs == ["scale_weights"]
    assert [step.cached for step in result.steps] == [False, True, True]


def test_only_declared_facts_of_the_target_count(bench: Bench, runs: list[str]) -> None:
    bench.run(*RECIPE)
    runs.clear()
    target = load_target("intel-nuc")
    bench.run(*RECIPE, target=target.model_copy(update={"summary": "another"}))
    assert runs == []
    opset = target.opset.model_copy(update={"max": 20})
    bench.run(*RECIPE, target=target.model_copy(update={"opset": opset}))
    assert runs == ["use_ranges", "make_artifact"]


def test_without_a_store_everything_runs(bench: Bench, runs: list[str]) -> None:
    for _ in range(2):
        bench.run(*RECIPE, store=None)
    assert runs == ALL * 2


def test_a_damaged_model_is_made_again_when_it_is_needed(bench: Bench, runs: list[str]) -> None:
    first = bench.run(ScaleWeights())
    stored = bench.store.directory(first.steps[0].key) / "model.onnx"
    stored.write_bytes(stored.read_bytes()[:-1] + b"?")
    runs.clear()
    second = bench.run(ScaleWeights(), Measure())
    assert sorted(runs) == ["measure", "scale_weights"]
    assert second.state.model.get().digest == first.state.model.digest
    assert [d.code for d in bench.heard] == ["EC-702"]
    assert "scale_weights" in bench.heard[0].message


@pytest.mark.parametrize("name", ["ranges.json", "artifact/net.bin"])
def test_damaged_ranges_and_artifacts_are_made_again(
    bench: Bench, runs: list[str], name: str
) -> None:
    first = bench.run(*RECIPE)
    for step in first.steps:
        path = bench.store.directory(step.key) / name
        if path.exists():
            path.write_bytes(path.read_bytes() + b" ")
    warm = bench.run(*RECIPE)
    assert warm.state.artifact is not None
    assert warm.state.artifact.get().with_suffix(".bin").read_bytes() == b"weights"
    assert warm.state.ranges is not None
    assert warm.state.ranges.get().tensors["x"].max == 1.0
    assert [d.code for d in bench.heard] == ["EC-702"]


def test_a_large_quick_result_is_not_kept_but_made_again(
    bench: Bench, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecompile.passes.stored.CHEAP_TO_KEEP_BYTES", 0)
    monkeypatch.setattr("edgecompile.passes.stored.REBUILD_BYTES_PER_S", 1e-9)
    first = bench.run(ScaleWeights())
    assert not (bench.store.directory(first.steps[0].key) / "model.onnx").exists()
    runs.clear()
    second = bench.run(ScaleWeights())
    assert second.steps[0].cached
    assert runs == []
    assert second.state.model.get().digest == first.state.model.digest
    assert runs == ["scale_weights"]


@pytest.mark.parametrize(
    ("how", "code", "text"),
    [
        ("changed for nothing", "EC-401", "says changed=True, but the model's digest stayed"),
        ("changed in secret", "EC-401", "says changed=False, but the model's digest differs"),
        ("mutates", "EC-402", "edited the model that it was given"),
        ("ensures not", "EC-403", "a node is missing"),
        ("crashes", "EC-404", "KeyError: 'scale'"),
        ("reads an undeclared fact", "EC-405", "reads 'id' but does not declare it"),
    ],
)
def test_a_pass_that_breaks_its_contract_is_named(
    bench: Bench, how: str, code: str, text: str
) -> None:
    with pytest.raises(EdgecompileError) as caught:
        bench.run(Lies(how=how))
    assert caught.value.exit_code is ExitCode.BUG
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == code
    assert text in diagnostic.message
    assert diagnostic.where.step == "lies"
    if how == "crashes":
        assert isinstance(caught.value.__cause__, KeyError)
    assert list(bench.store.list()) == []


def test_ranges_that_nobody_made(bench: Bench) -> None:
    with pytest.raises(EdgecompileError) as caught:
        bench.run(UseRanges())
    assert caught.value.diagnostics[0].code == "EC-237"


def test_instruments_see_every_step(bench: Bench, tmp_path: Path) -> None:
    timing, census = Timing(), Census()
    told: list[tuple[str, int, int]] = []
    for _ in range(2):
        bench.run(
            DropRelu(),
            Measure(),
            instruments=[timing, census],
            progress=lambda *event: told.append(event),
        )
        assert set(timing.seconds) == {"drop_relu", "measure"}
        assert census.changes == {"drop_relu": {"Relu": -1}, "measure": {}}
    assert told == [("measure", 1, 1)]


def test_dump_ir_writes_every_step_also_when_cached(bench: Bench, tmp_path: Path) -> None:
    for name in ("cold", "warm"):
        bench.run(DropRelu(), ScaleWeights(), instruments=[DumpIr(tmp_path / name)])
    written = {p.name: p.read_bytes() for p in (tmp_path / "cold").iterdir()}
    assert sorted(written) == [
        f"{stem}.{kind}"
        for stem in ("00-input", "01-drop_relu", "02-scale_weights")
        for kind in ("onnx", "txt")
    ]
    assert written == {p.name: p.read_bytes() for p in (tmp_path / "warm").iterdir()}
    assert b"Relu" in written["00-input.txt"]
    assert b"Relu" not in written["01-drop_relu.txt"]


def test_verify_each_catches_a_pass_that_changes_the_outputs(bench: Bench) -> None:
    bench.run(ScaleWeights(), Measure(), instruments=[VerifyEach()])
    with pytest.raises(EdgecompileError) as caught:
        bench.run(ScaleWeights(), DropRelu(), instruments=[VerifyEach()])
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "EC-410"
    assert diagnostic.where.step == "drop_relu"
    assert "'drop_relu' output 'y' differs by" in diagnostic.message


def test_records_tell_inputs_and_their_makers(bench: Bench) -> None:
    records = bench.run(*RECIPE).records
    assert [r.label for r in records] == ALL
    assert records[2].makers == {"model": "scale_weights", "ranges": "measure"}
    assert set(records[1].material["inputs"]) == {"data", "model"}
    assert set(records[2].material["inputs"]) == {"model", "ranges"}


class Reshapes(ScaleWeights):
    """Changes the weights of a model that stays in float."""

    id: ClassVar[str] = "reshapes"
    still_float: ClassVar[bool] = True


def test_quantized_weights_are_compared_with_the_float_weights_that_they_were_made_from(
    bench: Bench,
) -> None:
    done = bench.run(Reshapes(), ScaleWeights(factor=5.0), ScaleWeights(factor=7.0))
    assert done.state.reference is not None
    assert done.state.reference.digest == done.steps[1].input_digest
    again = bench.run(Reshapes(), ScaleWeights(factor=5.0), ScaleWeights(factor=7.0))
    assert all(step.cached for step in again.steps)
    assert again.state.reference is not None
    assert again.state.reference.digest == done.state.reference.digest
