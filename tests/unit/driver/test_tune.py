"""Tuning: which placements are tried, that the fastest stays, that an interruption costs nothing.

Builds are real; the device is played by a clock that says what each build takes.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgecompile.artifacts.kit import DeviceLatency
from edgecompile.artifacts.manifest import DeviceProof, Manifest
from edgecompile.diagnostics import EdgecompileError, ExitCode
from edgecompile.diagnostics.catalogue.remote import REMOTE_FAILED
from edgecompile.driver.tune import candidates, tune
from edgecompile.targets.catalogue import load_target
from tests.support.builds import RememberingSink, request

ORIN = load_target("jetson-orin")


class Clock:
    """Says 3, 2, 4, ... ms for one build after another; breaks at number `broken`, and cannot build
    number `refused`."""

    def __init__(
        self, broken: int | None = None, fails: int | None = None, refused: int | None = None
    ) -> None:
        self.times = [3.0, 2.0, 4.0, 5.0, 6.0]
        self.seen: list[str] = []
        self.broken, self.fails, self.refused = broken, fails, refused

    def __call__(self, built):
        if len(self.seen) == self.broken:
            raise ConnectionError("the line broke")
        first = built.manifest.artifacts[0]
        self.seen.append(first.sha256)
        if len(self.seen) - 1 == self.refused:
            raise REMOTE_FAILED.error(
                address="a clock", what="run the artifact", reason="no kernel"
            )
        if len(self.seen) - 1 == self.fails:
            return replace(built, exit_code=ExitCode.REJECTED)
        median = self.times[len(self.seen) - 1]
        proof = DeviceProof(
            device="a clock", runtime="none", samples=1, report_sha256="0" * 64,
            latency_ms=DeviceLatency(median=median, p90=median, runs=1),
        )  # fmt: skip
        record = first.model_copy(update={"device": proof})
        manifest = built.manifest.model_copy(update={"artifacts": (record,)})
        return replace(built, manifest=manifest)


def test_placements_are_those_that_the_style_has():
    names = [c.name for c in candidates(ORIN.quantization, ("conv", "fc"))]
    assert names[:3] == ["recipe", "first and last in float", "residual adds in integers"]
    assert "joins in integers" not in names  # a Concat shares its scale by itself
    ends = candidates(ORIN.quantization, ("conv", "fc"))[1]
    assert ends.overrides == (
        'calibrate.keep_float=["conv", "fc"]', 'quantize_static.keep_float=["conv", "fc"]',
    )  # fmt: skip


def test_the_fastest_stays_and_an_interrupted_tuning_goes_on(tmp_path):
    asked = request(tmp_path, target="jetson-orin")
    first = Clock(broken=1)
    with pytest.raises(ConnectionError):
        tune(asked, RememberingSink(), first)
    assert len(first.seen) == 1
    state = json.loads((tmp_path / "out.tune/tuning.json").read_text())
    assert [entry["latency_ms"] for entry in state["measured"]] == [3.0]

    clock = Clock()
    clock.times = [2.0, 4.0, 5.0, 6.0]
    tuned = tune(asked, RememberingSink(), clock)
    assert first.seen[0] not in clock.seen
    assert len(set(clock.seen)) == len(clock.seen)  # equal artifacts are measured once
    assert tuned.best.name == "first and last in float"
    kept = Manifest.load(tmp_path / "out/manifest.json").artifacts[0].sha256
    assert kept == tuned.best.artifact_sha256
    assert tuned.to_json()["set"] == list(tuned.overrides)


def test_a_candidate_that_the_device_cannot_build_does_not_end_the_tuning(tmp_path):
    tuned = tune(request(tmp_path, target="jetson-orin"), RememberingSink(), Clock(refused=1))
    (lost,) = [one for one in tuned.measured if "no kernel" in one.reason]
    assert lost.latency_ms is None
    assert tuned.best is not lost


def test_a_candidate_that_does_not_hold_is_not_kept(tmp_path):
    asked = request(tmp_path, target="jetson-orin")
    tuned = tune(asked, RememberingSink(), Clock(fails=1))
    assert tuned.measured[1].latency_ms is None
    assert "do not hold" in tuned.measured[1].reason
    assert tuned.best.name == "recipe"


def test_a_device_without_integers_has_nothing_to_tune(tmp_path):
    with pytest.raises(EdgecompileError) as caught:
        tune(request(tmp_path, target="jetson-nano"), RememberingSink(), Clock())
    assert caught.value.diagnostics[0].code == "EC-534"
