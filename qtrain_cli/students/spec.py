"""A student as plain data: the text that names it, what it becomes for given data, and every tensor's shape.

    hybrid:qubits=6,reps=2,feature-map=zz     front -> n features -> feature map, ansatz -> <Z> -> linear head
    classical:like=hybrid:qubits=6,reps=2     the same front and head with a dense layer for the circuit
    qnn:qubits=4,layers=3,encoding=angle      reduced input -> circuit -> <Z> and a linear head, or classes

A spec is parsed from such text and written back in full, every key said. `Student` joins it with the shape of
an input and the number of outputs; from there all sizes follow without torch, so that a reader can check a
file's tensors before it allocates any.

**The front** is the largest of its kind that leaves all trained numbers within `params`. A convolutional one
halves the image until its side is at most 7, then takes one spatial filter a channel and mixes channels down
to n features; a linear one averages an image over a grid of equal cells first, as fine as the budget pays
for.

**A qnn's input** is reduced without trained numbers: an image is averaged over a grid of equal cells, a
vector over equal runs. `amplitude` takes at most 2**n cells, filled up with zeros and normalised; the other
encodings have n * layers slots (data re-uploading, arXiv 1907.02085: layer l takes its own n), filled in
turn, again from the first cell where there are more slots than cells. What enters a slot is its cell times
the slot's own trained scale, in radians.

Standard library only.
"""

from __future__ import annotations

import functools
import math
from dataclasses import Field, dataclass, field, fields
from typing import Any

from qtrain_cli.errors import BadInput, UsageError, suggestion
from qtrain_cli.quantum.circuit import ENTANGLERS, CircuitSpec
from qtrain_cli.quantum.feature_maps import AMPLITUDE, ENCODINGS, ENTANGLEMENTS, EncodingSpec
from qtrain_cli.students.front_sizes import Front, families, grid, largest_front

MAX_STUDENT_QUBITS = 12
MAX_PARAMS = 10**7
MAX_TEXT = 400
_CONTROL = "write the hybrid it is the control of: classical:like=hybrid:qubits=6"
FRONTS = ("auto", "conv", "linear")
READOUTS = ("z", "probabilities")
FEATURE_MAPS = tuple(name for name in ENCODINGS if name != AMPLITUDE)
#: EfficientSU2 with its gates as RZ, RY: in the order RY, RZ the last RZ of each qubit turns no outcome, and
#: would be a trained number that trains nothing.
STUDENT_ANSATZE = ("su2-rz-ry", "real-amplitudes")
#: How far the control's count may be from the hybrid's, as a share of it.
CONTROL_SHARE = 0.05

Shapes = dict[str, tuple[int, ...]]


def _choice(default: str, allowed: Any) -> Any:
    return field(default=default, metadata={"allowed": tuple(allowed)})


def _whole(default: int, low: int, high: int) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


def _key(row: Field[Any]) -> str:
    """What users write for a field."""
    return str(row.metadata.get("key", row.name.replace("_", "-")))


def _such_as(key: str, default: Any) -> str:
    return f"write e.g. {key}={default}"


def _check_fields(spec: Any) -> None:
    """Holds every field against its row: one of the allowed names, or a whole number in its range."""
    for row in fields(spec):
        key, value = _key(row), getattr(spec, row.name)
        allowed = row.metadata.get("allowed")
        if allowed and value not in allowed:
            raise UsageError(f"the student's {key} is '{value}'", suggestion(str(value), allowed))
        if "low" in row.metadata and not row.metadata["low"] <= value <= row.metadata["high"]:
            bounds = f"allowed: {row.metadata['low']} to {row.metadata['high']}"
            raise UsageError(f"the student's {key} is {value}; {bounds}", _such_as(key, row.default))


