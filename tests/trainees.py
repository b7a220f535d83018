"""Tiny problems for every kind of trainee: what is trained, from what it learns, what a run leaves."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from qtrain_cli.data import Normalisation, TrainSplit, ValidationSplit
from qtrain_cli.methods.generator.plan import plan_of, spec_of
from qtrain_cli.methods.generator.spec import MAPPINGS, AngleCoding, GeneratorSpec, MappingSpec
from qtrain_cli.methods.method import Scene
from qtrain_cli.methods.table import OURS, method_of
from qtrain_cli.models.call import predict
from qtrain_cli.quantum.circuit import ANSATZE, CircuitSpec, qubits_for
from qtrain_cli.settings import FitSettings
from qtrain_cli.students.layout import Execution
from qtrain_cli.students.networks import StudentModule, build
from qtrain_cli.students.spec import Student, parse_student
from qtrain_cli.targets.entries import LayoutSpec
from qtrain_cli.targets.layout import layout_of
from qtrain_cli.tasks.objective import Objective
from qtrain_cli.training.alignment import Alignment, projection, teacher_features
from qtrain_cli.training.batches import Batch, RowBatches
from qtrain_cli.training.circuits import StepCircuits, measures
from qtrain_cli.training.course import Course, Teach, answers_on, nobody
from qtrain_cli.training.descent import Rate
from qtrain_cli.training.devices import moved_to
from qtrain_cli.training.generated import Generated, Sized
from qtrain_cli.training.loop import Progress
from qtrain_cli.training.state import Trained
from qtrain_cli.training.student import Taught
from qtrain_cli.training.trainee import Outputs, Trainee

DIGITS = Path(__file__).resolve().parents[1] / "samples" / "digits" / "digits.npz"
TRAIN_ROWS, VALIDATION_ROWS = 200, 100
CPU, IDENTITY, CLIP = torch.device("cpu"), {"test": "identity"}, 1.0
#: Every kind of trainee, as `problem_of` knows them.
KINDS = ("ours", "rival", "student")
CLASSICAL = "classical:like=hybrid:qubits=6,reps=2,front=linear"
HYBRID = "hybrid:qubits=3,reps=1,front=linear"
LABELS, BOTH, MOSTLY = (Objective("classification", share, 4.0) for share in (0.0, 0.5, 0.9))

Rows = tuple[Tensor, Tensor]


def small_network() -> nn.Sequential:
    """(N, 1, 8, 8) -> (N, 10), 1,010 weights: 10 qubits."""
    torch.manual_seed(0)
    return nn.Sequential(nn.AvgPool2d(2, 1), nn.Flatten(), nn.Linear(49, 16), nn.ReLU(), nn.Linear(16, 10))


class Normalised(nn.Sequential):
    """A small network with BatchNorm and dropout."""

    def __init__(self, dropout: float = 0.2) -> None:
        torch.manual_seed(1)
        super().__init__(
            nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(12, 10),
        )  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """What is trained, begun anew for each run, what it learns from; `teach` gives a trainee's teacher."""

    begin: Callable[[FitSettings], Trainee]
    teach: Callable[[Trainee], Teach]
    train: TrainSplit
    validation: ValidationSplit
    objective: Objective
    rate: Rate
    scene: Scene | None = None
    chosen: Sized | None = None

    @property
    def spec(self) -> GeneratorSpec:
        """Of ours."""
        return spec_of(self.chosen.layout, self.chosen.plan)

    def course(self, fit: FitSettings, trainee: Trainee) -> Course:
        """Batches in an order of the seed's."""
        prepare = Normalisation()
        batches = RowBatches(self.train, prepare, fit.batch_size, fit.seed, CPU)
        return Course(batches, self.validation, prepare, self.objective, self.teach(trainee))


@dataclass(frozen=True)
class Fitted:
    """What a run left: the best state, and the trainee as its last step left it."""

    trained: Trained
    trainee: Trainee

    @property
    def bits(self) -> dict[str, bytes]:
        """All of the result, to the last bit."""
        found = self.trained
        named = {f"parameter.{name}": part for name, part in found.parameters.items()}
        named |= {f"state.{name}": part for name, part in found.state.items()}
        course = repr((found.score, found.history)).encode()
        return {"course": course, **{name: part.numpy().tobytes() for name, part in named.items()}}

    @property
    def score(self) -> float:
        """Of the validation rows, by the best state."""
        return self.trained.score


