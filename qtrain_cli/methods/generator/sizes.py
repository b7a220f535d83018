"""What a generator counts and costs: its bytes in a file, its work. Standard library only.

trained numbers   angles + mapping numbers                         (spec.GeneratorSpec.trained_numbers)
parameter ratio   (generated + kept) / (trained numbers + kept)    (results.ratios)
"""

from __future__ import annotations

import math
from fractions import Fraction

from qtrain_cli.errors import BadInput
from qtrain_cli.files.message import message_bytes
from qtrain_cli.methods.generator.spec import RAW_BITS, AngleCoding, GeneratorSpec
from qtrain_cli.quantum.circuit import MAX_ANGLES
from qtrain_cli.targets.entries import LayoutSpec

#: Before the codes' message: the step (float32), lowest and highest code, spread.
ANGLES_HEAD_BYTES = 4 + 2 + 2 + 1
#: The most angles that are coded; more would take minutes to decode, however few bytes they have.
MAX_CODED_ANGLES = 2**22
#: The most amplitude updates of one pass, b * 2**n * L: some minutes in float64 on one core.
MAX_WORK = 2**36


def mapping_bytes(spec: GeneratorSpec) -> int:
    """Bytes that the mapping's numbers take in an artifact: float16, or float32 beside raw angles."""
    return (4 if spec.angles.bits == RAW_BITS else 2) * spec.mapping_numbers


def angle_bytes(spec: GeneratorSpec) -> int:
    """Bytes that the angles take in an artifact at most: their codes' message, or float32."""
    if spec.angles.bits == RAW_BITS:
        return 4 * spec.trained_angles
    return ANGLES_HEAD_BYTES + message_bytes(spec.trained_angles, spec.angles.bits)


def numbers_for_ratio(layout: LayoutSpec, ratio: float) -> int:
    """The most trained numbers whose parameter ratio is at least `ratio`; may be negative."""
    return math.floor((layout.generated + layout.kept) / Fraction(ratio)) - layout.kept


def step_work(spec: GeneratorSpec) -> int:
    """Amplitude updates of a pass through trained layers, ``b * 2**n * L``: what a training step costs."""
    return spec.circuit.outcomes * (spec.circuit.layers - spec.angles.seeded)


def most_angles(coding: AngleCoding) -> int:
    """How many angles may be stored so."""
    return MAX_ANGLES if coding.bits == RAW_BITS else MAX_CODED_ANGLES


def check_work(spec: GeneratorSpec) -> None:
    """Raises `BadInput` for what takes longer than minutes to regenerate; a small file can ask for it."""
    work = spec.circuit.outcomes * spec.circuit.layers
    if work > MAX_WORK:
        raise BadInput(
            f"one pass through the circuits takes {work} steps; allowed: {MAX_WORK}",
            "use more --circuits or a smaller budget",
        )
    if spec.trained_angles > most_angles(spec.angles):
        raise BadInput(
            f"{spec.trained_angles} angles are coded; allowed: {most_angles(spec.angles)}",
            "use --angle-bits 32 or a smaller budget",
        )
    if spec.angles.seeded and spec.circuit.angles > MAX_CODED_ANGLES:
        raise BadInput(
            f"with the seeded ones there are {spec.circuit.angles} angles; allowed: {MAX_CODED_ANGLES}",
            "use fewer --seeded-layers",
        )
