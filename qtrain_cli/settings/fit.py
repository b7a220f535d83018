"""How something is trained: epochs, rates, and the gradient of a generator's circuits."""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass, field, replace
from typing import Annotated

from qtrain_cli.errors import suggestion
from qtrain_cli.quantum.estimators import ESTIMATORS
from qtrain_cli.settings.option import Option, Otherwise, Said
from qtrain_cli.settings.parsing import parse_names, require
from qtrain_cli.settings.shared import LEARNING_RATE, Seed, check_seed

#: What may be done to a batch of training rows (`data.augment` does it).
AUGMENTATIONS = ("flip", "crop", "randaugment", "mixup")
#: In what the model itself multiplies in training; its circuits are float32 always, as what is measured is.
FLOAT32 = "float32"
PRECISIONS = (FLOAT32, "bf16")
#: How the learning rate moves (`training.schedules`).
ONE_CYCLE, PLATEAU, CONSTANT = "one-cycle", "plateau", "constant"
SCHEDULES = (ONE_CYCLE, PLATEAU, CONSTANT)
#: What descends (`training.descent`), and what Adam adds to the root of its second moments by default.
EIGENBASIS, ADAM, ADAM_EPS = "eigenbasis", "adam", 1e-8
OPTIMIZERS = (EIGENBASIS, ADAM)
MAX_EPOCHS = 10**9 - 1
MAX_TEMPERATURE, MAX_WORKERS, MAX_PROCESSES, MAX_RESTARTS = 1e6, 256, 1024, 1000
MIN_EPOCHS, MIN_STEPS = 10, 2000
#: The same of changes to a base, which twice as many harm (samples/results/fine_tunes.md).
CHANGE_EPOCHS, CHANGE_STEPS = 4, 600
#: Rows of a step: so many, or half as many again and again down to the least while a step costs more
#: floating-point operations than `STEP_WORK`. Epochs: as many as stay below `RUN_WORK`, at least one.
STEP_ROWS, LEAST_STEP_ROWS, STEP_WORK, RUN_WORK = 128, 8, 3e11, 2.7e13
#: The learning rate of a generator of N numbers is M (600 / N)^(2/3), at most M: near the best of those tried
#: on MNIST (457 to 2,849 numbers). The second M is that of Adam, by which rough gradients descend.
MAX_OWN_LR, MAX_ROUGH_LR, OWN_LR_NUMBERS, OWN_LR_POWER = 0.013, 0.02, 600, 2 / 3
#: The same of changes to a base, and the rows of their steps: of those tried on TREC's validation rows, with
#: 0.005, 0.013, 0.02 and 0.04 beside it (870 to 2,000 numbers).
CHANGE_LR, CHANGE_ROWS = 0.008, 32
#: The default peak learning rate of a qnn, whose angles and scales turn by radians. Chosen on the digits'
#: validation rows, with 0.02 (that of every other student) and 0.05 beside it.
QNN_LR = 0.1
MAX_SHOTS, MAX_SAMPLES = 10**9, 10**6


def _with_adam(flag: str, said: Said) -> None:
    """Where an optimiser can be said, it has to be Adam."""
    nothing = f"{flag} does nothing without Adam"
    require(said.get("optimizer", ADAM) == ADAM, nothing, "give --optimizer adam")


def _with_weight(flag: str, said: Said) -> None:
    """A teacher without weight is not looked at; losses at other temperatures are no measure of progress."""
    require(said.get("distill") != 0, f"{flag} does nothing with --distill 0", "give --distill a weight")
    plain = said.get("schedule") != PLATEAU
    require(plain, f"{flag} moves the loss that --schedule {PLATEAU} goes by", "give another --schedule")


def _with_processes(flag: str, said: Said) -> None:
    """One process has nobody who would start it anew; what torchrun started, torchrun starts anew."""
    served = (said.get("processes") or 1) > 1 or not said.get("max-restarts")
    require(served, f"{flag} needs --processes of 2 or more", "torchrun has a --max-restarts of its own")