def split_of(rows: Rows, validation: Rows | None = None) -> tuple[TrainSplit, ValidationSplit]:
    """Two thirds to train with, and the rest, or what is given, to validate."""
    inputs, targets = rows
    cut = 2 * len(inputs) // 3
    return (
        TrainSplit(inputs[:cut], targets[:cut]),
        ValidationSplit(*(validation or (inputs[cut:], targets[cut:]))),
    )


def scene_of(module: nn.Module, inputs: Tensor, layout: LayoutSpec | None = None) -> Scene:
    """The scene of a model for inputs of that shape, seed 0."""
    state = moved_to(module.state_dict(keep_vars=True), CPU)
    was = module.training
    outputs = predict(module, state, torch.zeros_like(inputs[:2]), Normalisation())
    module.train(was)
    shapes = tuple(inputs.shape[1:]), tuple(outputs.shape[1:])
    return Scene(module, state, layout or layout_of(module), *shapes, 0, CPU)


def taught_by(scene: Scene, train: TrainSplit) -> Callable[[Trainee], Teach]:
    """The scene's model as the teacher; it is asked when a run begins."""

    def ask(inputs: Tensor) -> Tensor:
        return predict(scene.module, scene.teacher, inputs, Normalisation())

    return lambda trainee: answers_on(ask, train)


def method_problem(
    name: str, module: nn.Module, plan: dict, rows: Rows, objective: Objective = BOTH,
    validation: Rows | None = None, room: float = float("inf"), layout: LayoutSpec | None = None,
    lr: float = 0.01,
) -> Problem:  # fmt: skip
    """A method of the table with this plan, taught by the model itself; `room` in bits for coded numbers."""
    train, held = split_of(rows, validation)
    scene, method = scene_of(module, rows[0], layout), method_of(name)
    own = method.module(scene, plan)
    chosen = Sized(method, plan, own, scene.layout if own is module else layout_of(own))

    def begin(fit: FitSettings) -> Generated:
        circuits = StepCircuits(fit.gradient, fit.seed) if measures(fit.gradient) else None
        return Generated(chosen, replace(scene, seed=fit.seed), lambda kept: room, circuits, fit.precision)

    rate = Rate(lr, method.whitened, clip=CLIP)
    return Problem(begin, taught_by(scene, train), train, held, objective, rate, scene, chosen)


def our_problem(
    module: nn.Module, rows: Rows, ansatz: str = "real-amplitudes", layers: int = 8,
    mapping: str = "linear", bits: int = 32, objective: Objective = MOSTLY,
    validation: Rows | None = None, **patterns: tuple[str, ...],
) -> Problem:  # fmt: skip
    """Ours with a generator of one circuit."""
    layout = layout_of(module, **patterns)
    entangler = ANSATZE[ansatz].entanglers[0]
    circuit = CircuitSpec(ansatz, entangler, qubits_for(layout.generated, 1), layers)
    mapped = MappingSpec(mapping, MAPPINGS[mapping].hidden)
    plan = plan_of(GeneratorSpec(circuit, mapped, layout, AngleCoding(bits, 0)))
    return method_problem(OURS, module, plan, rows, objective, validation, layout=layout)


