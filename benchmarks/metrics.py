"""The task of each model: what to feed, what to keep of the outputs, and how good that is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.runtimes import Array, Run
from benchmarks.zoo import ocr, sentences, speech, stamps
from benchmarks.zoo.samples import unpack_ragged

Arrays = Mapping[str, Array]
Kept = dict[str, Array]
"""What is kept of a model's outputs; the float model's is the reference of the others."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """`collect` runs the model over the evaluation data; `score` compares with the reference."""

    collect: Callable[[Run, Arrays, Path], Kept]
    score: Callable[[Kept, Kept, Arrays], dict[str, float]]
    columns: tuple[str, ...]
    """Names of the metrics, the sharpest last."""
    example: Callable[[Arrays], Mapping[str, Array]]
    """Feeds of one inference, for timing."""


def cosine(actual: Array, reference: Array) -> float:
    """Mean over samples of the cosine of flattened outputs; a sample that is all zero counts 0."""
    rows = [array.reshape(len(array), -1).astype(np.float64) for array in (actual, reference)]
    product = (rows[0] * rows[1]).sum(1)
    norms = np.linalg.norm(rows[0], axis=1) * np.linalg.norm(rows[1], axis=1)
    return float(np.mean(product / np.maximum(norms, 1e-300)))


def sqnr_db(actual: Array, reference: Array) -> float:
    """10 log10(sum of squares of the reference / sum of squares of the error)."""
    exact = reference.astype(np.float64)
    lost = float(np.square(exact - actual).sum())
    return float(10 * np.log10(np.square(exact).sum() / lost)) if lost else float("inf")


def spearman(left: Array, right: Array) -> float:
    """Rank correlation, ties at their mean rank."""
    return float(np.corrcoef(_ranks(left), _ranks(right))[0, 1])


def roc_auc(scores: Array, labels: Array) -> float:
    """Area under the ROC curve, by ranks (Mann and Whitney)."""
    ranks, positive = _ranks(scores), labels == 1
    count, rest = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * rest))


def edit_distance(left: str, right: str) -> int:
    """Fewest insertions, deletions and replacements from one text to the other (Levenshtein)."""
    row = list(range(len(right) + 1))
    for i, letter in enumerate(left, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(right, start=1):
            cheapest = min(row[j] + 1, row[j - 1] + 1, diagonal + (letter != other))
            diagonal, row[j] = row[j], cheapest
    return row[-1]


def _ranks(values: Array) -> Array:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle: Array = (ends - (counts - 1) / 2)[inverse]
    return middle


def _classes(logits: Array, labels: Array) -> float:
    """Share of samples whose best class is one of the accepted; -1 pads `labels`."""
    accepted = labels.reshape(len(labels), -1)
    return float(np.mean((accepted == logits.argmax(1)[:, None]).any(1)))


def _score_classes(kept: Kept, reference: Kept, arrays: Arrays) -> dict[str, float]:
    actual, exact = kept["logits"], reference["logits"]
    return {
        "top1": _classes(actual, arrays["labels"]),
        "agree": float(np.mean(actual.argmax(1) == exact.argmax(1))),
        "sqnr_db": sqnr_db(actual, exact),
        "cosine": cosine(actual, exact),
    }


def _stack(run: Run, feeds: Iterable[Mapping[str, Array]]) -> Array:
    return np.concatenate([run(one)[0] for one in feeds])


def _collect_effnet(run: Run, arrays: Arrays, model: Path) -> Kept:
    del model
    return {"logits": _stack(run, ({"input": stamps.to_input(i)} for i in arrays["images"]))}


def _collect_mnist(run: Run, arrays: Arrays, model: Path) -> Kept:
    del model
    return {"logits": _stack(run, ({"input": image[None]} for image in arrays["images"]))}


def _collect_magika(run: Run, arrays: Arrays, model: Path) -> Kept:
    del model
    return {"logits": _stack(run, ({"bytes": row[None]} for row in arrays["bytes"]))}


def _collect_minilm(run: Run, arrays: Arrays, model: Path) -> Kept:
    """Embeddings: mean over tokens, length 1."""
    del model
    kept = {}
    for name in sentences.SETS:
        rows = []
        for ids in unpack_ragged(arrays, name):
            mean = run(sentences.to_input(ids))[0][0].mean(0)
            rows.append(mean / np.linalg.norm(mean))
        kept[name] = np.stack(rows)
    return kept


def _score_minilm(kept: Kept, reference: Kept, arrays: Arrays) -> dict[str, float]:
    def rated(name: str) -> float:
        pairs = arrays[name]
        first, second = (kept["words"][pairs[:, i].astype(int)] for i in (0, 1))
        return spearman((first * second).sum(1), pairs[:, 2])

    similar = kept["lemmas"] @ kept["glosses"].T
    rank = (similar > np.diag(similar)[:, None]).sum(1)
    every = [np.concatenate([k[name] for name in sentences.SETS]) for k in (kept, reference)]
    return {
        "wordsim_rho": rated("wordsim"),
        "simlex_rho": rated("simlex"),
        "wordnet_top1": float(np.mean(rank == 0)),
        "cosine": cosine(*every),
    }


def _alphabet(model: Path) -> list[str]:
    """The recogniser's classes: blank, the lines of its metadata, space."""
    import onnx

    loaded = onnx.load(model, load_external_data=False)
    (lines,) = (e.value for e in loaded.metadata_props if e.key == "character")
    return ["", *lines.splitlines(), " "]


