"""silero_vad: spoken prompts with gaps and noise, in frames of 512 samples at 16 kHz."""

from __future__ import annotations

import random
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.zoo.catalogue import PROVES, SPEECH, ZOO
from benchmarks.zoo.samples import Array, write_calibration, write_evaluation
from benchmarks.zoo.store import Places

RATE = 16000
FRAME = 512
CONTEXT = 64
CLIP_FRAMES = 120
STATE = np.zeros((1, 1, 128), np.float32)


def prepare(where: Places, folder: Path) -> None:
    """Evaluation: one stream `frames` [N, 576] and `labels` [N]; calibration: 32 clips."""
    files = sorted((where.debian / PROVES[SPEECH]).glob("*.wav"))
    random.Random(0).shuffle(files)
    frames, labels = stream(files[:60], seed=1)
    write_evaluation(folder, frames=frames, labels=labels)
    clips: list[Array] = []
    for number in range(40):
        start = 100 + number * 6
        found, _ = stream(files[start : start + 6], seed=50 + number)
        if len(found) >= CLIP_FRAMES and len(clips) < ZOO["silero_vad"].calibration:
            clips.append(found[:CLIP_FRAMES])
    write_calibration(folder, (to_input(clip) for clip in clips))


def to_input(frames: Array) -> dict[str, Array]:
    """Frames [T, 576] with the state at zero."""
    return {"input": frames, "h": STATE, "c": STATE}


def stream(files: Sequence[Path], seed: int) -> tuple[Array, Array]:
    """Frames float32 [N, 576], each with the 64 samples before it, and whether it holds speech.

    Speech is energy: root mean square above 0.01 before noise is added.
    """
    rng, parts = np.random.RandomState(seed), []
    for path in files:
        speech = _read(path)
        if len(speech) >= RATE // 2:
            silence = np.zeros(int(RATE * rng.uniform(0.4, 1.2)), np.float32)
            parts += [silence, speech]
    clean = np.concatenate(parts)
    count = len(clean) // FRAME
    clean = clean[: count * FRAME]
    energy = np.sqrt((clean.reshape(count, FRAME) ** 2).mean(1))
    labels = (energy > 0.01).astype(np.int64)
    levels = np.repeat(rng.uniform(0.002, 0.05, count // 40 + 1), 40 * FRAME)[: len(clean)]
    noisy = clean + rng.randn(len(clean)).astype(np.float32) * levels.astype(np.float32)
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), noisy])
    windows = np.lib.stride_tricks.sliding_window_view(padded, FRAME + CONTEXT)[::FRAME]
    return np.ascontiguousarray(windows[:count]).astype(np.float32), labels


def _read(path: Path) -> Array:
    """A file of 16-bit samples at 8 kHz, resampled to 16 kHz, float32 in [-1, 1]."""
    from scipy.signal import resample_poly

    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    doubled: Array = resample_poly(samples.astype(np.float32) / 32768, 2, 1).astype(np.float32)
    return doubled
