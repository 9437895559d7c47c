"""magika: the type of a file from its first and last bytes."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.zoo.samples import Array, write_calibration, write_evaluation
from benchmarks.zoo.store import Places

LIST = Path(__file__).resolve().parent / "lists" / "magika.txt"
MODEL = "magika/models/standard_v3_3"
ACCEPTED = {
    "c": ["c"], "cmake": ["cmake"], "css": ["css"], "csv": ["csv"], "gz": ["gzip"],
    "h": ["c", "cpp"], "hpp": ["cpp"], "jpg": ["jpeg"], "js": ["javascript"], "json": ["json"],
    "md": ["markdown"], "npy": ["npy"], "ogg": ["ogg"], "png": ["png"], "py": ["python"],
    "rst": ["rst"], "so": ["elf"], "svg": ["svg"], "ttf": ["ttf"], "wav": ["wav"],
    "xml": ["xml"], "yaml": ["yaml"],
}  # fmt: skip
"""Ending -> the answers that count as right. A header may be either language."""


def prepare(where: Places, folder: Path) -> None:
    """Evaluation `bytes` int32 [N, 2048] and `labels` [N, 2], padded with -1."""
    config = json.loads((where.packages / MODEL / "config.min.json").read_text())
    names = config["target_labels_space"]
    samples: dict[str, list[Array]] = {"cal": [], "eval": []}
    labels, missing = [], 0
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        split, digest, place = line.split(" ", 2)
        content = _content(where, place)
        if content is None or hashlib.sha256(content).hexdigest() != digest:
            missing += 1
            continue
        samples[split].append(features(content, config))
        if split == "eval":
            answers = [names.index(a) for a in ACCEPTED[Path(place).suffix[1:]]]
            labels.append([*answers, -1][:2])
    if missing:
        print(f"magika: {missing} files are missing or changed", file=sys.stderr)
    write_evaluation(folder, bytes=np.stack(samples["eval"]), labels=np.array(labels))
    write_calibration(folder, ({"bytes": row[None]} for row in samples["cal"]))


def features(content: bytes, config: Mapping[str, Any]) -> Array:
    """The first and last bytes of a file without the white space around, padded: int32 [2048]."""
    block, pad = config["block_size"], config["padding_token"]
    first = content[:block].lstrip()[: config["beg_size"]]
    last = content[-block:].rstrip()[-config["end_size"] :]
    row = np.full(config["beg_size"] + config["end_size"], pad, np.int32)
    row[: len(first)] = list(first)
    row[len(row) - len(last) :] = list(last)
    return row


def _content(where: Places, place: str) -> bytes | None:
    kind, rest = place.split("/", 1)
    spec = find_spec("numpy")
    if spec is None or spec.origin is None:
        return None
    roots = {
        "pkg": where.packages,
        "deb": where.debian,
        "site": Path(spec.origin).resolve().parents[1],
    }
    path = roots[kind] / rest
    return path.read_bytes() if path.is_file() else None