@dataclass(frozen=True)
class GradientSettings:
    """How the circuits' gradient is found (`quantum.estimators` has the methods), and by what they are run.

    No shots: exact probabilities. No PennyLane device: the engine.
    """

    method: Annotated[
        str,
        Option("--gradient", "{choices}. What a measured one spent is said on stderr.", choices=ESTIMATORS),
    ] = "adjoint"
    shots: Annotated[int | None, Option("--shots", "Of each circuit."), Otherwise("exact probabilities")] = (
        None
    )
    pennylane_device: Annotated[
        str | None,
        Option("--pennylane-device", "Runs the circuits, e.g. default.qubit."),
        Otherwise("the engine"),
    ] = None
    spsa_samples: Annotated[
        int, Option("--spsa-samples", "Random directions of a step of --gradient spsa.")
    ] = 1

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
    """How something is trained. `distill` is the weight of the teacher's soft targets.

    `epochs` 0: 10 (of changes to a base 4), or as many more as `MIN_STEPS` (`CHANGE_STEPS`) steps take on
    little data, or as few as heavy work leaves (`for_work`). `batch_size` 0: 128, or fewer for heavy rows.
    """

    distill: Annotated[float, Option("--distill", "Weight of the teacher's outputs, 0 to 1.")] = 0.5
    temperature: Annotated[float, Option("--temperature", "Of the teacher's outputs.")] = 4.0
    epochs: Annotated[
        int,
        Option("--epochs", "Passes over the rows.", least=1),
        Otherwise(
            f"{MIN_EPOCHS}, of changes to a base {CHANGE_EPOCHS}; more below {MIN_STEPS:,} and"
            f" {CHANGE_STEPS} steps, fewer of heavy ones"
        ),
    ] = 0
    batch_size: Annotated[
        int,
        Option("--batch-size", "Rows of a training step.", least=1),
        Otherwise(f"{STEP_ROWS}; fewer heavy ones"),
    ] = 0
    lr: Annotated[float, LEARNING_RATE] = 0.02
    seed: Seed = 0
    device: Annotated[str, Option("--device", "auto, cpu, cuda or cuda:1.")] = "auto"
    gradient: GradientSettings = field(default_factory=GradientSettings)
    augment: Annotated[
        tuple[str, ...],
        Option(
            "--augment", "Of training batches: {choices}; several with commas.", choices=AUGMENTATIONS,
            read=parse_names, kind="row",
        ),
    ] = ()  # fmt: skip
    workers: Annotated[
        int | None,
        Option("--workers", "Processes that draw training batches; 0: a step draws its own.", least=0),
        Otherwise("a thread, for large or augmented ones"),
    ] = None
    processes: Annotated[
        int,
        Option(
            "--processes", "That share each batch, on this machine; torchrun starts them on several.", least=1
        ),
    ] = 1  # fmt: skip
    max_restarts: Annotated[
        int,
        Option(
            "--max-restarts", "Go on so often from the last state when a process ends.", least=0,
            needs=_with_processes,
        ),
    ] = 0  # fmt: skip
    schedule: Annotated[
        str,
        Option(
            "--schedule", "Of the learning rate: {choices}. plateau halves it where the training loss has not"
            " fallen for 5 epochs.", choices=SCHEDULES,
        ),
    ] = ONE_CYCLE  # fmt: skip
    weight_decay: Annotated[
        float, Option("--weight-decay", "Times each trained number, added to its gradient.")
    ] = 0.0
    clip: Annotated[
        float | None,
        Option("--clip", "Norm that all gradients together have at most; 0: any."),
        Otherwise("1; of a student 10"),
    ] = None
    precision: Annotated[
        str,
        Option(
            "--precision", "Of the model's own products in training: {choices}. Circuits and figures stay"
            " float32.", choices=PRECISIONS,
        ),
    ] = FLOAT32  # fmt: skip
    optimizer: Annotated[
        str,
        Option(
            "--optimizer", "{choices}. eigenbasis is that of circuits with exact gradients; all else goes by"
            " Adam.", choices=OPTIMIZERS,
        ),
    ] = EIGENBASIS  # fmt: skip
    eps: Annotated[
        float,
        Option("--eps", "Adam's, added to the root of its second moments.", needs=_with_adam),
    ] = ADAM_EPS
    temperature_end: Annotated[
        float | None,
        Option(
            "--temperature-end",
            "Of the teacher's outputs in the last step; each step changes it by the same factor.",
            needs=_with_weight,
        ),
        Otherwise("it stays"),
    ] = None

    def __post_init__(self) -> None:
        for name in self.augment:
            require(name in AUGMENTATIONS, f"--augment is '{name}'", suggestion(name, AUGMENTATIONS))
        for option, chosen, known in (
            ("schedule", self.schedule, SCHEDULES),
            ("precision", self.precision, PRECISIONS),
            ("optimizer", self.optimizer, OPTIMIZERS),
        ):
            require(chosen in known, f"--{option} is '{chosen}'", suggestion(chosen, known))
        for name, value in (("weight-decay", self.weight_decay), ("clip", self.clip)):
            require(
                value is None or (math.isfinite(value) and value >= 0),
                f"--{name} is {value}; allowed: 0 or more",
            )
        require(math.isfinite(self.eps) and self.eps > 0, f"--eps is {self.eps}; allowed: above 0")
        require(len(set(self.augment)) == len(self.augment), "--augment names one twice", "give each once")
        require(0 <= self.distill <= 1, f"--distill is {self.distill}; allowed: 0 to 1")
        self._check_temperatures()
        require(
            0 <= self.epochs <= MAX_EPOCHS,
            f"--epochs is {reprlib.repr(self.epochs)}; allowed: 1 to {MAX_EPOCHS}",
        )
        require(self.batch_size >= 0, f"--batch-size is {self.batch_size}; allowed: 1 or more")
        require(
            self.workers is None or 0 <= self.workers <= MAX_WORKERS,
            f"--workers is {self.workers}; allowed: 0 to {MAX_WORKERS}",
        )
        for name, count, least, most in (
            ("processes", self.processes, 1, MAX_PROCESSES),
            ("max-restarts", self.max_restarts, 0, MAX_RESTARTS),
        ):
            require(least <= count <= most, f"--{name} is {count}; allowed: {least} to {most}")
        require(math.isfinite(self.lr) and self.lr > 0, f"--lr is {self.lr}; allowed: above 0")
        check_seed(self.seed)

    def _check_temperatures(self) -> None:
        require(
            0 < self.temperature <= MAX_TEMPERATURE,
            f"--temperature is {self.temperature}; allowed: above 0, at most {MAX_TEMPERATURE:g}",
        )
        end, least = self.temperature_end, 1 / MAX_TEMPERATURE
        require(
            end is None or least <= end <= MAX_TEMPERATURE,
            f"--temperature-end is {end}; allowed: {least:g} to {MAX_TEMPERATURE:g}",
        )

    def clipped(self, usual: float) -> float:
        """The norm that gradients are clipped to; `usual` where nothing was said."""
        return usual if self.clip is None else self.clip or math.inf

    def for_work(self, rows: int, work: float, change: bool = False) -> FitSettings:
        """The same settings with the rows of a step, and the epochs, that this training takes by default.

        Args:
            rows: of the training split.
            work: floating-point operations that a step has for each of its rows.
            change: whether changes to a base are trained.
        """
        least, least_steps = (CHANGE_EPOCHS, CHANGE_STEPS) if change else (MIN_EPOCHS, MIN_STEPS)
        size = self.batch_size or rows_for(work)
        steps = max(1, rows // min(size, rows))
        usual = max(least, -(-least_steps // steps))
        bearable = max(1, int(RUN_WORK / max(1.0, work * rows)))
        return replace(self, batch_size=size, epochs=self.epochs or min(usual, bearable))

    def for_numbers(self, numbers: int, change: bool = False) -> FitSettings:
        """The same settings with the learning rate for so many trained numbers, of changes to a base."""
        return replace(self, lr=own_rate(numbers, self.gradient.rough, change))

    def for_change(self) -> FitSettings:
        """The same settings with the rows of a step that changes to a base take by default."""
        return replace(self, batch_size=self.batch_size or CHANGE_ROWS)

    def steps(self, rows: int) -> int:
        """How many steps all epochs have together on so many training rows, in whole batches."""
        return rows // min(self.batch_size or STEP_ROWS, rows) * self.epochs


def rows_for(work: float) -> int:
    """The rows of a step where each takes so many floating-point operations."""
    size = STEP_ROWS
    while size > LEAST_STEP_ROWS and size * work > STEP_WORK:
        size //= 2
    return size


def own_rate(numbers: int, rough: bool = False, change: bool = False) -> float:
    """Compress's own peak learning rate for so many trained numbers: the deeper the circuit, the smaller."""
    if change and not rough:
        return CHANGE_LR
    return (MAX_ROUGH_LR if rough else MAX_OWN_LR) * min(1.0, OWN_LR_NUMBERS / numbers) ** OWN_LR_POWER


def rate_of(student: str, lr: float | None) -> float:
    """The peak learning rate of a student by its text: the one given, or that of its kind."""
    if lr is not None:
        return lr
    return QNN_LR if student.partition(":")[0].strip() == "qnn" else FitSettings.lr
