"""Ranges against ONNX Runtime's own calibrators, on the same model and samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from onnxruntime.quantization.calibrate import (
    CalibrationDataReader,
    EntropyCalibrater,
    MinMaxCalibrater,
    PercentileCalibrater,
)

from edgecompile.calibration import collector
from edgecompile.calibration.dataset import Dataset
from edgecompile.calibration.method import range_method
from edgecompile.ir.model import Model
from edgecompile.ir.save import save
from tests.support.data import npz_for
from tests.support.models import Builder


class Reader(CalibrationDataReader):
    """The samples of a data set, as ONNX Runtime asks for them."""

    def __init__(self, data: Dataset) -> None:
        self._samples = iter(data)

    def get_next(self) -> dict[str, np.ndarray] | None:
        sample = next(self._samples, None)
        return None if sample is None else dict(sample.feeds)


def network() -> Model:
    """Signed, one-sided and bounded activations: `[N, 3, 16, 16]` -> `[N, 16, 16, 16]`."""
    b = Builder(11)
    x = b.input("x", ["N", 3, 16, 16])
    x = b.node("Relu", [b.conv(x, 3, 16)])
    y = b.node("Clip", [b.conv(x, 16, 32), b.constant(0.0), b.constant(6.0)])
    z = b.node("Add", [x, b.conv(y, 32, 16, k=1)])
    return b.build({b.node("Sigmoid", [z]): ["N", 16, 16, 16]})


@pytest.fixture
def setting(tmp_path: Path, monkeypatch) -> tuple[Path, Dataset, list[str], collector.Observations]:
    """The model's file, the data, the tensors, and what edgecompile saw of every value."""
    monkeypatch.setattr(collector, "LEAST_VALUES", 10**9)
    model = network()
    data = npz_for(model, tmp_path / "d.npz", samples=12, scale=2.0)
    save(model, tmp_path / "model.onnx")
    graph = model.graph.graph
    values = [*graph.inputs, *(v for node in graph for v in node.outputs)]
    names = [v.name for v in values if v.name and v.dtype == ir.DataType.FLOAT]
    return tmp_path, data, names, collector.observe(model, names, data)


def theirs(calibrater, directory: Path, data: Dataset, **options) -> dict[str, tuple[float, float]]:
    """Thresholds by one of ONNX Runtime's calibrators."""
    made = calibrater(
        str(directory / "model.onnx"),
        augmented_model_path=str(directory / "augmented.onnx"),
        **options,
    )
    made.augment_graph()
    made.create_inference_session()
    made.collect_data(Reader(data))
    found = made.compute_data().data
    return {
        name: tuple(np.asarray(v).item() for v in entry.range_value)
        for name, entry in found.items()
    }


def test_minmax(setting) -> None:
    directory, data, names, seen = setting
    reference = theirs(MinMaxCalibrater, directory, data)
    ours = seen.ranges(range_method("minmax")).tensors
    for name in names:
        # Their session runs without fusions, so the last bit of a convolution may differ.
        np.testing.assert_allclose(
            (ours[name].min, ours[name].max), reference[name], rtol=1e-5, atol=1e-6, err_msg=name
        )


def test_moving_average(setting) -> None:
    directory, data, names, seen = setting
    reference = theirs(MinMaxCalibrater, directory, data, moving_average=True)
    ours = seen.ranges(range_method("moving_average")).tensors
    for name in names:
        np.testing.assert_allclose(
            (ours[name].min, ours[name].max), reference[name], rtol=1e-5, atol=1e-6, err_msg=name
        )


@pytest.mark.parametrize("cut", [99.0, 99.9])
def test_percentile(setting, cut: float) -> None:
    directory, data, names, seen = setting
    reference = theirs(PercentileCalibrater, directory, data, percentile=cut, num_bins=2048)
    ours = seen.ranges(range_method("percentile", {"cut": cut})).tensors
    for name in names:
        # Their histogram reaches from -t to t over 2048 bins or more; ours has its own bins.
        width = 2 * max(abs(v) for v in (ours[name].observed_min, ours[name].observed_max)) / 2048
        slack = width + 2 * seen.histograms[name].width
        np.testing.assert_allclose(
            (ours[name].min, ours[name].max), reference[name], rtol=0, atol=slack, err_msg=name
        )


def test_entropy(setting) -> None:
    directory, data, names, seen = setting
    minmax = theirs(MinMaxCalibrater, directory, data)
    default = theirs(EntropyCalibrater, directory, data)
    fine = theirs(EntropyCalibrater, directory, data, num_bins=4096, num_quantized_bins=256)
    ours = seen.ranges(range_method("entropy")).tensors
    for name in names:
        reach = max(abs(v) for v in minmax[name])
        # As many bins as levels leave nothing to choose: their default is minmax (one bin off).
        assert max(map(abs, default[name])) == pytest.approx(reach, rel=1 / 64)
        # With bins enough, both cut at a like place. Theirs counts the zeros after Relu, which
        # pull its cut inwards, so ours may be wider and must not be much narrower.
        theirs_at = max(map(abs, fine[name])) / reach
        ours_at = max(abs(ours[name].min), abs(ours[name].max)) / reach
        assert ours_at >= 0.8 * theirs_at, name
