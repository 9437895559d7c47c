"""Damaged models are refused in order, or load and can be worked with; nothing else happens."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecompile.diagnostics import EdgecompileError
from edgecompile.ir import load, save, to_bytes
from edgecompile.ir.check import weight_problems
from edgecompile.ir.facts import all_nodes, input_specs, macs, op_census, output_specs
from edgecompile.ir.guard import bounded_memory
from edgecompile.ir.shapes import infer
from edgecompile.ir.text import to_text
from tests.support.models import attention, branches, conv_bn_relu, lstm
from tests.support.mutate import damaged_bytes, damaged_fields
from tests.support.onnx_corpus import node_cases

ROUNDS = 400
SEEDS = range(3)
MEMORY_BYTES = 3 * 2**30


@functools.cache
def _sources() -> list[bytes]:
    """Small models of many operators and constructs."""
    rng = random.Random(0)
    cases = [case for case in node_cases() if case.model_path.stat().st_size < 6000]
    chosen = [case.model_path.read_bytes() for case in rng.sample(cases, 200)]
    built = [to_bytes(make()) for make in (attention, branches, conv_bn_relu, lstm)]
    return chosen + built * 20


def _use(path: Path, directory: Path) -> None:
    """Load and, if it loads, do all that edgecompile does before a pass runs."""
    try:
        model = load(path)
    except EdgecompileError as error:
        assert all(d.code.startswith("EC-1") for d in error.diagnostics)
        assert error.diagnostics
        return
    save(model, directory / "saved.onnx")
    again = load(directory / "saved.onnx")
    assert again.digest == model.digest
    assert to_bytes(again) == (directory / "saved.onnx").read_bytes()
    to_text(model)
    op_census(model)
    weight_problems(model)
    assert [macs(node) for node in all_nodes(infer(model))]
    try:
        input_specs(model)
        output_specs(model)
    except EdgecompileError as error:
        assert [d.code for d in error.diagnostics] == ["EC-119"]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("damage", [damaged_bytes, damaged_fields])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_models(
    tmp_path: Path, damage: Callable[[bytes, random.Random], bytes], seed: int
) -> None:
    rng = random.Random(seed)
    sources = _sources()
    path = tmp_path / "model.onnx"
    for number in range(ROUNDS):
        data = damage(rng.choice(sources), rng)
        path.write_bytes(data)
        try:
            with bounded_memory(MEMORY_BYTES):
                _use(path, tmp_path)
        except Exception as error:
            error.add_note(f"round {number} of seed {seed}: {data.hex()[:4000]}")
            raise
