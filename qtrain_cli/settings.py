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
from qtrain_cli.quantum.noise import Noise

_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,18})?)\s*(b|kb|mb|gb|kib|mib|gib|)", re.IGNORECASE)
_UNIT = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_COUNT = re.compile(r"\d{1,18}(\.\d{1,18})?(e\+?\d{1,2})?", re.IGNORECASE)
#: What stands for infinitely many shots, and the most there can be otherwise: all of them are exact as
#: floats.
EXACT_SHOTS, MAX_SHOTS = "exact", 10**15
MAX_REPEAT, MAX_TRAJECTORIES = 10_000, 10**9
PLOT_ENDINGS = (".png", ".svg", ".pdf")
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


def parse_shots(text: str) -> tuple[int | None, ...]:
    """``"1e3,20000,exact"`` -> (1000, 20000, None), None for exact probabilities. Raises `UsageError`."""
    found: list[int | None] = []
    for part in (part.strip() for part in text.split(",")):
        shots = None if part == EXACT_SHOTS else _shots(part)
        _require(shots not in found, f"--shots has {part} twice", "give each number once")
        found.append(shots)
    return tuple(found)


def _shots(text: str) -> int:
    value = float(text) if _COUNT.fullmatch(text) else math.nan
    _require(
        1 <= value <= MAX_SHOTS and value == int(value),
        f"--shots '{text}' is no number of shots; allowed: whole, 1 to {MAX_SHOTS:g}, {EXACT_SHOTS}",
        f"write e.g. 1000, or a list as in 1e3,1e5,{EXACT_SHOTS}",
    )
    return int(value)


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
class ExportSettings:
    """`qtrain export`: `model` supplies the graph that `.pt2` and `.onnx` need.

    `quantum`: the circuits in place of the weights; `circuit` one of them by its number, None all.
    """

    artifact: Path
    out: Path
    model: ModelSettings | None = None
    arch: str | None = None
    arch_args: dict[str, Any] = field(default_factory=dict)
    force: bool = False
    quantum: bool = False
    circuit: int | None = None

    def __post_init__(self) -> None:
        _require(
            self.quantum or self.circuit is None,
            "--circuit goes with --quantum",
            "weights come from all circuits",
        )
        _require(
            not self.quantum or (self.model is None and self.arch is None),
            "--quantum has no use for --model and --arch",
            "circuits need the artifact alone",
        )


@dataclass(frozen=True)
class SampleSettings:
    """`qtrain sample`: shots of each circuit, levels of noise, and what the weights are evaluated on.

    `device` None: the own simulator. `model` or `arch` supplies the module.
    """

    artifact: Path
    shots: tuple[int | None, ...]
    data: DataSettings
    noises: tuple[Noise, ...] = (Noise(),)
    model: ModelSettings | None = None
    arch: str | None = None
    arch_args: dict[str, Any] = field(default_factory=dict)
    device: str | None = None
    repeat: int = 5
    trajectories: int = 1000
    seed: int = 0
    plot: Path | None = None
    force: bool = False

    def __post_init__(self) -> None:
        _require(
            bool(self.model or self.arch),
            "sample needs to know the model to evaluate",
            "give its file with --model, or its class with --arch",
        )
        for name, most in (("repeat", MAX_REPEAT), ("trajectories", MAX_TRAJECTORIES)):
            value = getattr(self, name)
            _require(1 <= value <= most, f"--{name} is {reprlib.repr(value)}; allowed: 1 to {most}")
        _require(0 <= self.seed <= MAX_SEED, f"--seed is {self.seed}; allowed: 0 to {MAX_SEED}")
        _require(
            self.device is None or self.noises == (Noise(),),
            "--device and --noise are given",
            "a device brings its own noise: give one of the two",
        )
        _require(
            self.plot is None or self.plot.suffix.lower() in PLOT_ENDINGS,
            f"--plot '{self.plot}' has no ending for pictures; allowed: {', '.join(PLOT_ENDINGS)}",
        )


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
