"""`round_bf16`: the numbers of a runtime in bfloat16, and the float model without the Casts."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from edgecompile.calibration.bfloat16 import without_rounding
from edgecompile.calibration.session import run_session
from edgecompile.ir.facts import constant_array, op_census
from edgecompile.ir.shapes import infer
from edgecompile.passes.base import Context
from edgecompile.passes.quantize.round_bf16 import RoundBf16
from edgecompile.targets.catalogue import load_target
from edgecompile.verify.compare import compare
from tests.support.models import ALL, Builder, feeds, run

STRIX = load_target("ryzen-ai-strix")


def rounded(model):
    return RoundBf16().run(infer(model), Context(target=STRIX)).model


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_small_model_loses_what_8_bits_of_precision_cost(name):
    model = ALL[name]()
    inputs = feeds(model, batch=3)
    after = rounded(model)
    found = list(run_session(after, exact=True).run(inputs).values())
    for reference, actual in zip(run(model, inputs), found, strict=True):
        (figures,) = compare({"y": [reference]}, {"y": [actual]}).values()
        assert 30 < figures.sqnr_db < 70
    plain = without_rounding(after)
    before = op_census(infer(model))
    assert op_census(plain) == {op: before[op] for op in before}


def test_a_product_is_rounded_as_its_definition_says():
    b = Builder()
    weights = b.rng.normal(size=(16, 4)).astype(np.float32)
    product = b.node("MatMul", [b.input("x", [2, 16]), b.constant(weights)])
    model = b.build({b.node("Neg", [product]): [2, 4]})
    inputs = feeds(model)
    (found,) = run_session(rounded(model), exact=True).run(inputs).values()

    def narrow(array):
        return array.astype(ml_dtypes.bfloat16).astype(np.float32)

    want = -narrow(narrow(inputs["x"]) @ narrow(weights))
    np.testing.assert_allclose(found, want, rtol=2**-8)
    stored = constant_array(next(iter(rounded(model).graph.graph.initializers.values())))
    np.testing.assert_array_equal(stored, narrow(weights))


def test_a_model_without_rounding_is_itself():
    model = ALL[sorted(ALL)[0]]()
    assert without_rounding(model) is model


def test_targets_without_bfloat16_are_told():
    (reason,) = RoundBf16().unfit(load_target("ryzen-ai-phoenix"))
    assert "bf16" in reason
