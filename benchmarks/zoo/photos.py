"""Photographs of the scikit-image wheel, split so that evaluation and calibration share none."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

EVALUATION = ("brick", "gravel", "coffee", "astronaut", "coins", "page")
CALIBRATION = (
    "chelsea", "rocket", "hubble_deep_field", "camera", "grass", "moon", "retina", "motorcycle",
)  # fmt: skip


def photos(names: tuple[str, ...]) -> list[Image]:
    """The photographs in RGB, from the package that is installed beside this interpreter."""
    from PIL import Image

    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise SystemExit("scikit-image is not installed in this environment")
    folder = Path(spec.origin).parent / "data"
    found = []
    for name in names:
        endings = (".png", ".jpg", "_left.png")
        path = next(p for p in (folder / f"{name}{end}" for end in endings) if p.exists())
        found.append(Image.open(path).convert("RGB"))
    return found
