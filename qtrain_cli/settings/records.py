"""The frozen records: one for what commands share, one for each command."""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qtrain_cli.quantum.noise import Noise
from qtrain_cli.settings.parsing import require

PLOT_ENDINGS = (".png", ".svg", ".pdf")
MAX_SEED = 2**31 - 1
MAX_BUDGET = 2**63
MAX_EPOCHS = 10**9 - 1
MAX_TEMPERATURE = 1e6
MIN_EPOCHS, MIN_STEPS = 10, 2000
#: The learning rate of a generator of N numbers is M (600 / N)^(2/3), at most M: near the best of those tried
#: on MNIST (457 to 2,849 numbers). The second M is that of Adam, by which rough gradients descend.
MAX_OWN_LR, MAX_ROUGH_LR, OWN_LR_NUMBERS, OWN_LR_POWER = 0.013, 0.02, 600, 2 / 3
MAX_SHOTS, MAX_SAMPLES = 10**9, 10**6
MAX_REPEAT, MAX_TRAJECTORIES = 10_000, 10**9


@dataclass(frozen=True)
class ModelSettings:
    """Which model file, and how to read it. `weights` names the entry of a checkpoint dictionary."""

    path: Path
    arch: str | None = None
    arch_args: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    trust_pickle: bool = False

    def __post_init__(self) -> None:
        require(
            self.arch is None or ":" in self.arch,
            f"--arch '{self.arch}' names no class",
            "write package.module:Class or file.py:Class",
        )
        require(bool(self.arch) or not self.arch_args, "--arch-args needs --arch")


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
        require(bool(self.mean) == bool(self.std), "--mean and --std go together", "give both or neither")
        require(
            len(self.mean) == len(self.std),
            f"--mean has {len(self.mean)} numbers and --std {len(self.std)}",
            "give one number for all channels, or one per channel",
        )
        require(all(value > 0 for value in self.std), "--std must be positive")
        require(0 < self.validation < 1, f"--validation is {self.validation}; allowed: between 0 and 1")


@dataclass(frozen=True)
class BudgetSettings:
    """How small, and with which generator. At most one of `params`, `ratio`, `bytes`; None: a ratio of 10.

    No entangler: the ansatz's own. `bare`: the file holds what regenerates the weights, and no record.
    """

    params: int | None = None
    ratio: float | None = None
    bytes: int | None = None
    ansatz: str = "real-amplitudes"
    entangler: str | None = None
    layers: int | None = None
    circuits: int | None = None
    mapping: str = "linear"
    angle_bits: int = 5
    targets: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    final_rotation: bool = False
    bare: bool = False

    def __post_init__(self) -> None:
        given = [f"--{name}" for name in ("params", "ratio", "bytes") if getattr(self, name) is not None]
        require(len(given) <= 1, f"{' and '.join(given)} are given", "give one budget")
        require(
            not (given and self.layers is not None),
            f"{' and '.join(given)} and --layers both fix the size",
            "give a budget or --layers, not both",
        )
        for name in ("params", "ratio", "bytes", "layers", "circuits"):
            value = getattr(self, name)
            require(
                value is None or 0 < value < MAX_BUDGET,
                f"--{name} is {reprlib.repr(value)}; allowed: above 0, below 2**63",
            )
        require(
            self.ratio is None or self.ratio >= 1,
            f"--ratio is {self.ratio}; allowed: 1 or more",
            "10 makes one trained number of ten weights",
        )


