"""What a graph tells about the inputs of a matrix product without any data.

The output of a layer normalisation is gamma n + beta with n of mean 0 and variance 1 (Ba et al.
2016, arXiv:1607.06450), so channel i has the power gamma_i^2 + beta_i^2, and errors of the weights
that it meets count that much. The same idea with measured powers is llama.cpp's importance matrix.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgecompile.passes.graph.edit import constant_at, int_attribute
from edgecompile.passes.quantize.weight_blocks import FloatArray
from edgecompile.passes.quantize.weight_sites import Reader, WeightSite

NORMALISATIONS = ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
LEAST_SHARE = np.float32(1e-3)
"""No channel counts less than this share of the mean: beta and gamma are not the whole truth."""


def input_power(site: WeightSite) -> FloatArray | None:
    """Power of the inputs that meet each row of the weight, scaled to a mean of 1.

    In a shape that broadcasts to the weight's; None unless every reader's input is known.
    """
    known: FloatArray | None = None
    for reader in site.readers:
        power = _power(reader)
        if power is None or (known is not None and not np.array_equal(power, known)):
            return None
        known = power
    inner, shape = site.axes.inner, site.tensor.shape.numpy()
    if known is None or inner is None or known.shape != (shape[inner],) or not known.any():
        return None
    scaled: FloatArray = np.maximum(known / known.mean(), LEAST_SHARE)
    return np.expand_dims(scaled, tuple(i for i in range(len(shape)) if i != inner))


def _power(reader: Reader) -> FloatArray | None:
    if reader.node.op_type not in ("MatMul", "Gemm") or reader.index != 1:
        return None
    source = reader.node.inputs[0]
    producer = None if source is None else source.producer()
    if producer is None or producer.op_type not in NORMALISATIONS or not _last_axis(producer):
        return None
    gamma, beta = constant_at(producer, 1), constant_at(producer, 2)
    if gamma is None or (beta is None and len(producer.inputs) > 2):
        return None
    power = np.square(gamma.astype(np.float32))
    if beta is not None:
        power = power + np.square(beta.astype(np.float32))
    finite = bool(np.isfinite(power).all())
    return power.reshape(-1) if finite and power.size == max(power.shape, default=1) else None


def _last_axis(node: ir.Node) -> bool:
    axis, source = int_attribute(node, "axis", -1), node.inputs[0]
    if axis == -1:
        return True
    return source is not None and source.shape is not None and axis == len(source.shape) - 1
