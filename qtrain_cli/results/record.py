"""A whole record: design, measurement and file, as one flat JSON object, and back.

The functions at the end are those that a student's record (`students`) is written and read with too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from qtrain_cli.errors import BadInput
from qtrain_cli.results.measured import Measured
from qtrain_cli.results.ratios import bytes_ratio as bytes_ratio_of
from qtrain_cli.results.ratios import parameter_ratio as parameter_ratio_of
from qtrain_cli.results.schema import (
    SCHEMA,
    check_derived,
    check_digest,
    check_whole,
    checked_document,
    record_fields,
    task_of_fields,
)
from qtrain_cli.results.scores import Scores
from qtrain_cli.tasks import Task
from qtrain_cli.tasks.task import seven_digits


@dataclass(frozen=True)
class Design:
    """What was built, as the artifact's own spec says it.

    `weights` are generated, `kept_weights` stored as they are; `model_bytes` is the size of the same tensors
    as a float32 safetensors file. `kept_tensors` says of each tensor, or row, how it is kept where it is not
    simply stored. A file of changes to a base has the last five: how it changes it, what it is called, the
    digest of its tensors, the bytes of the same fine-tune in float32, and how many numbers an ordinary LoRA
    of that rank has.

    Raises `BadInput` for counts that cannot be.
    """

    weights: int
    kept_weights: int
    qubits: int
    layers: int
    circuits: int
    ansatz: str
    mapping: str
    angle_bits: int
    trained_numbers: int
    model_bytes: int
    kept_tensors: dict[str, str] = field(default_factory=dict)
    target: str | None = None
    base: str | None = None
    base_sha256: str | None = None
    finetune_bytes: int | None = None
    lora_numbers: int | None = None
    seeded_layers: int = 0

    def __post_init__(self) -> None:
        for name in (
            "weights",
            "qubits",
            "layers",
            "circuits",
            "angle_bits",
            "trained_numbers",
            "model_bytes",
        ):
            check_whole(name, getattr(self, name), least=1)
        for name in ("kept_weights", "seeded_layers"):
            check_whole(name, getattr(self, name), least=0)
        if self.base_sha256 is not None:
            check_digest("base_sha256", self.base_sha256)

    @property
    def parameter_ratio(self) -> float:
        """Numbers in the model over numbers in the artifact; kept ones count on both sides."""
        return parameter_ratio_of(self.weights, self.kept_weights, self.trained_numbers)

    @property
    def lora_bytes(self) -> tuple[int, int] | None:
        """Of a LoRA of the same rank, in float16 and in 4 bits; None of what no LoRA could be."""
        numbers = self.lora_numbers
        return (2 * numbers, -(-numbers // 2)) if numbers else None

    def bytes_ratio(self, artifact_bytes: int) -> float:
        """How many times smaller a file of so many bytes is than the model's tensors in float32."""
        return bytes_ratio_of(self.model_bytes, artifact_bytes)


@dataclass(frozen=True)
class Record:
    """All that is known of one artifact. `seconds` is known to `compress` only: no clock goes into a file.

    Raises:
        BadInput: an empty file, a digest that is none, a negative time.
    """

    design: Design
    measured: Measured
    artifact_bytes: int
    artifact_sha256: str
    seconds: float | None = None

    def __post_init__(self) -> None:
        check_file(self)

    @property
    def scores(self) -> Scores:
        """The task's figures."""
        return self.measured.scores

    @property
    def bytes_ratio(self) -> float:
        """How many times smaller the whole file is than the model's tensors in float32."""
        return self.design.bytes_ratio(self.artifact_bytes)

    @property
    def parameter_ratio(self) -> float:
        """Numbers in the model over numbers in the artifact; kept ones count on both sides."""
        return self.design.parameter_ratio

    def to_json(self) -> dict[str, Any]:
        """The flat object ``qtrain.report/1``, its fields in the order of the contract."""
        values = {**values_of(self), "schema": SCHEMA}
        return {name: values[name] for name in record_fields(self.scores.row)}

    @classmethod
    def from_json(cls, document: Any) -> Record:
        """The inverse of `to_json`, from parsed JSON of any origin.

        Raises:
            BadInput: another schema, an unknown or missing field, a value of the wrong type or range, or a
                derived figure that does not follow from the others.
        """
        given = read_values(document, record_fields, SCHEMA)
        record = cls(
            Design(**own(Design, given)),
            Measured(**own(Measured, given)),
            given["artifact_bytes"],
            given["artifact_sha256"],
            given["seconds"],
        )
        check_derived(record.to_json(), given)
        return record


@dataclass(frozen=True)
class GateResult:
    """One demand on a record: its option's name, the limit, the value that was found, and a sentence."""

    name: str
    passed: bool
    limit: float
    value: float
    message: str


class Finished(Protocol):
    """What a record of any kind has: a design, what was measured, and the file."""

    @property
    def design(self) -> Any: ...
    @property
    def measured(self) -> Measured: ...
    @property
    def scores(self) -> Scores: ...
    @property
    def artifact_bytes(self) -> int: ...
    @property
    def artifact_sha256(self) -> str: ...
    @property
    def seconds(self) -> float | None: ...
    @property
    def bytes_ratio(self) -> float | None: ...
    @property
    def parameter_ratio(self) -> float | None: ...


def check_file(record: Finished) -> None:
    """Raises `BadInput` for an empty file, a digest that is none, a negative time."""
    check_whole("artifact_bytes", record.artifact_bytes, least=1)
    check_digest("artifact_sha256", record.artifact_sha256)
    if record.seconds is not None and not 0 <= record.seconds < math.inf:
        raise BadInput(f"seconds is {record.seconds}; allowed: 0 or more")


def values_of(record: Finished) -> dict[str, Any]:
    """What every record's JSON has, by name and in no order; the design's own fields are among it."""
    return {
        **vars(record.design),
        **vars(record.measured),
        **record.scores.to_json(),
        "artifact_bytes": record.artifact_bytes,
        "artifact_sha256": record.artifact_sha256,
        "bytes_ratio": seven_digits(record.bytes_ratio),
        "parameter_ratio": seven_digits(record.parameter_ratio),
        "processes": record.measured.processes,
        "generalization_gap": record.measured.generalization_gap,
        "seconds": seven_digits(record.seconds),
    }


def read_values(document: Any, fields_of: Callable[[Task], Mapping[str, str]], schema: str) -> dict[str, Any]:
    """The checked fields of a document, from parsed JSON of any origin, and `scores` made of them.

    Raises:
        BadInput: it has not exactly the fields that `fields_of` its task says, each of its kind.
    """
    task = task_of_fields(document if isinstance(document, dict) else {})
    given = checked_document(document, fields_of(task), schema)
    return {**given, "scores": Scores.from_json(task, given)}


def own(part: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of these values, those that are fields of a record's part; a student's has no note."""
    return {field.name: values.get(field.name) for field in fields(part)}