@dataclass(frozen=True)
class GradientSettings:
    """How the circuits' gradient is found (`quantum.estimators` has the methods), and by what they are run.

    No shots: exact probabilities. No PennyLane device: the engine.
    """

    method: str = "adjoint"
    shots: int | None = None
    pennylane_device: str | None = None
    spsa_samples: int = 1

    @property
    def rough(self) -> bool:
        """Whether the same angles give another gradient each time."""
        return self.shots is not None or self.method == "spsa"

    def __post_init__(self) -> None:
        for option, value, most in (
            ("shots", self.shots, MAX_SHOTS),
            ("spsa-samples", self.spsa_samples, MAX_SAMPLES),
        ):
            require(
                value is None or 1 <= value <= most,
                f"--{option} is {reprlib.repr(value)}; allowed: 1 to {most}",
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
    gradient: GradientSettings = field(default_factory=GradientSettings)

    def __post_init__(self) -> None:
        require(0 <= self.distill <= 1, f"--distill is {self.distill}; allowed: 0 to 1")
        require(
            0 < self.temperature <= MAX_TEMPERATURE,
            f"--temperature is {self.temperature}; allowed: above 0, at most {MAX_TEMPERATURE:g}",
        )
        require(
            0 <= self.epochs <= MAX_EPOCHS,
            f"--epochs is {reprlib.repr(self.epochs)}; allowed: 1 to {MAX_EPOCHS}",
        )
        require(self.batch_size >= 1, f"--batch-size is {self.batch_size}; allowed: 1 or more")
        require(math.isfinite(self.lr) and self.lr > 0, f"--lr is {self.lr}; allowed: above 0")
        require(0 <= self.seed <= MAX_SEED, f"--seed is {self.seed}; allowed: 0 to {MAX_SEED}")

    def for_rows(self, rows: int) -> FitSettings:
        """The same settings with the number of epochs that these training rows take by default."""
        steps = max(1, rows // min(self.batch_size, rows))
        return replace(self, epochs=self.epochs or max(MIN_EPOCHS, -(-MIN_STEPS // steps)))

    def for_numbers(self, numbers: int) -> FitSettings:
        """The same settings with the learning rate for so many trained numbers."""
        return replace(self, lr=own_rate(numbers, self.gradient.rough))

    def steps(self, rows: int) -> int:
        """How many steps all epochs have together on so many training rows, in whole batches."""
        return rows // min(self.batch_size, rows) * self.epochs


def own_rate(numbers: int, rough: bool = False) -> float:
    """Compress's own peak learning rate for so many trained numbers: the deeper the circuit, the smaller."""
    return (MAX_ROUGH_LR if rough else MAX_OWN_LR) * min(1.0, OWN_LR_NUMBERS / numbers) ** OWN_LR_POWER


@dataclass(frozen=True)
class CompressSettings:
    """`qtrain compress`: model, data, budget, fit, and the output file.

    With `own_lr` the learning rate follows from the number of trained numbers, and the fit's is not used.
    """

    model: ModelSettings
    data: DataSettings
    budget: BudgetSettings
    fit: FitSettings
    out: Path
    resume: bool = False
    force: bool = False
    own_lr: bool = False


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
            require(bool(values), f"--{_OPTION.get(name, name)} names nothing", "give at least one")
            require(
                len(set(values)) == len(values),
                f"--{_OPTION.get(name, name)} names {_twice(values)} twice",
                "give each once",
            )
        require(max(self.budgets) < MAX_BUDGET, f"--bytes is {max(self.budgets)}; allowed: below 2**63")


#: Fields of `CompareSettings` whose option has another name.
_OPTION = {"budgets": "bytes"}


def _twice(values: tuple[Any, ...]) -> Any:
    return next((value for value in values if values.count(value) > 1), None)


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
        require(
            self.quantum or self.circuit is None,
            "--circuit goes with --quantum",
            "weights come from all circuits",
        )
        require(
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
        require(
            bool(self.model or self.arch),
            "sample needs to know the model to evaluate",
            "give its file with --model, or its class with --arch",
        )
        for name, most in (("repeat", MAX_REPEAT), ("trajectories", MAX_TRAJECTORIES)):
            value = getattr(self, name)
            require(1 <= value <= most, f"--{name} is {reprlib.repr(value)}; allowed: 1 to {most}")
        require(0 <= self.seed <= MAX_SEED, f"--seed is {self.seed}; allowed: 0 to {MAX_SEED}")
        require(
            self.device is None or self.noises == (Noise(),),
            "--device and --noise are given",
            "a device brings its own noise: give one of the two",
        )
        require(
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
            require(
                value is None or (math.isfinite(value) and value >= 0),
                f"--{name.replace('_', '-')} is {value}; allowed: 0 or more",
            )
        require(
            self.min_accuracy is None or self.min_accuracy <= 1,
            f"--min-accuracy is {self.min_accuracy}; allowed: 0 to 1 (0.973 is 97.3 %)",
        )
        require(
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
