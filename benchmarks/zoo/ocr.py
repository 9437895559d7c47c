"""ppocr_rec and ppocr_det: rendered text lines and pages, with what they say and where."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.zoo.catalogue import FONTS, PROVES, WORDNET, ZOO
from benchmarks.zoo.photos import CALIBRATION, EVALUATION, photos
from benchmarks.zoo.samples import Array, pack_ragged, write_calibration, write_evaluation
from benchmarks.zoo.sentences import nouns
from benchmarks.zoo.store import Places

if TYPE_CHECKING:
    from PIL.Image import Image

HEIGHT = 48
PAGE = 640
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
"""ImageNet's, in the order of the channels as the net gets them: blue first."""


def prepare_lines(where: Places, folder: Path) -> None:
    """Evaluation: 200 uint8 lines of height 48, laid side by side, and their `text`."""
    texts = phrases(where, 200, 7)
    others = phrases(where, ZOO["ppocr_rec"].calibration, 99)
    others = [text if text not in texts else f"{text} x" for text in others]
    faces = fonts(where)
    behind, apart = photos(EVALUATION), photos(CALIBRATION)
    lines = [line(text, n, behind, faces) for n, text in enumerate(texts)]
    flat = pack_ragged((image.transpose(0, 2, 1) for image in lines), "lines")
    write_evaluation(folder, text=np.array(texts), **flat)
    rendered = (line(text, 9000 + n, apart, faces) for n, text in enumerate(others))
    write_calibration(folder, ({"x": line_input(image)} for image in rendered))


def prepare_pages(where: Places, folder: Path) -> None:
    """Evaluation: 32 uint8 `pages`, all `boxes` [k, 4] as x0 y0 x1 y1, and `counts` per page."""
    behind = photos(tuple(name for name in EVALUATION if name != "page"))  # it holds text itself
    apart, faces, count = photos(CALIBRATION), fonts(where), ZOO["ppocr_det"].calibration
    pages, boxes = zip(
        *(page(where, 500 + n, behind, faces) for n in range(32)),
        strict=True,
    )
    write_evaluation(
        folder,
        pages=np.stack(pages),
        boxes=np.concatenate(boxes),
        counts=np.array([len(found) for found in boxes]),
    )
    others = (page(where, 7000 + n, apart, faces)[0] for n in range(count))
    write_calibration(folder, ({"x": page_input(image)} for image in others))


def line_input(image: Array) -> Array:
    """uint8 RGB [48, W, 3] -> float32 BGR [1, 3, 48, W] in [-1, 1]."""
    blue_first = image[:, :, ::-1].astype(np.float32)
    return np.ascontiguousarray(((blue_first / 255 - 0.5) / 0.5).transpose(2, 0, 1)[None])


def page_input(image: Array) -> Array:
    """uint8 RGB [H, W, 3] -> float32 BGR [1, 3, H, W], normalised with ImageNet's figures."""
    blue_first = image[:, :, ::-1].astype(np.float32) / 255
    return np.ascontiguousarray(((blue_first - MEAN) / DEVIATION).transpose(2, 0, 1)[None])


def fonts(where: Places) -> list[Path]:
    """Regular, bold and italic faces of the Liberation fonts."""
    files = sorted((where.debian / PROVES[FONTS]).rglob("Liberation*.ttf"))
    return [path for path in files if path.stem.split("-")[1] in ("Regular", "Bold", "Italic")]


def phrases(where: Places, count: int, seed: int) -> list[str]:
    """Beginnings of WordNet's glosses, 7 to 39 ASCII characters."""
    rng, found = random.Random(seed), list[str]()
    glosses = [noun.gloss for noun in nouns(where.debian / PROVES[WORDNET])]
    while len(found) < count:
        words = rng.choice(glosses).split(" ")
        text = " ".join(words[: rng.randint(2, 6)]).strip()
        if 6 < len(text) < 40 and text.isascii():
            found.append(text)
    return found


def line(text: str, seed: int, backgrounds: Sequence[Image], faces: Sequence[Path]) -> Array:
    """One line on a washed-out photograph, sometimes blurred, with noise: uint8 [48, W, 3]."""
    from PIL import Image, ImageDraw, ImageFilter, ImageFont

    rng, noise = random.Random(seed), np.random.RandomState(seed)
    face = ImageFont.truetype(str(rng.choice(faces)), rng.randint(26, 34))
    size = (int(face.getlength(text)) + 24, HEIGHT)
    picture = rng.choice(backgrounds).filter(ImageFilter.GaussianBlur(4)).resize(size)
    white = Image.new("RGB", size, (255, 255, 255))
    picture = Image.blend(picture, white, rng.uniform(0.45, 1))
    place = (12, rng.randint(4, 8))
    ImageDraw.Draw(picture).text(place, text, font=face, fill=_ink(rng))
    if rng.random() < 0.5:
        picture = picture.resize((size[0] // 2, size[1] // 2)).resize(size)
    return _grainy(picture, noise, rng.uniform(0, 14))


def page(
    where: Places, seed: int, backgrounds: Sequence[Image], faces: Sequence[Path]
) -> tuple[Array, Array]:
    """Four to nine lines one below the other: uint8 [640, 640, 3] and boxes float32 [k, 4]."""
    from PIL import Image, ImageDraw, ImageFilter, ImageFont

    rng, noise = random.Random(seed), np.random.RandomState(seed)
    size = (PAGE, PAGE)
    picture = rng.choice(backgrounds).filter(ImageFilter.GaussianBlur(3)).resize(size)
    white = Image.new("RGB", size, (255, 255, 255))
    picture = Image.blend(picture, white, rng.uniform(0.4, 0.9))
    draw, boxes, top = ImageDraw.Draw(picture), [], rng.randint(15, 50)
    for phrase in phrases(where, rng.randint(4, 9), seed + 31):
        face = ImageFont.truetype(str(rng.choice(faces)), rng.randint(18, 34))
        left, text = rng.randint(10, 120), phrase
        while face.getlength(text) > PAGE - left - 10:
            text = text.rsplit(" ", 1)[0] if " " in text else text[:-2]
        box = draw.textbbox((left, top), text, font=face)
        draw.text((left, top), text, font=face, fill=_ink(rng))
        boxes.append(box)
        top = box[3] + rng.randint(14, 40)
        if top > PAGE - 60:
            break
    return _grainy(picture, noise, rng.uniform(0, 8)), np.array(boxes, np.float32)


def _ink(rng: random.Random) -> tuple[int, int, int]:
    return (rng.randint(0, 90), rng.randint(0, 90), rng.randint(0, 90))


def _grainy(picture: Image, noise: np.random.RandomState, strength: float) -> Array:
    pixels = np.asarray(picture, np.float32)
    noisy = pixels + noise.normal(0, strength, pixels.shape)
    grainy: Array = np.clip(noisy, 0, 255).astype(np.uint8)
    return grainy