def student_problem(
    text: str, teacher: nn.Module | None, rows: Rows, objective: Objective = BOTH,
    validation: Rows | None = None, align: str | None = None, decay: float = 0.0, outputs: int = 10,
    execution: Execution = Execution(),  # noqa: B008
    align_loss: str = "mse",
    changed: Callable[[StudentModule], StudentModule] = lambda module: module, lr: float = 0.01,
) -> Problem:  # fmt: skip
    """A student: `align` with a layer of the teacher's, `decay` of the running average that teaches it.

    Labels alone where there is neither a teacher nor an average.
    """
    train, held = split_of(rows, validation)
    scene = scene_of(teacher, rows[0]) if teacher is not None else None
    shape = tuple(rows[0].shape[1:])

    def begin(fit: FitSettings) -> Taught:
        student = changed(build(Student(parse_student(text), shape, outputs), fit.seed))
        if student.circuit is not None:
            student.circuit.execution = execution
        return Taught(student, aligned(student), decay, fit.precision)

    def aligned(student: StudentModule) -> Alignment | None:
        if align is None:
            return None
        taught, width = teacher_features(scene.module, scene.teacher, align, train, Normalisation())
        with torch.no_grad():
            own = student.features(Normalisation()(train.inputs[:2])).shape[1]
        return Alignment(taught, projection(own, width, 0), align_loss, 0.3)

    def teach(trainee: Taught) -> Teach:
        if decay:
            return trainee.teach_itself
        return taught_by(scene, train)(trainee) if scene else nobody

    return Problem(begin, teach, train, held, objective, Rate(lr, fused=True, clip=CLIP))


def problem_of(kind: str, teacher: nn.Module, rows: Rows, **changes) -> Problem:
    """A trainee of this kind with everything that changes in one.

    Ours and a rival: BatchNorm, dropout, rounding; the rival has masks and a bound of its codes too.
    A student: a circuit that is sampled, alignment, and itself as the teacher.
    """
    if kind == "ours":
        return our_problem(Normalised(), rows, bits=4, **changes)
    if kind == "rival":
        return method_problem("pruning", Normalised(), {"survivors": 300}, rows, room=2500.0, **changes)
    how = Execution("parameter-shift", 20)
    return student_problem(HYBRID, teacher, rows, align="2", decay=0.9, execution=how, **changes)


def learner_of(kind: str, teacher: nn.Module, rows: Rows, **changes) -> Problem:
    """A trainee of this kind that learns quickly."""
    if kind == "ours":
        return our_problem(teacher, rows, layers=16, **changes)
    if kind == "rival":
        return method_problem("subspace", teacher, {"k": 160, "seed": 0}, rows, lr=0.05, **changes)
    return student_problem(CLASSICAL, teacher, rows, **changes)


class Toy:
    """A third kind of trainee, in the words of `Trainee` alone: a line through the pixels, with noise drawn
    from every stream, a tensor of state that is replaced, a counter, and a second life from `anew` on.

    `drawn` are the first numbers of each stream.
    """

    def __init__(self, anew: int = 10**9) -> None:
        self.theta = torch.zeros(64, 10).requires_grad_()
        self.shift = torch.ones(10).requires_grad_()
        self.mean, self.count, self.anew = torch.zeros(10), torch.tensor(0), anew
        self.drawn: list[tuple[float, float, float]] = []

    def parameters(self) -> dict[str, Tensor]:
        return {"theta": self.theta, "shift": self.shift}

    def state(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "count": self.count}

    def begin(self, epoch: int, epochs: int) -> bool:
        return epoch == self.anew

    def outputs(self, batch: Batch) -> Outputs:
        drawn = (torch.rand(()).item(), random.random(), float(np.random.rand()))
        self.drawn.append(drawn)
        scores = batch.inputs.flatten(1) @ self.theta + sum(drawn) * self.shift
        self.mean.copy_(0.9 * self.mean + 0.1 * scores.detach().mean(0))
        self.count.add_(1)
        return Outputs(scores, 1e-3 * self.theta.square().sum())

    @property
    def rounds(self) -> bool:
        return False

    def exactly(self) -> None:
        return None

    def predict(self, inputs: Tensor, prepare: Callable[[Tensor], Tensor]) -> Tensor:
        return prepare(inputs).flatten(1) @ self.theta.detach() + self.shift.detach()


def toy_problem(rows: Rows, **given) -> Problem:
    """A toy that learns from labels."""
    train, held = split_of(rows)
    return Problem(
        lambda fit: Toy(**given), lambda trainee: nobody, train, held, LABELS, Rate(0.01, clip=CLIP)
    )


class Stopped(Exception):
    """What a test ends a run with."""


def cut_at(step: int) -> Callable[[Progress], None]:
    """Ends a run once this step has been shown, before its checkpoint is written."""

    def cut(progress: Progress) -> None:
        if progress.step == step:
            raise Stopped

    return cut
