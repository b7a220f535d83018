"""What counts as a parameter, a byte, a ratio: the only definitions in this project. Standard library only.

    trained numbers   angles + mapping numbers                         (spec.GeneratorSpec.trained_numbers)
    artifact bytes    the whole file, header included
    model bytes       the model's tensors, each once, floats as float32, as one safetensors file
    bytes ratio       model bytes / artifact bytes
    parameter ratio   (generated + kept) / (trained numbers + kept)

Kept tensors and buffers count on both sides of both ratios.
"""

from __future__ import annotations

import json
import math
from fractions import Fraction

from qtrain_cli.errors import BadInput
from qtrain_cli.quantum.circuit import MAX_ANGLES
from qtrain_cli.spec import (
    DTYPE_BYTES,
    FLOAT_DTYPES,
    RAW_BITS,
    TIED,
    AngleCoding,
    GeneratorSpec,
    LayoutSpec,
    TensorEntry,
)  # fmt: skip

#: The order in which safetensors writes dtypes; offsets, and so the digits of the header, follow from it.
_WRITTEN = ("I64", "F32", "I32", "I16", "I8", "U8", "BOOL")
#: Before the codes' message: the step (float32), lowest and highest code, spread.
ANGLES_HEAD_BYTES = 4 + 2 + 2 + 1
#: Bytes by which an arithmetic coder's message may exceed the bits of its numbers.
MESSAGE_SLACK = 4
#: The most angles that are coded; more would take minutes to decode, however few bytes they have.
MAX_CODED_ANGLES = 2**22
#: The most amplitude updates of one pass, b * 2**n * L: some minutes in float64 on one core.
MAX_WORK = 2**36


def model_bytes(layout: LayoutSpec) -> int:
    """Size in bytes of the float32 safetensors file that holds the same tensors (tied ones once)."""
    table: dict[str, dict[str, object]] = {}
    end = 0
    own = [(_float32(entry), entry) for entry in layout.entries if entry.role != TIED]
    for dtype, entry in sorted(own, key=lambda pair: (_WRITTEN.index(pair[0]), pair[1].name)):
        first, end = end, end + entry.count * DTYPE_BYTES[dtype]
        table[entry.name] = {"dtype": dtype, "shape": list(entry.shape), "data_offsets": [first, end]}
    header = len(json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode())
    return 8 + -(-header // 8) * 8 + end


def _float32(entry: TensorEntry) -> str:
    return "F32" if entry.dtype in FLOAT_DTYPES else entry.dtype


def mapping_bytes(spec: GeneratorSpec) -> int:
    """Bytes that the mapping's numbers take in an artifact: float16, or float32 beside raw angles."""
    return (4 if spec.angles.bits == RAW_BITS else 2) * spec.mapping_numbers


def angle_bytes(spec: GeneratorSpec) -> int:
    """Bytes that the angles take in an artifact at most: their codes' message, or float32."""
    if spec.angles.bits == RAW_BITS:
        return 4 * spec.circuit.angles
    return ANGLES_HEAD_BYTES + message_bytes(spec.circuit.angles, spec.angles.bits)


def message_bytes(count: int, bits: int) -> int:
    """The longest message of so many codes with so many bits each on the average, its end included."""
    return -(-count * bits // 8) + MESSAGE_SLACK


def bytes_ratio(model: int, artifact: int) -> float:
    """How many times smaller the whole file is than the model's tensors in float32."""
    return model / artifact


def parameter_ratio(weights: int, kept: int, trained: int) -> float:
    """Numbers in the model over numbers in the artifact; kept ones count on both sides."""
    return (weights + kept) / (trained + kept)


def numbers_for_ratio(layout: LayoutSpec, ratio: float) -> int:
    """The most trained numbers whose parameter ratio is at least `ratio`; may be negative."""
    return math.floor((layout.generated + layout.kept) / Fraction(ratio)) - layout.kept


def step_work(spec: GeneratorSpec) -> int:
    """Amplitude updates of one pass through all circuits: ``b * 2**n * L``, what a training step costs."""
    return spec.circuit.outcomes * spec.circuit.layers


def most_angles(coding: AngleCoding) -> int:
    """How many angles may be stored so."""
    return MAX_ANGLES if coding.bits == RAW_BITS else MAX_CODED_ANGLES


def check_work(spec: GeneratorSpec) -> None:
    """Raises `BadInput` for what takes longer than minutes to regenerate; a small file can ask for it."""
    if step_work(spec) > MAX_WORK:
        raise BadInput(
            f"one pass through the circuits takes {step_work(spec)} steps; allowed: {MAX_WORK}",
            "use more --circuits or a smaller budget",
        )
    if spec.circuit.angles > most_angles(spec.angles):
        raise BadInput(
            f"{spec.circuit.angles} angles are coded; allowed: {most_angles(spec.angles)}",
            "use --angle-bits 32 or a smaller budget",
        )
