"""Texts of options as values: sizes, lists, shapes, shots. Every refusal is a `UsageError`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from qtrain_cli.errors import UsageError, suggestion

_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,18})?)\s*(b|kb|mb|gb|kib|mib|gib|)", re.IGNORECASE)
_UNIT = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_MARK = re.compile(r"-?(\d{1,18}(\.\d{0,18})?|\.\d{1,18})(e[+-]?\d{1,2})?", re.IGNORECASE)
_COUNT = re.compile(r"\d{1,18}(\.\d{1,18})?(e\+?\d{1,2})?", re.IGNORECASE)
#: Where a run's history may go: a file's ending, what stands before a folder, nowhere, and beside the output.
LOG_ENDING, TENSORBOARD, NO_LOG, BESIDE = ".jsonl", "tensorboard:", "none", "beside"
#: What stands for infinitely many shots, and the most there can be otherwise: all of them are exact as
#: floats.
EXACT_SHOTS, MAX_SAMPLED_SHOTS = "exact", 10**15


def require(good: bool, message: str, advice: str = "") -> None:
    """Raises `UsageError` with this message and advice unless `good`."""
    if not good:
        raise UsageError(message, advice)


def parse_log(text: str) -> str:
    """A place for a run's history as it was said; what is none is refused. Raises `UsageError`."""
    folder = text.removeprefix(TENSORBOARD) if text.startswith(TENSORBOARD) else ""
    require(
        bool(folder) or text == NO_LOG or (text.endswith(LOG_ENDING) and "\0" not in text),
        f"--log is '{text}'; allowed: FILE{LOG_ENDING}, {TENSORBOARD}FOLDER or {NO_LOG}",
    )
    return text


def parse_size(text: str | None) -> int | None:
    """``"2KB"`` -> 2000, ``"2KiB"`` -> 2048, ``"700"`` -> 700 bytes; None stays. Raises `UsageError`."""
    if text is None:
        return None
    from fractions import Fraction  # slow to load

    match = _SIZE.fullmatch(text.strip())
    size = Fraction(match[1]) * _UNIT[match[2].lower()] if match else Fraction(0)
    if size < 1:
        raise UsageError(f"'{text}' is not a size", "write a number of bytes, or one with KB, MB, KiB or MiB")
    return int(size)


def parse_sizes(text: str) -> tuple[int, ...]:
    """``"600,1KB,2KB"`` -> (600, 1000, 2000) bytes, in order of size. Raises `UsageError`."""
    sizes = [size for part in text.split(",") if (size := parse_size(part)) is not None]
    return tuple(sorted(sizes))


def parse_floats(text: str | None, option: str) -> tuple[float, ...]:
    """``"0.5"`` or ``"0.4,0.5,0.6"`` -> numbers, one per channel; nothing -> (). Raises `UsageError`."""
    if not text:
        return ()
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = (math.nan,)
    if not all(map(math.isfinite, values)):
        raise UsageError(f"{option} '{text}' is not a list of numbers", "write 0.5 or 0.4,0.5,0.6")
    return values


def parse_whole(text: str, option: str) -> tuple[int, ...]:
    """``"2,4,8"`` -> (2, 4, 8). Raises `UsageError`."""
    parts = [part.strip() for part in text.split(",")]
    require(
        all(part.isdecimal() and part.isascii() and len(part) < 10 for part in parts),
        f"{option} '{text}' is not a list of whole numbers",
        "write e.g. 2,4,8",
    )
    return tuple(map(int, parts))


