"""Write a model's samples: `python -m benchmarks.zoo.prepare NAME`, in the environment with torch.

Everything is seeded; nothing depends on the clock, the user or the machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.zoo import digits, filetypes, ocr, sentences, speech, stamps
from benchmarks.zoo.store import Places, places

PREPARE: dict[str, Callable[[Places, Path], None]] = {
    "effnet_lite0": stamps.prepare,
    "minilm": sentences.prepare,
    "ppocr_rec": ocr.prepare_lines,
    "ppocr_det": ocr.prepare_pages,
    "silero_vad": speech.prepare,
    "magika": filetypes.prepare,
    "mnist_dw": digits.prepare,
}

if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        where = places()
        PREPARE[wanted](where, where.data(wanted))
