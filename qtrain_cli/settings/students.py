"""What the user asked of students: frozen records that refuse bad values. Standard library only.

As `settings`, for `train`, `distill` and what compares them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from qtrain_cli.errors import UsageError, suggestion
from qtrain_cli.settings import DataSettings, FitSettings, ModelSettings

GRADIENTS = ("adjoint", "parameter-shift", "spsa", "finite-difference")
ALIGN_LOSSES = ("mse", "cosine", "cka")
SELF_METHODS = ("born-again", "running-average")
#: Method -> whether the teacher's outputs, its features, and which teaching of itself it takes.
METHODS: dict[str, tuple[bool, bool, str | None]] = {
    "labels": (False, False, None),
    "distill": (True, False, None),
    "align": (False, True, None),
    "distill+align": (True, True, None),
    "born-again": (False, False, "born-again"),
    "running-average": (False, False, "running-average"),
}
MAX_SEEDS = 100
#: The default peak learning rate of a qnn, whose angles and scales turn by radians. Chosen on the digits'
#: validation rows, with 0.02 (that of every other student) and 0.05 beside it.
QNN_LR = 0.1
#: Shots of one run of a student's circuit.
MAX_SHOTS = 10**6


def _require(good: bool, message: str, advice: str = "") -> None:
    if not good:
        raise UsageError(message, advice)


@dataclass(frozen=True)
class AlignSettings:
    """`--align`: which layer of the teacher the student's features are aligned with, how, and how much."""

    layer: str
    loss: str = "mse"
    weight: float = 0.3

    def __post_init__(self) -> None:
        _require(bool(self.layer), "--align names no layer", "`qtrain inspect MODEL` lists its tensors")
        _require(
            self.loss in ALIGN_LOSSES,
            f"--align-loss is '{self.loss}'",
            suggestion(self.loss, ALIGN_LOSSES),
        )
        _require(
            math.isfinite(self.weight) and self.weight > 0,
            f"--align-weight is {self.weight}; allowed: above 0",
        )


@dataclass(frozen=True)
class CircuitSettings:
    """How a student's circuit runs: in training, and in the measurement at the end. 0 shots: exact."""

    gradient: str = "adjoint"
    shots: int = 0
    noise: float = 0.0
    test_shots: int | None = None
    test_noise: float | None = None

    def __post_init__(self) -> None:
        _require(
            self.gradient in GRADIENTS,
            f"--gradient is '{self.gradient}'",
            suggestion(self.gradient, GRADIENTS),
        )
        for name, shots in (("--shots", self.shots), ("--test-shots", self.test_shots or 0)):
            _require(0 <= shots <= MAX_SHOTS, f"{name} is {shots}; allowed: 0 (exact) to {MAX_SHOTS}")
        for name, noise in (("--noise", self.noise), ("--test-noise", self.test_noise or 0.0)):
            _require(0 <= noise <= 0.75, f"{name} is {noise}; allowed: 0 to 0.75 (wholly depolarised)")
        _require(
            not (self.shots and self.gradient == "adjoint"),
            "--shots needs a gradient that shots can give; adjoint is a simulation's",
            "use --gradient parameter-shift, spsa or finite-difference, or --test-shots",
        )

    @property
    def measured_with(self) -> tuple[int, float]:
        """Shots and noise of the measurement at the end: those of training where nothing else was said."""
        return (
            self.shots if self.test_shots is None else self.test_shots,
            self.noise if self.test_noise is None else self.test_noise,
        )


@dataclass(frozen=True)
class SelfSettings:
    """`--self`: generations after the first one (born-again), or the decay of the running average."""

    method: str
    generations: int = 1
    decay: float = 0.99

    def __post_init__(self) -> None:
        _require(
            self.method in SELF_METHODS, f"--self is '{self.method}'", suggestion(self.method, SELF_METHODS)
        )
        _require(1 <= self.generations <= 100, f"--generations is {self.generations}; allowed: 1 to 100")
        _require(0 < self.decay < 1, f"--decay is {self.decay}; allowed: between 0 and 1")


