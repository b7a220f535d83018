"""What a picture goes through until it is an input: the resizing, cropping and mode that a model was trained
with.

    picture --mode--> --resize: shorter side, or both--> --crop: the middle--> pixels uint8

As torchvision's `Resize` and `CenterCrop` do it for a picture of Pillow's, bit for bit, since Pillow does the
work there too. Where the settings come from, the first that says something:

    --transform resize=256,crop=224,bicubic,rgb      or none, which leaves pictures as they are
    preprocessor_config.json beside the model        Hugging Face's image processors
    config.json beside the model, `pretrained_cfg`   timm's

A model's folder also says mean and std. Its rescaling by another factor f than 1/255, or none (f = 1), goes
into these: (f x - mean) / std = (x / 255 - mean / (255 f)) / (std / (255 f)). Left out: padding to a square,
the longest side, several crops; `augment` has what is random.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtrain_cli.errors import BadInput, UsageError, suggestion
from qtrain_cli.files.json_file import read_object

if TYPE_CHECKING:
    from PIL.Image import Image

PROCESSOR, TIMM_CONFIG = "preprocessor_config.json", "config.json"
NONE = "none"
#: Pillow's numbers for them, which Hugging Face writes down.
RESAMPLING = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
MODES = {"rgb": "RGB", "grey": "L"}
MOST_SIDE = 2**14
_MOST_NUMBER = 1e6
_STEPS = ("resize", "crop", *RESAMPLING, *MODES, NONE)
_WRITE = "write e.g. --transform resize=256,crop=224,bicubic,rgb, or --transform none"


@dataclass(frozen=True)
class PictureForm:
    """What becomes of each picture.

    `resize` is () or (shorter side,) or (height, width); `crop` is () or (height, width), filled up with
    zeros where a picture is smaller; half a pixel beside the middle is rounded as torchvision does, or
    `floored` as Hugging Face does. `mode` is RGB or L; where it is empty, that of the first picture. `origin`
    says where all this comes from, empty where nobody said anything.
    """

    resize: tuple[int, ...] = ()
    crop: tuple[int, ...] = ()
    resampling: str = "bilinear"
    mode: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    floored: bool = False
    origin: str = ""

    def size_of(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) after resizing: as torchvision has it, the longer side rounded down."""
        if len(self.resize) != 1:
            return (self.resize[1], self.resize[0]) if self.resize else (width, height)
        (side,) = self.resize
        longer = int(side * max(width, height) / min(width, height))
        return (side, longer) if width <= height else (longer, side)

    def after(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the finished picture."""
        return (self.crop[1], self.crop[0]) if self.crop else self.size_of(width, height)

    def __call__(self, image: Image) -> Image:
        """The picture, in its mode already, resized and cropped."""
        size = self.size_of(*image.size)
        if size != image.size:
            image = image.resize(size, RESAMPLING[self.resampling])
        if not self.crop:
            return image
        (width, height), (high, wide) = image.size, self.crop
        if wide > width or high > height:  # the zeros are divided as torchvision divides them
            left, top = max(0, (wide - width) // 2), max(0, (high - height) // 2)
            right, bottom = max(0, (wide - width + 1) // 2), max(0, (high - height + 1) // 2)
            image = image.crop((-left, -top, width + right, height + bottom))
            width, height = image.size
        whole: Callable[[float], int] = math.floor if self.floored else round
        left, top = whole((width - wide) / 2), whole((height - high) / 2)
        return image.crop((left, top, left + wide, top + high))

    @property
    def said(self) -> tuple[str, ...]:
        """A line on what becomes of pictures, if that was said somewhere."""
        if not self.origin:
            return ()
        steps = [f"mode {self.mode}"] if self.mode else []
        steps += [f"resized to {_sides(self.resize)} ({self.resampling})"] if self.resize else []
        steps += [f"cropped to {_sides(self.crop)}"] if self.crop else []
        steps += [f"normalised with mean {_listed(self.mean)}, std {_listed(self.std)}"] if self.mean else []
        return (f"pictures by {self.origin}: {', '.join(steps) or 'as they are'}",)


@dataclass
class Pictures:
    """What becomes of the pictures of a data set. The model's folder is asked when the first one comes, and
    only where nothing was `said`."""

    said: PictureForm = field(default_factory=PictureForm)
    beside: Path | None = None
    _found: PictureForm | None = field(default=None, repr=False)

    @property
    def form(self) -> PictureForm:
        """What becomes of each. Raises `BadInput` for a configuration that cannot be followed."""
        if self._found is None:
            self._found = self.said if self.said.origin else picture_form(None, self.beside)
        return self._found

    @property
    def came(self) -> bool:
        """Whether any came."""
        return self._found is not None

    @property
    def told(self) -> tuple[str, ...]:
        """What `form` says, if any came."""
        return self.form.said if self.came else ()


def picture_form(said: str | None, beside: Path | None) -> PictureForm:
    """What `--transform` says, or else the folder that the model lies in.

    Raises:
        UsageError: it says something else than above. BadInput: a configuration that cannot be followed.
    """
    if said is not None:
        return _said_form(said)
    for name, read in _CONFIGURATIONS.items():
        path = beside / name if beside else None
        if path and path.is_file():
            found = read(read_object(path))
            if found:
                return replace(found, origin=name)
    return PictureForm()


def _said_form(text: str) -> PictureForm:
    form = PictureForm(origin="--transform")
    for part in (part.strip().lower() for part in text.split(",")):
        name, _, value = part.partition("=")
        if name not in _STEPS or bool(value) != (name in ("resize", "crop")):
            raise UsageError(f"--transform has '{part}'; allowed: {', '.join(_STEPS)}", _WRITE)
        if name == "resize":
            form = replace(form, resize=_said_sides(part, value))
        elif name == "crop":
            sides = _said_sides(part, value)
            form = replace(form, crop=sides * 2 if len(sides) == 1 else sides)
        elif name in RESAMPLING:
            form = replace(form, resampling=name)
        elif name in MODES:
            form = replace(form, mode=MODES[name])
        elif text.strip().lower() != NONE:
            raise UsageError(f"--transform '{text}' says none and more", _WRITE)
    return form


def _said_sides(part: str, value: str) -> tuple[int, ...]:
    sides = tuple(
        int(side) for side in value.split("x") if side.isascii() and side.isdecimal() and len(side) < 6
    )
    if not 0 < len(sides) < 3 or len(sides) != value.count("x") + 1 or not _fine(sides):
        raise UsageError(f"--transform has '{part}'; allowed: 1 to {MOST_SIDE}, or HEIGHTxWIDTH", _WRITE)
    return sides


def _fine(sides: tuple[int, ...]) -> bool:
    return all(0 < side <= MOST_SIDE for side in sides)


# --- Hugging Face ------------------------------------------------------------------------------------------


def _of_processor(config: Mapping[str, Any]) -> PictureForm | None:
    """`preprocessor_config.json` of an image processor; None for one of sounds or such."""
    config = {key: value for key, value in config.items() if value is not None}
    if "image_mean" not in config and "size" not in config:
        return None
    resize: tuple[int, ...] = ()
    crop: tuple[int, ...] = ()
    if config.get("do_resize", True) and "size" in config:
        resize = _configured_sides("size", config["size"])
        if type(config["size"]) is int and not {"do_center_crop", "crop_pct"} & set(config):
            resize = resize * 2  # as processors without a crop have always read a single number
    if config.get("do_center_crop") and "crop_size" in config:
        crop = _configured_sides("crop_size", config["crop_size"])
        crop = crop * 2 if len(crop) == 1 else crop
    if "crop_pct" in config and len(resize) == 1 and not crop:  # ConvNeXt's own rule
        (side,) = resize
        whole = side >= 384
        crop = () if whole else (side, side)
        resize = (side, side) if whole else (int(side / _positive(config, "crop_pct", 1.0)),)
    resampling = _resampling(config.get("resample", RESAMPLING["bilinear"]))
    mean, std = _normalisation(config)
    mode = "L" if len(mean) == 1 and config.get("image_mean") else "RGB"
    return PictureForm(resize, crop, resampling, mode, mean, std, floored=True)


def _configured_sides(key: str, value: Any) -> tuple[int, ...]:
    if isinstance(value, Mapping):
        given = {name: side for name, side in value.items() if side is not None}
        forms = (("shortest_edge",), ("height", "width"))
        found = next((names for names in forms if set(names) == set(given)), ())
        sides: tuple[Any, ...] = tuple(given[name] for name in found)
    else:
        sides = (value,) if isinstance(value, int) else tuple(value) if isinstance(value, list) else ()
    if not 0 < len(sides) < 3 or not all(type(side) is int for side in sides) or not _fine(sides):
        raise BadInput(
            f"'{PROCESSOR}' has the {key} {value!r:.80}, which is none that qtrain can follow", _WRITE
        )
    return sides


def _resampling(value: Any) -> str:
    names = {number: name for name, number in RESAMPLING.items()}
    if isinstance(value, int) and value in names:
        return names[value]
    if isinstance(value, str) and value in RESAMPLING:
        return value
    raise BadInput(
        f"the model's folder names the resampling {value!r:.40}", suggestion(str(value)[:40], RESAMPLING)
    )


def _normalisation(config: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std for pixels that are divided by 255."""
    factor = _positive(config, "rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1.0
    offset = 1.0 if config.get("rescale_offset") else 0.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    if config.get("do_normalize", "image_mean" in config):
        mean, std = _mean_and_std(PROCESSOR, config.get("image_mean"), config.get("image_std"))
    scale = 255 * factor
    plain = math.isclose(scale, 1.0) and not offset
    if plain:
        return ((), ()) if (mean, std) == ((0.0,), (1.0,)) else (mean, std)
    return tuple((one + offset) / scale for one in mean), tuple(one / scale for one in std)


def _mean_and_std(name: str, *values: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Both as numbers of channels, as a file of this name has them."""
    mean, std = map(_numbers, values)
    if len(mean) != len(std) or min(std) <= 0:
        raise BadInput(f"'{name}' has a normalisation that is none", "give --mean and --std, and --transform")
    return mean, std


def _positive(config: Mapping[str, Any], key: str, usual: float) -> float:
    """A number of a size that rescaling and cropping have."""
    value = config.get(key, usual)
    if type(value) not in (int, float) or not 1e-6 <= value <= 1e6:
        raise BadInput(
            f"'{PROCESSOR}' has the {key} {value!r:.40}, which is none that qtrain can follow", _WRITE
        )
    return float(value)


def _numbers(value: Any) -> tuple[float, ...]:
    values = value if isinstance(value, (list, tuple)) else [value]
    good = values and all(type(one) in (int, float) and abs(one) < _MOST_NUMBER for one in values)
    if not good or len(values) > 4:
        raise BadInput(f"the model's folder has the mean or std {value!r:.60}", "give --mean and --std")
    return tuple(float(one) for one in values)


# --- timm --------------------------------------------------------------------------------------------------


def _of_timm(config: Mapping[str, Any]) -> PictureForm | None:
    """`pretrained_cfg` of a `config.json` that timm wrote; None for another's."""
    own = config.get("pretrained_cfg")
    return _timm_form(own) if isinstance(own, Mapping) and "input_size" in own else None


def _timm_form(own: Mapping[str, Any]) -> PictureForm:
    """What timm's evaluation does by this configuration: crop_mode center or squash."""
    size = own["input_size"]
    sides = tuple(size[1:]) if isinstance(size, (list, tuple)) and len(size) == 3 else ()
    share, kind = own.get("crop_pct") or 0.875, own.get("crop_mode") or "center"
    good = all(type(side) is int for side in sides) and _fine(sides) and isinstance(share, (int, float))
    if not sides or not good or not 0 < share <= 1 or kind not in ("center", "squash"):
        raise BadInput(
            "the model's pretrained_cfg has an input_size, crop_pct or crop_mode that is none that qtrain"
            f" can follow: {size!r:.40}, {share!r:.20}, {kind!r:.20}",
            _WRITE,
        )
    larger = tuple(math.floor(side / share) for side in sides)
    square = larger[0] == larger[1] and kind == "center"
    mean, std = _mean_and_std(TIMM_CONFIG, own.get("mean", 0.0), own.get("std", 1.0))
    resize = larger[:1] if square else larger
    mode = "L" if size[0] == 1 else "RGB"
    return PictureForm(resize, sides, _resampling(own.get("interpolation") or "bicubic"), mode, mean, std)


_CONFIGURATIONS: dict[str, Callable[[Mapping[str, Any]], PictureForm | None]] = {
    PROCESSOR: _of_processor,
    TIMM_CONFIG: _of_timm,
}


def _sides(sides: tuple[int, ...]) -> str:
    return "x".join(map(str, sides)) if len(sides) > 1 else f"{sides[0]} on the shorter side"


def _listed(numbers: tuple[float, ...]) -> str:
    return ",".join(f"{number:.4g}" for number in numbers)
