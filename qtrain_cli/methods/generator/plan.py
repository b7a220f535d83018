"""A generator's spec as the plain data that a file holds, and back; the layout stands beside it. No torch.

{"circuit": [ansatz, entangler, n, L, b (, 1: final rotation)], "mapping": [kind, hidden], "angles": [bits,
seed (, seeded layers)]}
"""

from __future__ import annotations

import reprlib
from typing import Any

from qtrain_cli.errors import BadInput
from qtrain_cli.methods.forms import Form, Forms, Plan
from qtrain_cli.methods.generator.spec import RAW_BITS, AngleCoding, GeneratorSpec, MappingSpec
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.targets.entries import LayoutSpec

#: The two groups of a generator: the mapping's numbers (k,) and the circuits' trained angles in radians.
MAPPING, ANGLES = "mapping", "angles"


def plan_of(spec: GeneratorSpec) -> Plan:
    """The inverse of `spec_of`."""
    circuit, coding = spec.circuit, spec.angles
    sizes = [circuit.qubits, circuit.layers, circuit.circuits]
    return {
        "circuit": [circuit.ansatz, circuit.entangler, *sizes, *([1] if circuit.final_rotation else [])],
        "mapping": [spec.mapping.kind, spec.mapping.hidden],
        "angles": [coding.bits, coding.start_seed, *([coding.seeded] if coding.seeded else [])],
    }


def spec_of(layout: LayoutSpec, plan: Any) -> GeneratorSpec:
    """The spec that a plan of any origin stands for.

    Raises:
        BadInput: what cannot be. LookupError, TypeError, ValueError and the like: values of a wrong kind.
    """
    ansatz, entangler, qubits, layers, circuits, *final = plan["circuit"]
    bits, seed, *seeded = plan["angles"]
    kind, hidden = plan["mapping"]
    if not all(type(size) is int for size in (qubits, layers, circuits, *final, bits, seed, *seeded, hidden)):
        raise BadInput("a size in its generator is not a whole number")
    if final not in ([], [1]):
        raise BadInput(f"its circuit ends in {reprlib.repr(final)}; allowed: nothing, or 1")
    if seeded and (len(seeded) > 1 or seeded[0] < 1):
        raise BadInput(f"its angles end in {reprlib.repr(seeded)}; allowed: nothing, or 1 and more layers")
    return GeneratorSpec(
        CircuitSpec(ansatz, entangler, qubits, layers, circuits, final_rotation=bool(final)),
        MappingSpec(kind, hidden),
        layout,
        AngleCoding(bits, seed, *seeded),
    )


def forms(layout: LayoutSpec, plan: Plan) -> Forms:
    """Both groups: the mapping in half precision and coded angles, or both as float32."""
    spec = spec_of(layout, plan)
    raw = spec.angles.bits == RAW_BITS
    return {
        MAPPING: Form((spec.mapping_numbers,), "F32" if raw else "F16", coded=False),
        ANGLES: Form(spec.trained_shape, "F32", coded=not raw, bits=0 if raw else spec.angles.bits),
    }
