"""From an image file to the array that a model takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from edgecompile.diagnostics import Where
from edgecompile.diagnostics.catalogue.data import IMAGE_DAMAGED, NOT_AN_IMAGE_INPUT

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as Picture

    from edgecompile.ir.facts import TensorSpec

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
)
Size = tuple[PositiveInt, PositiveInt]
Colour = Literal["rgb", "bgr", "gray"]
Layout = Literal["nchw", "nhwc"]
Channels = float | Annotated[list[float], Field(min_length=1, max_length=3)]
Deviations = PositiveFloat | Annotated[list[PositiveFloat], Field(min_length=1, max_length=3)]


class Preprocess(BaseModel):
    """How pixels become numbers: resize, crop, colour, then `(pixel * scale - mean) / std`.

    Pixels are 0 to 255. Everything that is not stated follows from the model's input.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Size | PositiveInt | None = None
    """Height and width of the result, or one number for both. By default those of the input, or
    of each image where they are free."""
    resize: Literal["stretch", "cover", "contain", "none"] | PositiveInt = "cover"
    """`stretch` to the size; keep the proportions and `cover` it, cutting what hangs over; or
    `contain`, filling up with `pad`. A number: that length for the shorter side, then cut."""
    pad: Annotated[int, Field(ge=0, le=255)] = 0
    """Pixel value around the image, for `contain`."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box"] = "bilinear"
    colour: Colour | None = None
    """Order of the channels; RGB, or gray for inputs with one channel."""
    scale: float | None = None
    """1/255, or 1 for inputs of integers."""
    mean: Channels = 0.0
    std: Deviations = 1.0
    layout: Layout | None = None

    @model_validator(mode="after")
    def _channels_agree(self) -> Preprocess:
        lengths = {len(v) for v in (self.mean, self.std) if isinstance(v, list)} - {1}
        if len(lengths) > 1:
            raise ValueError("mean and std have different numbers of channels")
        return self


class ImageReader:
    """Reads images for one model input, by a `Preprocess` with everything decided."""

    def __init__(self, options: Preprocess, spec: TensorSpec, where: Where) -> None:
        """Decide what `options` leaves open. Raises EC-321 when `spec` takes no image."""
        layout = options.layout or _layout(spec)
        if layout is None or len(spec.shape) not in {3, 4}:
            raise NOT_AN_IMAGE_INPUT.error(where, what=_told(spec))
        axes = spec.shape[-3:] if layout == "nchw" else (spec.shape[-1], *spec.shape[-3:-1])
        channels, height, width = axes
        size = (options.size, options.size) if isinstance(options.size, int) else options.size
        if size is None and isinstance(height, int) and isinstance(width, int):
            size = (height, width)
        colour: Colour = options.colour or ("gray" if channels == 1 else "rgb")
        self._batched = len(spec.shape) == 4
        self._dtype, self._size = spec.dtype, size
        self.options = options.model_copy(
            update={
                "size": size,
                "resize": options.resize if size or isinstance(options.resize, int) else "none",
                "colour": colour,
                "scale": options.scale or (1 / 255 if spec.dtype.kind == "f" else 1.0),
                "layout": layout,
            }
        )

    def read(self, path: Path) -> np.ndarray:
        """The image as `[1, C, H, W]` or `[1, H, W, C]` in the input's type. Raises EC-307."""
        import numpy as np

        options = self.options
        pixels = np.asarray(_resized(_decoded(path, options.colour == "gray"), options, self._size))
        pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        pixels = pixels[:, :, ::-1] if options.colour == "bgr" else pixels
        values = pixels.astype(np.float32) * np.float32(options.scale)
        values -= np.array(options.mean, np.float32)
        values /= np.array(options.std, np.float32)
        if self._dtype.kind in "iu":
            limits = np.iinfo(self._dtype)
            values = np.clip(np.rint(values), limits.min, limits.max)
        values = values.astype(self._dtype)
        values = values.transpose(2, 0, 1) if options.layout == "nchw" else values
        return np.ascontiguousarray(values[None] if self._batched else values)

    def told(self) -> str:
        """What is done, in words, for the warning about assumptions."""
        o = self.options
        size = "in its own size"
        if self._size is not None:
            size = f"resized to {self._size[0]} x {self._size[1]} ({o.resize})"
        scale = "x / 255" if o.scale == 1 / 255 else f"x * {o.scale:g}"
        return f"{o.colour}, {size}, {scale}, mean {o.mean}, std {o.std}, {o.layout}"

    def as_yaml(self) -> str:
        """The same as the `preprocess` block of a dataset.yaml, on one line."""
        o = self.options
        size = f"size: {list(self._size)}, " if self._size else ""
        scale = "0.00392156862745098" if o.scale == 1 / 255 else f"{o.scale:g}"
        rest = f"colour: {o.colour}, scale: {scale}, mean: {o.mean}, std: {o.std}"
        return f"preprocess: {{{size}resize: {o.resize}, {rest}, layout: {o.layout}}}"


def _layout(spec: TensorSpec) -> Layout | None:
    if len(spec.shape) not in {3, 4} or spec.dtype.kind not in "fiu":
        return None
    if spec.shape[-3] in {1, 3}:
        return "nchw"
    return "nhwc" if spec.shape[-1] in {1, 3} else None


def _told(spec: TensorSpec) -> str:
    shape = ", ".join("?" if d is None else str(d) for d in spec.shape)
    return f"input '{spec.name}', which takes {spec.dtype} [{shape}]"


def _decoded(path: Path, gray: bool) -> Picture:
    import struct

    from PIL import Image

    try:
        with Image.open(path) as image:
            deep = image.mode.startswith(("I", "F"))
            if not deep:
                return image.convert("L" if gray else "RGB")
            reason = f"mode {image.mode} has more than 8 bits per channel"
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    raise IMAGE_DAMAGED.error(Where(file=str(path)), path=path.name, reason=reason)


def _resized(image: Picture, options: Preprocess, size: Size | None) -> Picture:
    from PIL.Image import Resampling

    method = Resampling[options.interpolation.upper()]
    width, height = image.size
    if isinstance(options.resize, int):
        factor = options.resize / min(width, height)
        image = image.resize((round(width * factor), round(height * factor)), method)
    elif size is not None and options.resize == "stretch":
        return image.resize((size[1], size[0]), method)
    elif size is not None and options.resize in {"cover", "contain"}:
        factors = (size[1] / width, size[0] / height)
        factor = max(factors) if options.resize == "cover" else min(factors)
        image = image.resize(
            (max(1, round(width * factor)), max(1, round(height * factor))), method
        )
    return image if size is None else _centred(image, size, options.pad)


def _centred(image: Picture, size: tuple[int, int], pad: int) -> Picture:
    """The middle of the image in `size` (height, width), cut or filled up."""
    from PIL import Image

    height, width = size
    if image.size == (width, height):
        return image
    canvas = Image.new(image.mode, (width, height), pad if image.mode == "L" else (pad,) * 3)
    canvas.paste(image, (int((width - image.width) / 2), int((height - image.height) / 2)))
    return canvas