def _collect_lines(run: Run, arrays: Arrays, model: Path) -> Kept:
    """Greedy decoding: the best class of each step, repeats and blanks left out."""
    letters, texts = _alphabet(model), []
    for row in unpack_ragged(arrays, "lines"):
        best = run({"x": ocr.line_input(row.transpose(0, 2, 1))})[0][0].argmax(-1)
        changed = np.concatenate([[True], best[1:] != best[:-1]])
        texts.append("".join(letters[i] for i in best[changed]))
    return {"text": np.array(texts)}


def _score_lines(kept: Kept, reference: Kept, arrays: Arrays) -> dict[str, float]:
    pairs = [
        (read.replace(" ", ""), true.replace(" ", ""))
        for read, true in zip(kept["text"].tolist(), arrays["text"].tolist(), strict=True)
    ]
    wrong = sum(edit_distance(read, true) for read, true in pairs)
    return {
        "cer": wrong / sum(len(true) for _, true in pairs),
        "exact": float(np.mean([read == true for read, true in pairs])),
        "same_text": float(np.mean(kept["text"] == reference["text"])),
    }


def _collect_pages(run: Run, arrays: Arrays, model: Path) -> Kept:
    del model
    return {"maps": _stack(run, ({"x": ocr.page_input(p)} for p in arrays["pages"]))[:, 0]}


def _score_pages(kept: Kept, reference: Kept, arrays: Arrays) -> dict[str, float]:
    from benchmarks.boxes import f1_of_boxes

    return {
        "f1": f1_of_boxes(kept["maps"], arrays["boxes"], arrays["counts"]),
        "cosine": cosine(kept["maps"], reference["maps"]),
    }


def _collect_speech(run: Run, arrays: Arrays, model: Path) -> Kept:
    """One call over all frames: the net carries its state from frame to frame."""
    del model
    return {"probability": run(speech.to_input(arrays["frames"]))[0].reshape(-1)}


def _score_speech(kept: Kept, reference: Kept, arrays: Arrays) -> dict[str, float]:
    actual, exact, labels = kept["probability"], reference["probability"], arrays["labels"]
    hit = (actual > 0.5) & (labels == 1)
    difference = np.abs(actual - exact)
    return {
        "auc": roc_auc(actual, labels),
        "f1": float(2 * hit.sum() / ((actual > 0.5).sum() + labels.sum())),
        "mean_diff": float(difference.mean()),
        "max_diff": float(difference.max()),
    }


_CLASSES = ("top1", "agree", "sqnr_db", "cosine")
TASKS = {
    "effnet_lite0": Task(
        collect=_collect_effnet,
        score=_score_classes,
        columns=_CLASSES,
        example=lambda a: {"input": stamps.to_input(a["images"][0])},
    ),
    "minilm": Task(
        collect=_collect_minilm,
        score=_score_minilm,
        columns=("wordsim_rho", "simlex_rho", "wordnet_top1", "cosine"),
        example=lambda a: sentences.to_input(a["glosses_items"][:32]),
    ),
    "ppocr_rec": Task(
        collect=_collect_lines,
        score=_score_lines,
        columns=("cer", "exact", "same_text"),
        example=lambda a: {
            "x": ocr.line_input(unpack_ragged(a, "lines")[0].transpose(0, 2, 1)),
        },
    ),
    "ppocr_det": Task(
        collect=_collect_pages,
        score=_score_pages,
        columns=("f1", "cosine"),
        example=lambda a: {"x": ocr.page_input(a["pages"][0])},
    ),
    "silero_vad": Task(
        collect=_collect_speech,
        score=_score_speech,
        columns=("auc", "f1", "mean_diff", "max_diff"),
        example=lambda a: speech.to_input(a["frames"][:120]),
    ),
    "magika": Task(
        collect=_collect_magika,
        score=_score_classes,
        columns=_CLASSES,
        example=lambda a: {"bytes": a["bytes"][:1]},
    ),
    "mnist_dw": Task(
        collect=_collect_mnist,
        score=_score_classes,
        columns=_CLASSES,
        example=lambda a: {"input": a["images"][:1]},
    ),
}


def to_json(figures: Mapping[str, float]) -> str:
    """Figures with infinities as JSON knows them."""
    return json.dumps({k: v if np.isfinite(v) else None for k, v in figures.items()})