def parse_names(text: str) -> tuple[str, ...]:
    """``"labels, distill"`` -> ("labels", "distill"), as far as anything is named."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def parse_marks(texts: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """``["f1=0.9,r2=0.5", "map=0.3"]`` -> (("f1", 0.9), ...), in order. Raises `UsageError`."""
    found: dict[str, float] = {}
    for text in (name for one in texts for name in parse_names(one)):
        name, equals, value = (part.strip() for part in text.partition("="))
        good = equals and name and _MARK.fullmatch(value)
        require(bool(good), f"--min-metric '{text}' is no name and number", "write e.g. f1=0.9")
        require(name not in found, f"--min-metric names {name} twice", "give each once")
        found[name] = float(value)
    return tuple(found.items())


def parse_weights(text: str) -> tuple[float | str, ...]:
    """``"1,5,5"`` -> (1.0, 5.0, 5.0); ``"balanced"`` -> ("balanced",). Raises `UsageError`."""
    return ("balanced",) if text.strip() == "balanced" else parse_floats(text, "--class-weights")


def parse_roles(text: str, option: str, roles: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """``"image=img,label=fine_label"`` -> (("image", "img"), ("label", "fine_label")). Raises
    `UsageError`."""
    found: dict[str, str] = {}
    for part in parse_names(text):
        role, equals, name = (piece.strip() for piece in part.partition("="))
        wrong = (
            f"{option} '{part}' names nothing; allowed: NAME=ITS NAME IN THE DATA, NAME of {', '.join(roles)}"
        )
        require(bool(equals and name), wrong, f"write e.g. {roles[0]}={roles[0]}1")
        require(role in roles, f"{option} has the name '{role}'", suggestion(role, roles))
        require(role not in found, f"{option} names '{role}' twice", "give each once")
        found[role] = name
    return tuple(found.items())


def parse_shapes(text: str | None) -> tuple[int, ...] | dict[str, tuple[int, ...]]:
    """``"1,28,28"`` -> (1, 28, 28); ``"tokens=12 mask=12"`` -> the same by name. Raises `UsageError`."""
    if not text or "=" not in text:
        return parse_shape(text)
    named: dict[str, tuple[int, ...]] = {}
    for part in re.split(r"[;\s]+", text.strip()):
        name, equals, sizes = part.partition("=")
        good = name and equals and name not in named and (sizes or equals)
        require(bool(good), f"'{part}' is not the shape of an input", "write e.g. 'tokens=12 picture=3,8,8'")
        named[name] = parse_shape(sizes)
    return named


def parse_shape(text: str | None) -> tuple[int, ...]:
    """``"1,28,28"`` -> (1, 28, 28); nothing -> (). Raises `UsageError`."""
    if not text:
        return ()
    sizes = text.replace("x", ",").split(",")
    if not all(re.fullmatch(r"\s*\d{1,9}\s*", size) and int(size) > 0 for size in sizes):
        raise UsageError(f"'{text}' is not a shape", "write the sizes of one input, e.g. 1,28,28")
    return tuple(int(size) for size in sizes)


def parse_arguments(text: str | None) -> dict[str, Any]:
    """``--arch-args`` as JSON: an object of keyword arguments. Raises `UsageError`."""
    if not text:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--arch-args is not JSON: {error}", """write e.g. '{"width": 8}'""") from None
    if not isinstance(value, dict):
        raise UsageError("--arch-args is not a JSON object", """write e.g. '{"width": 8}'""")
    return value


def parse_shots(text: str) -> tuple[int | None, ...]:
    """``"1e3,20000,exact"`` -> (1000, 20000, None), None for exact probabilities. Raises `UsageError`."""
    found: list[int | None] = []
    for part in (part.strip() for part in text.split(",")):
        shots = None if part == EXACT_SHOTS else _shots(part)
        require(shots not in found, f"--shots has {part} twice", "give each number once")
        found.append(shots)
    return tuple(found)


def _shots(text: str) -> int:
    value = float(text) if _COUNT.fullmatch(text) else math.nan
    require(
        1 <= value <= MAX_SAMPLED_SHOTS and value == int(value),
        f"--shots '{text}' is no number of shots; allowed: whole, 1 to {MAX_SAMPLED_SHOTS:g}, {EXACT_SHOTS}",
        f"write e.g. 1000, or a list as in 1e3,1e5,{EXACT_SHOTS}",
    )
    return int(value)
