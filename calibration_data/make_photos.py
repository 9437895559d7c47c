"""Cut the photographs of `photos/` out of the packages that carry them.

    pip install scikit-image==0.26.0 scikit-learn==1.9.1 matplotlib==3.10.0 pillow
    python calibration_data/make_photos.py

Two crops of every photograph, 256 x 256 pixels, JPEG. Nothing here is needed to use the files.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent / "photos"
SIZE = 256
PHOTOS = {
    "astronomy": ("skimage", "data/hubble_deep_field.jpg"),
    "camera": ("skimage", "data/camera.png"),
    "cat": ("skimage", "data/chelsea.png"),
    "clock": ("skimage", "data/clock_motion.png"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "grass": ("skimage", "data/grass.png"),
    "portrait": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    "retina": ("skimage", "data/retina.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "temple": ("sklearn", "datasets/images/china.jpg"),
}


def package_file(package: str, relative: str) -> Path:
    """Path of a data file inside an installed package, without importing the package."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"package '{package}' is not installed")
    return Path(spec.origin).parent / relative


def crops(photo: Image.Image) -> tuple[Image.Image, Image.Image]:
    """The two ends of an oblong photograph, or the upper left and lower right part of a square."""
    width, height = photo.size
    side = round(min(width, height) * (0.6 if width == height else 0.8))
    first = (0, 0, side, side)
    last = (width - side, height - side, width, height)
    whole = (SIZE, SIZE)
    return (
        photo.resize(whole, Image.Resampling.LANCZOS, box=first),
        photo.resize(whole, Image.Resampling.LANCZOS, box=last),
    )


def main() -> None:
    """Write `NAME-1.jpg` and `NAME-2.jpg` for every photograph."""
    for name, place in PHOTOS.items():
        with Image.open(package_file(*place)) as photo:
            for number, crop in enumerate(crops(photo.convert("RGB")), start=1):
                crop.save(HERE / f"{name}-{number}.jpg", quality=88, optimize=True)


if __name__ == "__main__":
    main()