@dataclass(frozen=True)
class HybridSpec:
    """A small classical front, a feature map and an EfficientSU2 ansatz (RZ, RY) with a final rotation, a
    linear head.

    Raises:
        UsageError: a value that is not allowed.
    """

    qubits: int = _whole(6, 1, MAX_STUDENT_QUBITS)
    reps: int = _whole(2, 1, 100)
    feature_map: str = _choice("z", FEATURE_MAPS)
    map_reps: int = _whole(1, 1, 20)
    paulis: str = ""
    entanglement: str = _choice("full", ENTANGLEMENTS)
    ansatz: str = _choice("su2-rz-ry", STUDENT_ANSATZE)
    entangler: str = _choice("cnot-reverse-linear", [e for e in ENTANGLERS if e != "cu3-ring"])
    front: str = _choice("auto", FRONTS)
    params: int = _whole(800, 1, MAX_PARAMS)

    kind = "hybrid"

    def __post_init__(self) -> None:
        _check_fields(self)
        _ = self.encoding, self.circuit

    @property
    def encoding(self) -> EncodingSpec:
        """The feature map."""
        strings = tuple(self.paulis.split("+")) if self.paulis else ()
        return EncodingSpec(self.feature_map, self.qubits, self.map_reps, self.entanglement, strings)

    @property
    def circuit(self) -> CircuitSpec:
        """The ansatz: Qiskit's `reps` is one layer less than ours, whose last one is the final rotation."""
        return CircuitSpec(self.ansatz, self.entangler, self.qubits, self.reps + 1, 1, final_rotation=True)


@dataclass(frozen=True)
class ClassicalSpec:
    """The control of a hybrid: a dense layer with tanh in place of the circuit."""

    like: HybridSpec

    kind = "classical"


@dataclass(frozen=True)
class QnnSpec:
    """A circuit alone: n qubits, L layers, data re-uploaded in each (or amplitudes once), two read-outs.

    Raises:
        UsageError: a value that is not allowed.
    """

    qubits: int = _whole(4, 1, MAX_STUDENT_QUBITS)
    layers: int = _whole(3, 1, 200)
    encoding_name: str = field(default="angle", metadata={"allowed": tuple(ENCODINGS), "key": "encoding"})
    paulis: str = ""
    entanglement: str = _choice("linear", ENTANGLEMENTS)
    readout: str = _choice("z", READOUTS)
    ansatz: str = _choice("su2-rz-ry", STUDENT_ANSATZE)
    entangler: str = _choice("cnot-ring", [e for e in ENTANGLERS if e != "cu3-ring"])

    kind = "qnn"

    def __post_init__(self) -> None:
        _check_fields(self)
        _ = self.encoding, self.circuit

    @property
    def encoding(self) -> EncodingSpec:
        """How data enter."""
        strings = tuple(self.paulis.split("+")) if self.paulis else ()
        return EncodingSpec(self.encoding_name, self.qubits, 1, self.entanglement, strings)

    @property
    def circuit(self) -> CircuitSpec:
        """One block of all layers behind amplitudes; else a block of one layer for each upload."""
        if self.encoding_name == AMPLITUDE:
            return CircuitSpec(self.ansatz, self.entangler, self.qubits, self.layers, 1)
        return CircuitSpec(self.ansatz, self.entangler, self.qubits, 1, self.layers)


StudentSpec = HybridSpec | ClassicalSpec | QnnSpec
KINDS: dict[str, type[Any]] = {"hybrid": HybridSpec, "classical": ClassicalSpec, "qnn": QnnSpec}


def parse_student(text: str) -> StudentSpec:
    """``"hybrid:qubits=6,reps=2"`` -> a spec; a key that is not said has its default.

    Raises:
        UsageError: an unknown kind or key (with the nearest), a key that stands twice, a value of another
        kind. BadInput: an encoding or circuit that cannot be.
    """
    if len(text) > MAX_TEXT:
        long = f"the student's text has {len(text)} characters; allowed: {MAX_TEXT}"
        raise UsageError(long, "write each key once")
    kind, _, rest = text.strip().partition(":")
    if kind not in KINDS:
        raise UsageError(f"unknown student '{kind}'", suggestion(kind, KINDS))
    if kind == "classical":
        return _parse_classical(rest)
    rows = {_key(row): row for row in fields(KINDS[kind])}
    given: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.strip().partition("=")
        if key not in rows:
            raise UsageError(f"a {kind} student has no '{key}'", suggestion(key, rows))
        row = rows[key]
        if row.name in given:
            raise UsageError(f"the student's {key} stands twice", "say it once")
        if not equals or not value:
            raise UsageError(f"the student's {key} has no value", _such_as(key, row.default))
        given[row.name] = _value(key, value, row.default)
    spec: StudentSpec = KINDS[kind](**given)
    return spec


