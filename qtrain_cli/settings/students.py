"""What teaches students and compares them: one record a command (`train` and `distill` have the same)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated

from qtrain_cli.errors import suggestion
from qtrain_cli.quantum.estimators import ESTIMATORS
from qtrain_cli.settings.fit import QNN_LR, FitSettings, rate_of
from qtrain_cli.settings.lesson import (
    AlignSettings,
    CircuitSettings,
    Decay,
    Depolarising,
    Generations,
    SelfSettings,
)
from qtrain_cli.settings.option import Inside, Option, Otherwise, Said
from qtrain_cli.settings.parsing import NO_LOG, parse_names, parse_whole, require
from qtrain_cli.settings.shared import (
    LEARNING_RATE,
    LOG,
    CellsFolder,
    DryRun,
    Force,
    Html,
    Plot,
    Resume,
    Seeds,
    TeacherAny,
    check_chosen,
    check_plot,
    check_seeds,
)
from qtrain_cli.settings.sources import DataSettings, ModelSettings

#: Labels in the teacher's place, with its weight and temperature: the control of a teacher.
SHARPENED = "sharpened-labels"
#: Of a student -> whether it takes the teacher's outputs, its features, and which teaching of itself.
TEACHINGS: dict[str, tuple[bool, bool, str | None]] = {
    "labels": (False, False, None),
    SHARPENED: (False, False, None),
    "distill": (True, False, None),
    "align": (False, True, None),
    "distill+align": (True, True, None),
    "born-again": (False, False, "born-again"),
    "running-average": (False, False, "running-average"),
}
#: How many qubits and layers a random circuit may have.
MOST_QUBITS, MOST_LAYERS = 14, 200
_RATES = f"{FitSettings.lr}; a qnn {QNN_LR}"
_HOW = "hybrid:qubits=6,reps=2 | classical:like=hybrid:... | qnn:qubits=4,layers=3."

StudentText = Annotated[str, Option("STUDENT", _HOW)]
TeacherFile = Annotated[ModelSettings | None, Option("TEACHER", "A model's file, or a student's .qtrain.")]
StudentFit = Annotated[
    FitSettings, Inside("lr", Otherwise(_RATES, lambda said: rate_of(said["student"], None)))
]


def _student_file(said: Said) -> Path:
    return Path("student.qtrain")


@dataclass(frozen=True)
class TeachSettings:
    """`qtrain train` (no teacher) and `qtrain distill`: student, data, fit, teacher and the rest.

    `sharpened`: no teacher, and labels in its place.
    """

    student: StudentText
    data: DataSettings
    fit: StudentFit
    out: Annotated[
        Path,
        Option("--out", "The student's file.", short="-o", kind="output"),
        Otherwise("student.qtrain", _student_file),
    ]
    teacher: TeacherFile = None
    align: AlignSettings | None = None
    circuit: CircuitSettings = field(default_factory=CircuitSettings)
    itself: SelfSettings | None = None
    resume: Resume = False
    force: Force = False
    teacher_any: TeacherAny = False
    sharpened: bool = False
    log: Annotated[str, LOG, Otherwise("nowhere: a student's file has its history")] = NO_LOG
    dry_run: DryRun = False

    def __post_init__(self) -> None:
        require(
            self.align is None or self.teacher is not None,
            "--align needs a teacher whose layer it names",
            "give the teacher's file: qtrain distill TEACHER",
        )
        averaging = self.itself is not None and self.itself.method == "running-average"
        require(
            not (averaging and self.teacher is not None),
            "--self running-average is its own teacher, and another one is given",
            "leave out the teacher, or --self",
        )


def _teachings(said: Said) -> tuple[str, ...]:
    """What can be compared with what was given."""
    if said["teacher"] is None:
        return ("labels", "born-again", "running-average")
    aligned = ("align", "distill+align") if said["align"] is not None else ()
    return ("labels", SHARPENED, "distill", *aligned)


@dataclass(frozen=True)
class CompareStudentsSettings:
    """`qtrain compare-students`: every student by every method with seeds 0 .. `seeds` - 1, files in a
    folder.

    The fit's own seed and rate are not used: `lr`, or where it is None that of the kind of student, takes the
    rate's place.
    """

    students: Annotated[tuple[str, ...], Option("--student", f"{_HOW} Repeatable.")]
    data: DataSettings
    fit: FitSettings
    folder: CellsFolder
    methods: Annotated[
        tuple[str, ...],
        Option("--methods", "A list of: {choices}.", choices=TEACHINGS, read=parse_names, kind="row"),
        Otherwise("what goes with a teacher and a layer, or without", _teachings),
    ]
    seeds: Seeds = 5
    teacher: TeacherFile = None
    align: AlignSettings | None = None
    generations: Generations = SelfSettings.generations
    decay: Decay = SelfSettings.decay
    control: Annotated[
        bool, Option("--control/--no-control", "Each hybrid beside its classical control.")
    ] = True
    lr: Annotated[float | None, LEARNING_RATE, Otherwise(_RATES)] = None
    html: Html = None
    force: Force = False
    teacher_any: TeacherAny = False
    dry_run: DryRun = False

    def __post_init__(self) -> None:
        require(bool(self.students), "there is no student to compare", "give --student, as often as you like")
        check_chosen(self.data.validation, "compare-students counts epochs")
        check_seeds(self.seeds)
        replace(self.fit, lr=rate_of("", self.lr))
        SelfSettings("born-again", self.generations, self.decay)
        require(
            self.align is None or self.teacher is not None,
            "--align needs a teacher whose layer it names",
            "give the teacher's file: qtrain compare-students TEACHER",
        )
        for method in self.methods:
            self._check_method(method)

    def _check_method(self, method: str) -> None:
        require(method in TEACHINGS, f"--methods has '{method}'", suggestion(method, TEACHINGS))
        soft, aligned, _ = TEACHINGS[method]
        require(
            not (soft or aligned) or self.teacher is not None,
            f"the method {method} needs a teacher",
            "give its file: qtrain compare-students TEACHER",
        )
        require(
            not aligned or self.align is not None, f"the method {method} needs a layer", "give --align LAYER"
        )


@dataclass(frozen=True)
class CompareGradientsSettings:
    """`qtrain compare-gradients`: one student under every estimator and number of shots with seeds
    0 .. `seeds` - 1, and random circuits of these sizes.
    """

    student: StudentText
    data: DataSettings
    fit: StudentFit
    folder: CellsFolder
    gradients: Annotated[
        tuple[str, ...],
        Option("--gradients", "A list of: {choices}.", choices=ESTIMATORS, read=parse_names, kind="row"),
        Otherwise("all"),
    ] = tuple(ESTIMATORS)
    shots: Annotated[
        tuple[int, ...],
        Option(
            "--shots", "A list; 0 is exact. Adjoint runs exactly.",
            read=partial(parse_whole, option="--shots"), kind="row",
        ),
    ] = (0, 100)  # fmt: skip
    seeds: Seeds = 5
    qubits: Annotated[
        tuple[int, ...],
        Option(
            "--qubits", "Of random circuits: a list.", read=partial(parse_whole, option="--qubits"),
            kind="row",
        ),
    ] = (2, 4, 6, 8, 10)  # fmt: skip
    layers: Annotated[
        tuple[int, ...],
        Option(
            "--layers", "Of random circuits: a list.", read=partial(parse_whole, option="--layers"),
            kind="row",
        ),
    ] = (1, 4, 16, 64)  # fmt: skip
    noise: Depolarising = 0.0
    plot: Plot = None
    force: Force = False
    html: Html = None
    dry_run: DryRun = False

    @property
    def estimators(self) -> tuple[tuple[str, int], ...]:
        """Every estimator with every number of shots; adjoint, which takes none, exactly."""
        names = self.gradients
        pairs = [(name, count) for count in self.shots for name in names if name != "adjoint" or count == 0]
        if "adjoint" in names and 0 not in self.shots:
            pairs.insert(0, ("adjoint", 0))
        return tuple(pairs)

    def __post_init__(self) -> None:
        for name in self.gradients:
            require(name in ESTIMATORS, f"--gradients has '{name}'", suggestion(name, ESTIMATORS))
        require(bool(self.estimators), "there is no estimator to compare", "give --gradients adjoint,spsa")
        check_seeds(self.seeds)
        for gradient, shots in self.estimators:
            CircuitSettings(gradient, shots, self.noise)
        for name, sizes, most in (
            ("--qubits", self.qubits, MOST_QUBITS), ("--layers", self.layers, MOST_LAYERS),
        ):  # fmt: skip
            require(
                all(1 <= size <= most for size in sizes),
                f"{name} is {list(sizes)}; allowed: 1 to {most} each",
            )
        check_plot(self.plot)
