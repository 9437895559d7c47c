"""`--shape NAME=VALUE`."""

import pytest

from edgecompile.diagnostics import EdgecompileError
from edgecompile.recipes import load_recipe, with_shapes
from edgecompile.targets.catalogue import load_target


def first(recipe: str, target: str, *shapes: str):
    known = with_shapes(load_recipe(recipe, load_target(target)), shapes)
    frozen = [s.operation for s in known.steps if s.operation.id == "freeze_shapes"]
    return known, (frozen[0] if frozen else None)


def test_shapes_go_to_the_step_that_the_recipe_has() -> None:
    before, _ = first("openvino-npu-int8", "core-ultra-mtl-npu")
    recipe, step = first("openvino-npu-int8", "core-ultra-mtl-npu", "L=64", "L=128", "x=1x3x48x320")
    assert len(recipe.steps) == len(before.steps)
    assert (step.dims, step.inputs, step.batch) == ({"L": 128}, {"x": (1, 3, 48, 320)}, 1)


def test_a_recipe_without_one_gets_it_first_and_keeps_its_free_batch() -> None:
    recipe, step = first("openvino-int8", "intel-nuc", "input.1=[5]", "L = 128")
    assert recipe.steps[0].operation is step
    assert (step.inputs, step.dims, step.batch) == ({"input.1": (5,)}, {"L": 128}, None)
    assert first("openvino-int8", "intel-nuc")[1] is None


@pytest.mark.parametrize("text", ["L", "=4", "L=", "L=0", "L=-1", "L=1x", "x=[]", "x=[1, N]"])
def test_what_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(EdgecompileError, match=r"EC-263.*neither SYMBOL=NUMBER"):
        first("openvino-int8", "intel-nuc", text)