def _parse_classical(rest: str) -> ClassicalSpec:
    key, equals, like = rest.strip().partition("=")
    if key != "like" or not equals:
        raise UsageError(
            f"a classical student needs 'like', and has '{key}'",
            _CONTROL,
        )
    spec = parse_student(like)
    if not isinstance(spec, HybridSpec):
        raise UsageError(f"a classical student is like a hybrid, not like a {spec.kind}", _CONTROL)
    return ClassicalSpec(spec)


def _value(key: str, text: str, default: Any) -> Any:
    if not isinstance(default, int):
        return text
    if not text.isdecimal() or not text.isascii() or len(text) > 9:
        raise UsageError(f"the student's {key} is '{text}'; needed: a whole number", _such_as(key, default))
    return int(text)


def student_text(spec: StudentSpec) -> str:
    """The text of a spec with every key said, in the order of its fields; parsing it gives the spec again."""
    if isinstance(spec, ClassicalSpec):
        return f"classical:like={student_text(spec.like)}"
    rows = [(_key(row), getattr(spec, row.name)) for row in fields(spec)]
    return f"{spec.kind}:" + ",".join(f"{key}={value}" for key, value in rows if value != "")


def inference_needs(student: Student) -> str:
    """What running a student takes, in a sentence: said by `inspect`, `report` and `export`."""
    if isinstance(student.spec, ClassicalSpec):
        return "ordinary layers only"
    return (
        f"a circuit of {student.qubits} qubits for every input, simulated or on a device:"
        " the tensors alone are no model"
    )


