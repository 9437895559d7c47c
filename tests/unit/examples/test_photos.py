"""Every photograph is readable, small, and has its origin and licence written down."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[3] / "calibration_data"
PHOTOS = ROOT / "photos"
FREE = ("CC0", "public domain", "CC BY 2.0")


def rows():
    """Stem of the file names -> (origin, licence), from the table in the README."""
    found = {}
    for line in (PHOTOS / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        match = re.fullmatch(r"`([a-z]+)-\*\.jpg`", cells[0])
        if match:
            found[match.group(1)] = (cells[2], cells[3])
    return found


def test_each_file_has_an_origin_and_a_free_licence():
    stems = {path.stem.rsplit("-", 1)[0] for path in PHOTOS.glob("*.jpg")}
    assert stems == set(rows())
    for origin, licence in rows().values():
        assert len(origin) > 10
        assert licence.startswith(FREE)


def test_the_files_are_photographs_of_one_size():
    files = sorted(PHOTOS.glob("*.jpg"))
    assert len(files) == 20
    for path in files:
        with Image.open(path) as photo:
            assert (photo.size, photo.mode, photo.format) == ((256, 256), "RGB", "JPEG")


def test_all_data_that_ships_is_a_few_megabytes_at_most():
    total = sum(path.stat().st_size for path in ROOT.rglob("*") if path.is_file())
    assert total < 2_000_000
