"""What the user asked for: frozen records that refuse bad values. Standard library only.

`cli` fills these from options and `qtrain.toml`; commands take them and nothing else. Every refusal says
the value, what was allowed and what to do next.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from qtrain_cli.errors import UsageError

_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,18})?)\s*(b|kb|mb|gb|kib|mib|gib|)", re.IGNORECASE)
_UNIT = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
MAX_SEED = 2**31 - 1
MAX_BUDGET = 2**63
MAX_EPOCHS = 10**9 - 1
MAX_TEMPERATURE = 1e6
MIN_EPOCHS, MIN_STEPS = 10, 2000


def parse_size(text: str | None) -> int | None:
    """``"2KB"`` -> 2000, ``"2KiB"`` -> 2048, ``"700"`` -> 700 bytes; None stays. Raises `UsageError`."""
    if text is None:
        return None
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


def _require(good: bool, message: str, advice: str = "") -> None:
    if not good:
        raise UsageError(message, advice)


@dataclass(frozen=True)
class ModelSettings:
    """Which model file, and how to read it. `weights` names the entry of a checkpoint dictionary."""

    path: Path
    arch: str | None = None
    arch_args: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    trust_pickle: bool = False

    def __post_init__(self) -> None:
        _require(
            self.arch is None or ":" in self.arch,
            f"--arch '{self.arch}' names no class",
            "write package.module:Class or file.py:Class",
        )
        _require(bool(self.arch) or not self.arch_args, "--arch-args needs --arch")


@dataclass(frozen=True)
class DataSettings:
    """Which data, and how inputs are normalised: ``(x - mean) / std`` per channel after uint8 / 255.

    `validation` is the share of the training rows that is set apart to choose the best state.
    """

    source: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    validation: float = 0.1

    def __post_init__(self) -> None:
        _require(bool(self.mean) == bool(self.std), "--mean and --std go together", "give both or neither")
        _require(
            len(self.mean) == len(self.std),
            f"--mean has {len(self.mean)} numbers and --std {len(self.std)}",
            "give one number for all channels, or one per channel",
        )
        _require(all(value > 0 for value in self.std), "--std must be positive")
        _require(0 < self.validation < 1, f"--validation is {self.validation}; allowed: between 0 and 1")


@dataclass(frozen=True)
class BudgetSettings:
    """How small, and with which generator. At most one of `params`, `ratio`, `bytes`; None: a ratio of 10.

    No entangler: the ansatz's own.
    """

    params: int | None = None
    ratio: float | None = None
    bytes: int | None = None
    ansatz: str = "real-amplitudes"
    entangler: str | None = None
    layers: int | None = None
    circuits: int | None = None
    mapping: str = "linear"
    angle_bits: int = 8
    targets: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    final_rotation: bool = False

    def __post_init__(self) -> None:
        given = [f"--{name}" for name in ("params", "ratio", "bytes") if getattr(self, name) is not None]
        _require(len(given) <= 1, f"{' and '.join(given)} are given", "give one budget")
        _require(
            not (given and self.layers is not None),
            f"{' and '.join(given)} and --layers both fix the size",
            "give a budget or --layers, not both",
        )
        for name in ("params", "ratio", "bytes", "layers", "circuits"):
            value = getattr(self, name)
            _require(
                value is None or 0 < value < MAX_BUDGET,
                f"--{name} is {reprlib.repr(value)}; allowed: above 0, below 2**63",
            )
        _require(
            self.ratio is None or self.ratio >= 1,
            f"--ratio is {self.ratio}; allowed: 1 or more",
            "10 makes one trained number of ten weights",
        )


@dataclass(frozen=True)
class FitSettings:
    """How the generator is trained. `distill` is the weight of the teacher's soft targets.

    `epochs` 0: 10, or as many more as `MIN_STEPS` steps take on little data.
    """

    distill: float = 0.5
    temperature: float = 4.0
    epochs: int = 0
    batch_size: int = 128
    lr: float = 0.02
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        _require(0 <= self.distill <= 1, f"--distill is {self.distill}; allowed: 0 to 1")
        _require(
            0 < self.temperature <= MAX_TEMPERATURE,
            f"--temperature is {self.temperature}; allowed: above 0, at most {MAX_TEMPERATURE:g}",
        )
        _require(
            0 <= self.epochs <= MAX_EPOCHS,
            f"--epochs is {reprlib.repr(self.epochs)}; allowed: 1 to {MAX_EPOCHS}",
        )
        _require(self.batch_size >= 1, f"--batch-size is {self.batch_size}; allowed: 1 or more")
        _require(math.isfinite(self.lr) and self.lr > 0, f"--lr is {self.lr}; allowed: above 0")
        _require(0 <= self.seed <= MAX_SEED, f"--seed is {self.seed}; allowed: 0 to {MAX_SEED}")

    def for_rows(self, rows: int) -> FitSettings:
        """The same settings with the number of epochs that these training rows take by default."""
        steps = max(1, rows // min(self.batch_size, rows))
        return replace(self, epochs=self.epochs or max(MIN_EPOCHS, -(-MIN_STEPS // steps)))


@dataclass(frozen=True)
class CompressSettings:
    """`qtrain compress`: model, data, budget, fit, and the output file."""

    model: ModelSettings
    data: DataSettings
    budget: BudgetSettings
    fit: FitSettings
    out: Path
    resume: bool = False
    force: bool = False


@dataclass(frozen=True)
class PlanSettings:
    """`qtrain plan`: like compress, without data, training or an output."""

    model: ModelSettings
    budget: BudgetSettings
    fit: FitSettings
    input_shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class CompareSettings:
    """`qtrain compare`: model and data as for compress, byte budgets, methods by name, seeds, outputs.

    `state` is the folder that finished cells are kept in. The fit's own seed and rate are not used.
    """

    model: ModelSettings
    data: DataSettings
    budgets: tuple[int, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    fit: FitSettings
    state: Path
    quick: bool = False
    markdown: Path | None = None
    plot: Path | None = None
    force: bool = False

    def __post_init__(self) -> None:
        for name in ("budgets", "methods", "seeds"):
            values = getattr(self, name)
            _require(bool(values), f"--{_OPTION.get(name, name)} names nothing", "give at least one")
            _require(
                len(set(values)) == len(values),
                f"--{_OPTION.get(name, name)} names {_twice(values)} twice",
                "give each once",
            )
        _require(max(self.budgets) < MAX_BUDGET, f"--bytes is {max(self.budgets)}; allowed: below 2**63")


#: Fields of `CompareSettings` whose option has another name.
_OPTION = {"budgets": "bytes"}


def _twice(values: tuple[Any, ...]) -> Any:
    return next((value for value in values if values.count(value) > 1), None)


@dataclass(frozen=True)
class ExportSettings:
    """`qtrain export --classical`: `model` supplies the graph that `.pt2` and `.onnx` need."""

    artifact: Path
    out: Path
    model: ModelSettings | None = None
    arch: str | None = None
    arch_args: dict[str, Any] = field(default_factory=dict)
    force: bool = False


@dataclass(frozen=True)
class GateSettings:
    """What `qtrain report` demands. None: no such gate. Accuracies and drops are fractions of 1."""

    min_accuracy: float | None = None
    max_error: float | None = None
    max_drop: float | None = None
    min_ratio: float | None = None
    max_bytes: int | None = None
    baseline: Path | None = None
    max_regression: float | None = None

    def __post_init__(self) -> None:
        for name in ("min_accuracy", "max_error", "max_drop", "min_ratio", "max_regression"):
            value = getattr(self, name)
            _require(
                value is None or (math.isfinite(value) and value >= 0),
                f"--{name.replace('_', '-')} is {value}; allowed: 0 or more",
            )
        _require(
            self.min_accuracy is None or self.min_accuracy <= 1,
            f"--min-accuracy is {self.min_accuracy}; allowed: 0 to 1 (0.973 is 97.3 %)",
        )
        _require(
            (self.baseline is None) == (self.max_regression is None),
            "--baseline and --max-regression go together",
            "give both: the older record and how much worse the new one may be",
        )


@dataclass(frozen=True)
class ReportSettings:
    """`qtrain report`: the artifact, the gates, and the files to write beside the terminal's table."""

    artifact: Path
    gates: GateSettings = field(default_factory=GateSettings)
    markdown: Path | None = None
    junit: Path | None = None
    step_summary: Path | None = None
    force: bool = False
