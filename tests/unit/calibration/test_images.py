"""Images: every preprocessing option against plain Pillow and NumPy, and what is assumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecompile.calibration.dataset import Dataset, open_dataset
from edgecompile.ir.facts import TensorSpec
from tests.support.data import IMAGE, codes, problems, spec

PIXELS = np.random.default_rng(3).integers(0, 256, (16, 24, 3)).astype(np.uint8)


def described(directory: Path, preprocess: str, model_input: TensorSpec = IMAGE) -> Dataset:
    """One 16 x 24 image, with this `preprocess` block."""
    Image.fromarray(PIXELS).save(directory / "a.png")
    text = f"schema: edgecompile/dataset@1\nfiles: a.png\npreprocess: {preprocess}\n"
    (directory / "dataset.yaml").write_text(text)
    return open_dataset(str(directory), [model_input])


def resized(width: int, height: int, method: Image.Resampling) -> np.ndarray:
    """The image by Pillow, 0 to 1."""
    return np.asarray(Image.fromarray(PIXELS).resize((width, height), method), np.float32) / 255


def test_without_a_description_the_input_decides_and_a_warning_says_so(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    data = open_dataset(str(tmp_path), [IMAGE])
    (warning,) = data.diagnostics
    assert warning.code == "EC-320" and warning.severity == "warning"
    assert "rgb, resized to 8 x 6 (cover), x / 255, mean 0.0, std 1.0, nchw" in warning.message
    assert "preprocess: {size: [8, 6]" in warning.hints[0]
    whole = resized(12, 8, Image.Resampling.BILINEAR)  # 8 rows are covered, 6 columns are cut
    np.testing.assert_allclose(
        data[0].feeds["image"], whole[:, 3:9].transpose(2, 0, 1)[None], atol=1e-6
    )


def test_what_the_warning_offers_gives_the_same_samples(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    data = open_dataset(str(tmp_path), [IMAGE])
    block = data.diagnostics[0].hints[0].split("preprocess: ")[-1]
    np.testing.assert_array_equal(
        described(tmp_path, block)[0].feeds["image"], data[0].feeds["image"]
    )


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("{resize: stretch}", resized(6, 8, Image.Resampling.BILINEAR)),
        ("{resize: stretch, interpolation: box}", resized(6, 8, Image.Resampling.BOX)),
        ("{resize: 10}", resized(15, 10, Image.Resampling.BILINEAR)[1:9, 4:10]),
        ("{resize: none}", (PIXELS / 255)[4:12, 9:15]),
        ("{resize: stretch, colour: bgr}", resized(6, 8, Image.Resampling.BILINEAR)[:, :, ::-1]),
        (
            "{resize: stretch, scale: 1, mean: [10, 20, 30], std: [2, 4, 8]}",
            (resized(6, 8, Image.Resampling.BILINEAR) * 255 - [10, 20, 30]) / [2, 4, 8],
        ),
        (
            "{resize: stretch, mean: 0.5, std: 0.5}",
            resized(6, 8, Image.Resampling.BILINEAR) * 2 - 1,
        ),
    ],
)
def test_each_option_does_what_it_says(tmp_path: Path, block: str, expected: np.ndarray) -> None:
    feed = described(tmp_path, block)[0].feeds["image"]
    assert feed.dtype == np.float32
    np.testing.assert_allclose(feed[0], expected.transpose(2, 0, 1), atol=2e-5)


def test_contain_fills_up_with_the_pad_value(tmp_path: Path) -> None:
    feed = described(tmp_path, "{resize: contain, pad: 114, scale: 1}")[0].feeds["image"][0]
    assert (feed[:, :2] == 114).all() and (feed[:, -2:] == 114).all()
    inner = np.asarray(Image.fromarray(PIXELS).resize((6, 4), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(feed[:, 2:6], inner.transpose(2, 0, 1))


def test_layouts_channels_and_types_follow_the_input(tmp_path: Path) -> None:
    nhwc = described(tmp_path, "{resize: stretch}", spec("image", [1, 8, 6, 3]))[0].feeds["image"]
    assert nhwc.shape == (1, 8, 6, 3)
    gray = described(tmp_path, "{}", spec("image", [1, 1, 8, 6]))[0].feeds["image"]
    assert gray.shape == (1, 1, 8, 6)
    raw = described(tmp_path, "{resize: none}", spec("image", [1, 8, 6, 3], np.uint8))
    np.testing.assert_array_equal(raw[0].feeds["image"][0], PIXELS[4:12, 9:15])
    free = described(tmp_path, "{}", spec("image", ["N", 3, "H", "W"]))[0].feeds["image"]
    assert free.shape == (1, 3, 16, 24)
    named = described(tmp_path, "{size: [4, 5]}", spec("image", ["N", 3, "H", "W"]))
    assert named[0].feeds["image"].shape == (1, 3, 4, 5)
    square = described(tmp_path, "{size: 4}", spec("image", ["N", 3, "H", "W"]))
    assert square[0].feeds["image"].shape == (1, 3, 4, 4)
    unbatched = described(tmp_path, "{}", spec("image", [3, 8, 6]))
    assert unbatched[0].feeds["image"].shape == (3, 8, 6)


def test_palettes_alpha_and_gray_files_are_read_as_colour(tmp_path: Path) -> None:
    picture = Image.fromarray(PIXELS)
    picture.convert("P").save(tmp_path / "a.png")
    picture.convert("RGBA").save(tmp_path / "b.webp", lossless=True)
    picture.convert("L").save(tmp_path / "c.bmp")
    data = open_dataset(str(tmp_path), [IMAGE])
    assert [s.feeds["image"].shape for s in data] == [(1, 3, 8, 6)] * 3


def test_the_digest_changes_with_content_and_preprocessing_but_not_with_names(
    tmp_path: Path,
) -> None:
    first = described(tmp_path, "{resize: stretch}").sha256
    assert described(tmp_path, "{resize: stretch, colour: rgb}").sha256 == first
    assert described(tmp_path, "{resize: stretch, colour: bgr}").sha256 != first
    other = tmp_path / "other"
    other.mkdir()
    (other / "renamed.png").write_bytes((tmp_path / "a.png").read_bytes())
    text = "schema: edgecompile/dataset@1\nfiles: '*.png'\npreprocess: {resize: stretch}\n"
    (other / "dataset.yaml").write_text(text)
    assert open_dataset(str(other), [IMAGE]).sha256 == first


@pytest.mark.parametrize("keep", [0, 20, 200])
def test_a_broken_image_is_named(tmp_path: Path, keep: int) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "b.png")
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:keep])
    (found,) = problems(lambda: list(open_dataset(str(tmp_path), [IMAGE])))
    assert found.code == "EC-307" and "'b.png'" in found.message


def test_deep_images_are_refused_rather_than_cut(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 6), 40000, np.uint16)).save(tmp_path / "a.png")
    assert codes(lambda: open_dataset(str(tmp_path), [IMAGE])) == ["EC-307"]


@pytest.mark.parametrize(
    "inputs",
    [
        [spec("ids", ["N", "L"], np.int64)],
        [spec("x", ["N", 8, 8, 8])],
        [spec("x", ["N", 3, 8, 8], np.bool_)],
        [IMAGE, spec("scale", ["N", 1])],
    ],
)
def test_images_for_models_that_take_none(tmp_path: Path, inputs: list[TensorSpec]) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    assert codes(lambda: open_dataset(str(tmp_path), inputs)) == ["EC-321"]
