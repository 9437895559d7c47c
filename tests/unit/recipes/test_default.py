"""The recipe that a target takes by itself: transformers can have one of their own."""

from edgecompile.ir.kinds import is_transformer
from edgecompile.recipes import default_recipe
from edgecompile.targets.catalogue import all_targets, load_target
from tests.support.models import Builder, attention, depthwise


def _hybrid():
    """A convolutional network with attention over its columns at the end."""
    b = Builder()
    x = b.conv(b.input("x", [1, 3, 8, 8]), 3, 64, 5)
    x = b.node("Reshape", [x, b.constant([1, 64, 64])])
    scores = b.node("MatMul", [x, b.node("Transpose", [x], perm=[0, 2, 1])])
    return b.build({b.node("MatMul", [scores, b.linear(x, 64, 8)]): None})


def test_a_transformer_has_attention_and_most_weights_in_products():
    assert is_transformer(attention())
    assert not is_transformer(_hybrid())
    assert not is_transformer(depthwise())


def test_ryzen_ai_takes_transformers_in_bfloat16_as_amd_does():
    strix = load_target("ryzen-ai-strix")
    assert default_recipe(strix, attention()) == "vitisai-bf16"
    assert default_recipe(strix, _hybrid()) == strix.recipe == "vitisai-a16w8"


def test_targets_without_one_take_their_recipe_for_every_model():
    for target in all_targets().values():
        if target.transformer_recipe is None:
            assert default_recipe(target, attention()) == target.recipe