@dataclass(frozen=True)
class Student:
    """A spec with the shape of one input (without the batch axis) and the number of outputs: all sizes.

    Raises:
        BadInput: more qubits than features, a front that no budget of this size pays for, a control that no
            width brings within 5 %, more classes than a read-out tells apart.
    """

    spec: StudentSpec
    inputs: tuple[int, ...]
    outputs: int

    def __post_init__(self) -> None:
        if self.outputs < 1 or not self.inputs or min(self.inputs) < 1:
            what = f"a student of inputs {list(self.inputs)} and {self.outputs} outputs cannot be"
            raise BadInput(what, "give data with an input and a target of at least one number each")
        self._check_features()
        if isinstance(self.spec, ClassicalSpec):
            self._check_control()

    @property
    def qubits(self) -> int:
        """How many qubits it has; a control counts as its hybrid."""
        return self.spec.like.qubits if isinstance(self.spec, ClassicalSpec) else self.spec.qubits

    @property
    def numbers(self) -> int:
        """How many numbers one input has."""
        return math.prod(self.inputs)

    @property
    def is_image(self) -> bool:
        """Whether an input is (channels, height, width)."""
        return len(self.inputs) == 3

    @property
    def shapes(self) -> Shapes:
        """Every tensor of the student's state dictionary, by name, in order; all float32 and trained."""
        if isinstance(self.spec, QnnSpec):
            scale: Shapes = {} if self.spec.encoding_name == AMPLITUDE else {"scale": (self.slots,)}
            shapes: Shapes = scale | {"circuit.theta": self.spec.circuit.angle_shape}
            if self.spec.readout == "probabilities":
                return shapes
            return shapes | _linear("head", self.spec.qubits, self.outputs)
        if isinstance(self.spec, HybridSpec):
            circuit: Shapes = {"circuit.theta": self.spec.circuit.angle_shape}
            head = _linear("head", self.spec.qubits, self.outputs)
            return self._front_shapes(self.front) | circuit | head
        dense = _linear("dense", self.qubits, self.width)
        return self._front_shapes(self.front) | dense | _linear("head", self.width, self.outputs)

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(map(math.prod, self.shapes.values()))

    @property
    def circuit_parameters(self) -> int:
        """How many of them are angles of the circuit."""
        return math.prod(self.shapes.get("circuit.theta", (0,)))

    @property
    def hybrid(self) -> HybridSpec:
        """The hybrid that it is, or is the control of."""
        assert not isinstance(self.spec, QnnSpec)
        return self.spec.like if isinstance(self.spec, ClassicalSpec) else self.spec

    @functools.cached_property
    def front(self) -> Front:
        """The largest front within the hybrid's budget. Raises `BadInput` when none is."""
        hybrid = self.hybrid
        left = hybrid.params - hybrid.circuit.angles - (hybrid.qubits + 1) * self.outputs
        conv = hybrid.front == "conv" or (hybrid.front == "auto" and self.is_image)
        found = families(self.inputs, conv)
        front = largest_front(found, self._front_count, left)
        if front is not None:
            return front
        smallest = min((self._front_count(family.at(0)) for family in found), default=0)
        raise BadInput(
            f"a student of {hybrid.params} numbers has no room for a front: circuit and head leave {left},"
            f" the smallest {'convolutional' if conv else 'linear'} front takes {smallest}",
            f"allow params={hybrid.params - left + smallest}, or fewer qubits",
        )

    @property
    def width(self) -> int:
        """The control's dense layer: the width whose count is nearest to the hybrid's."""
        n, total = self.qubits, Student(self.hybrid, self.inputs, self.outputs).parameters
        left = total - self._front_count(self.front) - self.outputs
        return max(1, round(left / (n + 1 + self.outputs)))

    @property
    def cells(self) -> tuple[int, ...]:
        """The grid that a qnn's input is averaged over: (rows, columns), or (runs,) of a vector."""
        assert isinstance(self.spec, QnnSpec)
        room = self.slots // (self.inputs[0] if self.is_image else 1)
        if not self.is_image:
            return (min(room, self.numbers),)
        return grid(self.inputs[1:], max(1, room))

    @property
    def slots(self) -> int:
        """How many numbers a qnn's circuit takes of a sample."""
        assert isinstance(self.spec, QnnSpec)
        once = self.spec.encoding_name == AMPLITUDE
        return self.spec.encoding.features * (1 if once else self.spec.layers)

    def _check_features(self) -> None:
        if self.numbers < self.qubits:
            raise BadInput(
                f"the student has {self.qubits} qubits and an input {self.numbers} features",
                f"use qubits={self.numbers} or fewer",
            )
        classes = isinstance(self.spec, QnnSpec) and self.spec.readout == "probabilities"
        if classes and not 2 <= self.outputs <= 2**self.qubits:
            raise BadInput(
                f"{self.qubits} qubits have {2**self.qubits} basis states for {self.outputs} classes",
                "use more qubits or readout=z",
            )
        if isinstance(self.spec, QnnSpec) and self.is_image and self.slots < self.inputs[0]:
            raise BadInput(
                f"an image of {self.inputs[0]} channels needs as many slots,"
                f" and the circuit has {self.slots}",
                "use more qubits or layers",
            )

    def _check_control(self) -> None:
        mine, total = self.parameters, Student(self.hybrid, self.inputs, self.outputs).parameters
        if abs(mine - total) > CONTROL_SHARE * total:
            raise BadInput(
                f"no dense layer brings the control within {CONTROL_SHARE:.0%} of the hybrid's {total}"
                f" numbers; the nearest has {mine}",
                "change params, reps or qubits",
            )

    def _front_shapes(self, front: Front) -> Shapes:
        n = self.qubits
        if front.kind == "linear":
            return _linear("front.mix", math.prod(front.grid) * self._channels, n)
        shapes: Shapes = {}
        before = self._channels
        for number, (width, kernel) in enumerate(zip(front.channels, front.kernels, strict=True)):
            shapes[f"front.conv{number}.weight"] = (width, before, kernel, kernel)
            shapes[f"front.conv{number}.bias"] = (width,)
            before = width
        shapes["front.spatial.weight"] = (before, 1, *front.sides[-1])
        shapes["front.spatial.bias"] = (before,)
        return shapes | _linear("front.mix", before, n)

    def _front_count(self, front: Front) -> int:
        return sum(map(math.prod, self._front_shapes(front).values()))

    @property
    def _channels(self) -> int:
        return self.inputs[0] if self.is_image else 1


def _linear(name: str, before: int, after: int) -> Shapes:
    return {f"{name}.weight": (after, before), f"{name}.bias": (after,)}
