"""Encoded images -> one array of pixels, uint8 ``(N, C, H, W)``.

    mode of the file   L, 1, LA   RGB, P, PA, CMYK, YCbCr   RGBA
    channels C                1                         3      4

as torchvision's `ImageFolder` converts them: the transparency of grey images is dropped, and CMYK becomes
RGB.

The first image fixes size and mode, after what `pictures` makes of it; any other is refused before it is
decoded, so that memory is bounded by the first image and the count. Decoding straight into the final array in
one thread is fastest for the small images this is for: two threads cost 20 % more at 28x28, the work being
Python's own.

Only formats that Pillow decodes itself are allowed (EPS would start Ghostscript). Left out:
16-bit and float images, EXIF rotation, all but the first frame of an animation, transparency of a palette.
"""

from __future__ import annotations

import io
import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from qtrain_cli.data.damage import DamagedRow
from qtrain_cli.data.pictures import PictureForm, Pictures
from qtrain_cli.data.room import Room
from qtrain_cli.errors import BadInput, missing_package
from qtrain_cli.files.spilled import is_large, large_array, let_go

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "TGA")
#: Of a picture that was resized, before it is cropped.
MOST_PIXELS = 2**26
_LET_GO = 4096
CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}
_READ_AS = {"1": "L", "LA": "L", "P": "RGB", "PA": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}
#: By the mode's first letter, how images of other modes become ones that are read.
_REMEDIES = {
    "I": "it has 16 or 32 bits: scale it to 8, as in Image.fromarray((pixels // 257).astype('uint8'))",
    "F": "its pixels are floats: scale them to 255, as in Image.fromarray((255 * pixels).astype('uint8'))",
}
_CONVERT = "convert it with image.convert('RGB')"


class ImageStack:
    """Collects images, one `add` each, at most a known number, into one array."""

    def __init__(self, count: int, room: Room, pictures: Pictures | None = None) -> None:
        self._count, self._room = count, room
        self._becomes = (pictures or Pictures()).form
        self._filled = 0
        self._form = ""
        self._first = ""
        self._pixels = np.empty((0, 1, 1, 1), np.uint8)

    def add(self, encoded: bytes, name: str) -> None:
        """Decodes the next image. Raises `BadInput`, naming it, if it is of another form; `DamagedRow` if it
        cannot be decoded."""
        if self._filled == self._count:
            raise BadInput(
                f"{name} is one more than the {self._count} images announced", "write the file again"
            )
        image = _opened(encoded, name)
        own = _mode(image, name)
        mode = self._becomes.mode or own
        width, height = self._becomes.after(*image.size)
        form = f"{width}x{height} {mode}"
        if not self._form:
            self._form, self._first = form, name
            shape = (self._count, CHANNELS[mode], height, width)
            size = math.prod(shape)
            self._room.take(size, f"{self._count:,} images of {form}", on_disk=is_large(size))
            self._pixels = large_array(shape, np.uint8)
        if form != self._form:
            raise self._other_form(name, form, image)
        self._pixels[self._filled] = _decoded(image, name, mode, self._becomes)
        self._filled += 1
        if self._filled % _LET_GO == 0:
            let_go()

    def finish(self, left_out: int = 0) -> np.ndarray:
        """All images, ``(N, C, H, W)``, N the number announced but for those left out. Raises `BadInput` if
        some never came."""
        if self._filled != self._count - left_out or not self._filled:
            raise BadInput(
                f"{self._filled} images; announced: {self._count}; needed: at least 1",
                "write the file again, with at least one picture that can be read",
            )
        return self._pixels[: self._filled]

    def _other_form(self, name: str, form: str, image: Image) -> BadInput:
        sides, mode = self._form.split()
        width, height = (int(side) for side in sides.split("x"))
        asks = [] if form.startswith(f"{sides} ") else [f"resize={height}x{width}"]
        asks += [] if form.endswith(f" {mode}") else ["rgb"]
        return BadInput(
            f"{name} is {form}, but {self._first} is {self._form}",
            f"bring all to the form that the model was trained with, as by --transform {','.join(asks)}",
        )


def _opened(encoded: bytes, name: str) -> Image:
    """The image with its header read, its pixels not yet."""
    try:
        from PIL import Image
    except ImportError:
        raise missing_package("reading images", "pillow", "data") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(encoded), formats=FORMATS)
    except Exception as error:  # Pillow's parsers raise whatever they stumble over
        raise _unreadable(name, error) from error


def _decoded(image: Image, name: str, mode: str, becomes: PictureForm) -> np.ndarray:
    """The pixels ``(C, H, W)``."""
    between = becomes.size_of(*image.size)
    if math.prod(between) > MOST_PIXELS:
        raise DamagedRow(
            f"{name} is {image.width}x{image.height}, which resizing would make {between} of",
            "pad or cut it before, or choose another size: --transform resize=...",
        )
    try:
        plain = image if image.mode == mode else image.convert(mode)
        pixels = np.asarray(becomes(plain))
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise _unreadable(name, error) from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _mode(image: Image, name: str) -> str:
    mode = _READ_AS.get(image.mode, image.mode)
    if mode not in CHANNELS:
        allowed = ", ".join((*CHANNELS, *_READ_AS))
        remedy = _REMEDIES.get(image.mode[:1], _CONVERT)
        raise BadInput(f"{name} has the mode {image.mode}; allowed: {allowed}", remedy)
    return mode


def _unreadable(name: str, error: Exception) -> DamagedRow:
    return DamagedRow(
        f"{name} cannot be decoded: {error}", f"replace or remove it; formats read: {', '.join(FORMATS)}"
    )
