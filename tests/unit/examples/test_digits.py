"""The shipped example and its data are what their READMEs say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from edgecompile.calibration.dataset import open_dataset
from edgecompile.ir import load
from edgecompile.ir.facts import input_specs, op_census, output_specs

ROOT = Path(__file__).resolve().parents[3]
MODEL = ROOT / "examples" / "digits" / "model.onnx"
DATA = ROOT / "calibration_data" / "digits"


def images(split):
    with np.load(DATA / f"{split}.npz") as stored:
        assert stored.files == ["image"]
        return stored["image"]


def test_the_model_reads_held_out_digits():
    session = onnxruntime.InferenceSession(MODEL)
    (logits,) = session.run(None, {"image": images("evaluation")})
    assert (logits.argmax(1) == np.load(DATA / "labels.npy")).mean() >= 0.97


def test_the_model_is_small_and_leaves_work_to_the_compiler():
    assert MODEL.stat().st_size < 100_000
    census = op_census(load(MODEL))
    assert census["BatchNormalization"] == census["Conv"] == 7
    groups = [a.i for n in onnx.load(MODEL).graph.node for a in n.attribute if a.name == "group"]
    assert sum(group > 1 for group in groups) == 3
    assert census["Clip"] == 6
    assert census["Add"] == 1


def test_inputs_and_outputs_are_as_documented():
    model = load(MODEL)
    (image,), (logits,) = input_specs(model), output_specs(model)
    assert (image.name, image.dtype, image.shape) == ("image", np.float32, ("N", 1, 28, 28))
    assert (logits.name, logits.shape) == ("logits", ("N", 10))


def test_calibration_and_evaluation_share_no_digit():
    calibration, evaluation = images("calibration"), images("evaluation")
    assert calibration.shape == (200, 1, 28, 28)
    assert evaluation.shape == (1000, 1, 28, 28)
    both = {image.tobytes() for image in (*calibration, *evaluation)}
    assert len(both) == 1200
    for split in (calibration, evaluation):
        assert split.dtype == np.float32
        assert split.min() == 0
        assert split.max() == 1


def test_every_class_is_there():
    labels = np.load(DATA / "labels.npy")
    assert labels.dtype == np.int64
    assert np.bincount(labels, minlength=10).min() > 70


def test_the_directory_opens_as_a_labelled_data_set():
    inputs = input_specs(load(MODEL))
    calibration = open_dataset(str(DATA), inputs)
    evaluation = open_dataset(str(DATA), inputs, role="evaluation")
    assert (len(calibration), len(evaluation)) == (200, 1000)
    assert evaluation.labelled
    assert evaluation.task is not None
    assert evaluation[3].label == (int(np.load(DATA / "labels.npy")[3]),)
    np.testing.assert_array_equal(evaluation[3].feeds["image"][0], images("evaluation")[3])
