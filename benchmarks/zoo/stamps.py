"""effnet_lite0: cut-out photographs on four backgrounds, and crops of photographs to calibrate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.zoo.catalogue import PROVES, STAMPS, ZOO
from benchmarks.zoo.photos import CALIBRATION, EVALUATION, photos
from benchmarks.zoo.samples import Array, write_calibration, write_evaluation
from benchmarks.zoo.store import Places

if TYPE_CHECKING:
    from PIL.Image import Image

SIZE = 224
MOST_LABELS = 8
LIST = Path(__file__).resolve().parent / "lists" / "stamps.txt"


def prepare(where: Places, folder: Path) -> None:
    """Evaluation `images` uint8 [360, 224, 224, 3] and `labels` [360, 8], padded with -1."""
    labelled, unlabelled = read_list()
    images, labels = [], []
    for image, accepted in _evaluation(where, labelled):
        images.append(np.asarray(image))
        labels.append([*accepted, *[-1] * (MOST_LABELS - len(accepted))])
    write_evaluation(folder, images=np.stack(images), labels=np.array(labels))
    calibration = _calibration(where, unlabelled, ZOO["effnet_lite0"].calibration)
    write_calibration(folder, ({"input": to_input(np.asarray(i))} for i in calibration))


def to_input(image: Array) -> Array:
    """uint8 RGB [224, 224, 3] -> float32 [1, 3, 224, 224] in [-1, 1]."""
    scaled = (image.astype(np.float32) / 255 - 0.5) / 0.5
    return scaled.transpose(2, 0, 1)[None]


def read_list() -> tuple[dict[str, list[int]], list[str]]:
    """Stamps with their accepted classes, in order of name, and the stamps for calibration."""
    labelled, unlabelled = {}, []
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        stamp, *classes = line.split(" ")
        if classes == ["-"]:
            unlabelled.append(stamp)
        else:
            labelled[stamp] = [int(number) for number in classes]
    return dict(sorted(labelled.items())), unlabelled


def _evaluation(where: Places, labelled: dict[str, list[int]]) -> Iterator[tuple[Image, list[int]]]:
    """Each stamp on white, on a flat colour and on two blurred photographs."""
    from PIL import Image, ImageFilter

    rng = np.random.RandomState(0)
    blurred = [photo.filter(ImageFilter.GaussianBlur(6)) for photo in photos(EVALUATION)]
    for stamp, accepted in labelled.items():
        for variant in range(4):
            shift = (0, 0)
            if variant == 0:
                background = Image.new("RGB", (SIZE, SIZE), (255, 255, 255))
            else:
                right, down = rng.randint(-8, 9, 2)
                shift = (int(right), int(down))
                if variant == 1:
                    red, green, blue = (int(level) for level in rng.randint(90, 220, 3))
                    background = Image.new("RGB", (SIZE, SIZE), (red, green, blue))
                else:
                    background = blurred[rng.randint(len(blurred))]
            share = 0.9 - 0.05 * variant
            flip = variant % 2 == 1
            yield _paste(_path(where, stamp), background, share, flip=flip, shift=shift), accepted


def _calibration(where: Places, stamps: list[str], count: int) -> Iterator[Image]:
    """Crops of photographs; every other one with a stamp on it, half of these on white."""
    from PIL import Image

    rng, sources = np.random.RandomState(1), photos(CALIBRATION)
    order = rng.permutation(len(stamps))
    for i in range(count):
        source = sources[(i // 2 + 3 * (i % 2)) % len(sources)]
        side = int(min(source.size) * rng.uniform(0.4, 1))
        left = rng.randint(0, source.width - side + 1)
        top = rng.randint(0, source.height - side + 1)
        box = (left, top, left + side, top + side)
        crop = source.crop(box).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        if i % 2:
            white = Image.new("RGB", (SIZE, SIZE), (255, 255, 255))
            background = crop if i % 4 == 1 else white
            crop = _paste(_path(where, stamps[order[i // 2]]), background, 0.8)
        yield crop


def _path(where: Places, stamp: str) -> Path:
    return where.debian / PROVES[STAMPS] / f"{stamp}.png"


def _paste(
    stamp: Path,
    background: Image,
    share: float,
    *,
    flip: bool = False,
    shift: tuple[int, int] = (0, 0),
) -> Image:
    """The stamp with its longer side at `share` of the picture, in the middle plus `shift`."""
    from PIL import Image

    cutout = Image.open(stamp).convert("RGBA")
    visible = cutout.getchannel("A").point(lambda level: 255 if level > 8 else 0)
    cutout = cutout.crop(visible.getbbox())
    factor = SIZE * share / max(cutout.size)
    width, height = (max(1, round(length * factor)) for length in cutout.size)
    cutout = cutout.resize((width, height), Image.Resampling.BICUBIC)
    if flip:
        cutout = cutout.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = background.resize((SIZE, SIZE)).convert("RGB").copy()
    place = ((SIZE - width) // 2 + shift[0], (SIZE - height) // 2 + shift[1])
    picture.paste(cutout, place, cutout)
    return picture
