"""The students as modules: `features` (N, ...) -> (N, k), then `head` (N, k) -> (N, outputs).

    hybrid       front -> circuit                        -> linear head
    classical    front -> dense layer, tanh              -> linear head
    qnn          fixed reduction, scale -> circuit       -> linear head, or log of class probabilities

What alignment compares with the teacher is the vector that enters the head, so that its gradient reaches
every angle. Parameters are float32 and seeded by one generator; names and shapes are those of
`Student.shapes`.
"""

from __future__ import annotations

import abc

import torch
from torch import Tensor, nn

from qtrain_cli.quantum import batches, native
from qtrain_cli.quantum.feature_maps import AMPLITUDE
from qtrain_cli.students.circuit import CircuitLayer
from qtrain_cli.students.fronts import ConvFront, LinearFront
from qtrain_cli.students.layout import Layout
from qtrain_cli.students.reduction import averaged, filled
from qtrain_cli.students.spec import HybridSpec, QnnSpec, Student

#: Below it the logarithm of a class probability is cut off.
LEAST_PROBABILITY = 1e-6
#: A linear head starts so many times larger than PyTorch's: its inputs lie in -1..1, most of them near 0, and
#: scores that small keep a softmax flat for the first epochs. Hybrids and their controls alike.
HEAD_GAIN = 4.0
#: Radians that a cell of 1 turns a qubit by, before the scales are trained. A turn of pi, the usual choice,
#: is too much: many of them in a row scramble a state, so that neighbouring inputs have nothing in common.
START_SCALE = 1.0
#: Students of up to so many numbers are trained on one thread: a step takes a millisecond.
LIGHT_NUMBERS = 2**13


class StudentModule(nn.Module, abc.ABC):
    """A student: `features` down to the vector that is aligned, `head` to the outputs."""

    head: nn.Module
    circuit: CircuitLayer | None

    @abc.abstractmethod
    def features(self, inputs: Tensor) -> Tensor:
        """(N, ...) -> (N, k), what enters the head."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, ...) -> (N, outputs)."""
        found: Tensor = self.head(self.features(inputs))
        return found


def is_light(module: StudentModule) -> bool:
    """Whether its steps are compiled and short: with more threads they would wait for each other."""
    compiled = module.circuit is None or batches.knows_batch(module.circuit.batched)
    numbers = sum(parameter.numel() for parameter in module.parameters())
    return native.available() and compiled and numbers <= LIGHT_NUMBERS


class HybridStudent(StudentModule):
    """Front, circuit, head."""

    def __init__(self, front: nn.Module, circuit: CircuitLayer, head: nn.Module) -> None:
        super().__init__()
        self.front, self.circuit, self.head = front, circuit, head

    def features(self, inputs: Tensor) -> Tensor:
        """(N, ...) -> (N, n) expectations."""
        assert self.circuit is not None
        found: Tensor = self.circuit(self.front(inputs))
        return found


class ClassicalStudent(StudentModule):
    """Front, a dense layer with tanh, head."""

    def __init__(self, front: nn.Module, dense: nn.Linear, head: nn.Module) -> None:
        super().__init__()
        self.front, self.dense, self.head, self.circuit = front, dense, head, None

    def features(self, inputs: Tensor) -> Tensor:
        """(N, ...) -> (N, width)."""
        return torch.tanh(self.dense(self.front(inputs)))


class QnnStudent(StudentModule):
    """Fixed reduction, circuit, head. Angles are the cells times the slots' trained scales (slots,), in
    radians; amplitudes the cells themselves."""

    def __init__(self, student: Student, circuit: CircuitLayer, head: nn.Module) -> None:
        super().__init__()
        self.circuit, self.head = circuit, head
        self.cells, self.slots = student.cells, student.slots
        once = circuit.layout.encoding.name == AMPLITUDE
        self.scale = None if once else nn.Parameter(torch.full((student.slots,), START_SCALE))

    def features(self, inputs: Tensor) -> Tensor:
        """(N, ...) -> (N, k) expectations or class probabilities."""
        assert self.circuit is not None
        slots = filled(averaged(inputs, self.cells), self.slots, cyclic=self.scale is not None)
        found: Tensor = self.circuit(slots if self.scale is None else slots * self.scale)
        return found


class LogClasses(nn.Module):
    """Class probabilities to scores: their logarithms, so that a softmax gives them back."""

    def forward(self, p: Tensor) -> Tensor:
        """(N, classes) -> (N, classes)."""
        return p.clamp_min(LEAST_PROBABILITY).log()


def build(student: Student, seed: int) -> StudentModule:
    """A student with parameters that follow from the seed.

    Raises:
        BadInput: as `Student`.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = _assembled(student)
    if isinstance(module.head, nn.Linear):
        with torch.no_grad():
            module.head.weight.mul_(HEAD_GAIN)
    if module.circuit is not None:
        module.circuit.reset(generator)
    return module


def _assembled(student: Student) -> StudentModule:
    spec = student.spec
    if isinstance(spec, QnnSpec):
        classes = student.outputs if spec.readout == "probabilities" else None
        circuit = CircuitLayer(Layout(spec.encoding, spec.circuit, classes))
        return QnnStudent(
            student, circuit, LogClasses() if classes else nn.Linear(spec.qubits, student.outputs)
        )
    front = _front(student)
    if isinstance(spec, HybridSpec):
        circuit = CircuitLayer(Layout(spec.encoding, spec.circuit))
        return HybridStudent(front, circuit, nn.Linear(spec.qubits, student.outputs))
    dense = nn.Linear(student.qubits, student.width)
    return ClassicalStudent(front, dense, nn.Linear(student.width, student.outputs))


def _front(student: Student) -> nn.Module:
    channels = student.inputs[0] if student.is_image else 1
    kind = ConvFront if student.front.kind == "conv" else LinearFront
    return kind(student.front, channels, student.qubits)
