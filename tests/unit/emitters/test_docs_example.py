"""The example in the documentation is run, so that it stays true."""

from __future__ import annotations

import re
import types
from pathlib import Path

import numpy as np
import pytest

from edgecompile.emitters.base import Emitter
from edgecompile.ir import load
from edgecompile.targets.catalogue import load_target
from edgecompile.targets.schema import Opsets
from tests.support import models

PAGE = Path(__file__).parents[3] / "docs" / "add-an-emitter.md"
TARGET = load_target("intel-nuc")


@pytest.fixture(scope="module")
def example() -> type[Emitter]:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    module = types.ModuleType("documented_example")
    exec(compile(code, str(PAGE), "exec"), vars(module))
    return module.OnnxExample


def test_the_example_emits_what_it_says(example, tmp_path):
    model = models.mlp()
    assert example().supports(model, TARGET) == []
    artifact = example().emit(model, TARGET, tmp_path, None)
    assert artifact.files == ("artifacts/model.onnx",)
    feeds = models.feeds(model)
    again = load(tmp_path / artifact.path)
    for want, got in zip(models.run(model, feeds), models.run(again, feeds), strict=True):
        np.testing.assert_array_equal(got, want)
    assert [p.name for p in tmp_path.iterdir()] == ["artifacts"]


def test_the_example_refuses_what_the_target_cannot_read(example):
    old = TARGET.model_copy(update={"opset": Opsets(min=7, max=12)})
    (problem,) = example().supports(models.mlp(), old)
    assert problem.code == "EC-608"