@dataclass(frozen=True)
class TeachSettings:
    """`qtrain train` (no teacher) and `qtrain distill`: student, data, fit, teacher and the rest."""

    student: str
    data: DataSettings
    fit: FitSettings
    out: Path
    teacher: ModelSettings | None = None
    align: AlignSettings | None = None
    circuit: CircuitSettings = field(default_factory=CircuitSettings)
    itself: SelfSettings | None = None
    resume: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        _require(
            self.align is None or self.teacher is not None,
            "--align needs a teacher whose layer it names",
            "give the teacher's file: qtrain distill TEACHER",
        )
        averaging = self.itself is not None and self.itself.method == "running-average"
        _require(
            not (averaging and self.teacher is not None),
            "--self running-average is its own teacher, and another one is given",
            "leave out the teacher, or --self",
        )


@dataclass(frozen=True)
class CompareStudentsSettings:
    """`qtrain compare-students`: every student by every method with seeds 0 .. `seeds` - 1, files in a
    folder.

    `base` carries data, fit, teacher, alignment and self-teaching; its student, output and rate are not
    used: `lr`, or where it is None that of the kind of student, takes its place.
    """

    base: TeachSettings
    students: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: int
    folder: Path
    control: bool = True
    lr: float | None = None
    force: bool = False

    def __post_init__(self) -> None:
        _require(
            bool(self.students), "there is no student to compare", "give --student, as often as you like"
        )
        _require(1 <= self.seeds <= MAX_SEEDS, f"--seeds is {self.seeds}; allowed: 1 to {MAX_SEEDS}")
        for method in self.methods:
            _require(method in METHODS, f"--methods has '{method}'", suggestion(method, METHODS))
            soft, aligned, _ = METHODS[method]
            _require(
                not (soft or aligned) or self.base.teacher is not None,
                f"the method {method} needs a teacher",
                "give its file: qtrain compare-students TEACHER",
            )
            _require(
                not aligned or self.base.align is not None,
                f"the method {method} needs a layer",
                "give --align LAYER",
            )


@dataclass(frozen=True)
class CompareGradientsSettings:
    """`qtrain compare-gradients`: every (estimator, shots) with seeds 0 .. `seeds` - 1, and sizes of random
    circuits.

    `base` carries student, data, fit, teacher and noise; its output, gradient and shots are not used.
    """

    base: TeachSettings
    estimators: tuple[tuple[str, int], ...]
    seeds: int
    folder: Path
    qubits: tuple[int, ...] = (2, 4, 6, 8, 10)
    layers: tuple[int, ...] = (1, 4, 16, 64)
    plot: Path | None = None
    force: bool = False

    def __post_init__(self) -> None:
        _require(bool(self.estimators), "there is no estimator to compare", "give --gradients adjoint,spsa")
        _require(1 <= self.seeds <= MAX_SEEDS, f"--seeds is {self.seeds}; allowed: 1 to {MAX_SEEDS}")
        for gradient, shots in self.estimators:
            CircuitSettings(gradient, shots)
        for name, sizes, most in (("--qubits", self.qubits, 14), ("--layers", self.layers, 200)):
            _require(
                all(1 <= size <= most for size in sizes),
                f"{name} is {list(sizes)}; allowed: 1 to {most} each",
            )
        endings = (".png", ".svg", ".pdf")
        _require(
            self.plot is None or self.plot.suffix.lower() in endings,
            f"--plot '{self.plot}' has another ending than {', '.join(endings)}",
        )


def rate_of(student: str, lr: float | None) -> float:
    """The peak learning rate of a student by its text: the one given, or that of its kind."""
    if lr is not None:
        return lr
    return QNN_LR if student.partition(":")[0].strip() == "qnn" else FitSettings.lr


def parse_whole(text: str, option: str) -> tuple[int, ...]:
    """``"2,4,8"`` -> (2, 4, 8). Raises `UsageError`."""
    parts = [part.strip() for part in text.split(",")]
    _require(
        all(part.isdecimal() and part.isascii() and len(part) < 10 for part in parts),
        f"{option} '{text}' is not a list of whole numbers",
        "write e.g. 2,4,8",
    )
    return tuple(map(int, parts))


def estimators_of(gradients: str, shots: tuple[int, ...]) -> tuple[tuple[str, int], ...]:
    """Every estimator with every number of shots; adjoint, which takes none, exactly. Raises `UsageError`."""
    names = [name.strip() for name in gradients.split(",")]
    for name in names:
        _require(name in GRADIENTS, f"--gradients has '{name}'", suggestion(name, GRADIENTS))
    pairs = [(name, count) for count in shots for name in names if name != "adjoint" or count == 0]
    if "adjoint" in names and 0 not in shots:
        pairs.insert(0, ("adjoint", 0))
    return tuple(pairs)
