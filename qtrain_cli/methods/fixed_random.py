"""Our own mapping with a fixed random vector in place of the circuit.

    w = centre + scale * mapping(z, bits)        z (m,) seeded and fixed, distributed as real amplitudes' z is

With the circuit gone there are no angles: what is trained is the mapping's numbers, and so the mapping is the
richest of ours, an MLP, with as many hidden units as ours' count buys. Stored is their movement from a
seeded start. z = g**2 - 1, g normal: what a scrambled real state has (Porter and Thomas 1956).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from qtrain_cli.methods.forms import Form, Forms, Plan
from qtrain_cli.methods.generator.mapping import START_GAIN, Positions, apply_mapping
from qtrain_cli.methods.generator.portable_mapping import mapped_portably
from qtrain_cli.methods.generator.spec import MAX_BIT_ELEMENTS, MAX_HIDDEN, GeneratorSpec, MappingSpec
from qtrain_cli.methods.method import Decode, Method, Numbers, Scene, scales_of
from qtrain_cli.methods.regenerated import Groups, scaled_in_place
from qtrain_cli.methods.seeded import seeded_floats, uniform
from qtrain_cli.portable.kernel import Floats
from qtrain_cli.quantum.circuit import CircuitSpec, qubits_for
from qtrain_cli.targets.entries import LayoutSpec
from qtrain_cli.targets.layout import split


def largest(scene: Scene) -> int:
    """Numbers of the widest MLP that a mapping may have."""
    hidden = min(MAX_HIDDEN, MAX_BIT_ELEMENTS // scene.layout.generated - 32, scene.layout.generated)
    return _spec(scene.layout, max(1, hidden)).mapping_numbers


def plan(scene: Scene, size: int) -> Plan:
    """As many hidden units as `size` numbers buy, at least one."""
    one, two = (_spec(scene.layout, hidden).mapping_numbers for hidden in (1, 2))
    return {"hidden": max(1, 1 + (size - one) // (two - one)), "seed": scene.seed}


def forms(layout: LayoutSpec, plan: Plan) -> Forms:
    return {"numbers": Form((_spec(layout, plan["hidden"]).mapping_numbers,))}


def start(scene: Scene, plan: Plan) -> dict[str, Tensor]:
    return {name: torch.zeros(form.shape) for name, form in forms(scene.layout, plan).items()}


def decode(layout: LayoutSpec, plan: Plan, device: torch.device) -> Decode:
    spec = _spec(layout, plan["hidden"])
    scale, centre = scales_of(layout, device)
    positions = Positions.of(spec, device, torch.float32)
    z = _fixed(plan["seed"], layout.generated).to(device)
    begin = _begin(spec, plan["seed"]).to(device)

    def weights(numbers: Numbers) -> dict[str, Tensor]:
        mapped = apply_mapping(spec, begin + numbers["numbers"], z, positions)  # (m,)
        return split(layout, centre + scale * mapped)

    return weights


def _spec(layout: LayoutSpec, hidden: int) -> GeneratorSpec:
    """The mapping's spec; its circuit only says how many position bits there are."""
    circuit = CircuitSpec("real-amplitudes", "cnot-ring", qubits_for(layout.generated, 1), 1)
    return GeneratorSpec(circuit, MappingSpec("mlp", hidden), layout)


def _fixed(seed: int, m: int) -> Tensor:
    """g**2 - 1 over a normal g, by the sum of twelve uniform numbers."""
    normal = uniform(seed, 0, 12, m).sum(0) / math.sqrt(12)
    return normal.square() - 1


def _begin(spec: GeneratorSpec, seed: int) -> Tensor:
    """The seeded start, at the sizes of `mapping.start_numbers`; a gain of 1.22 for var(z) = 2."""
    numbers = uniform(seed, 1, spec.mapping_numbers) / spec.position_bits**0.5
    numbers[-spec.mapping.hidden :] *= 0.1
    numbers[:2] = torch.tensor([START_GAIN / math.sqrt(2), 0.0])
    return numbers


def portable(layout: LayoutSpec, plan: Plan, numbers: Groups) -> Floats:
    spec, seed = _spec(layout, plan["hidden"]), plan["seed"]
    m, count = layout.generated, spec.mapping_numbers
    normal = np.zeros(m)
    for row in range(12):
        normal += seeded_floats(seed, 0, m, row * m)
    normal /= math.sqrt(12)
    begin = seeded_floats(seed, 1, count) / math.sqrt(spec.position_bits)
    begin[-spec.mapping.hidden :] *= 0.1
    begin[:2] = START_GAIN / math.sqrt(2), 0.0
    return scaled_in_place(layout, mapped_portably(spec, begin + numbers["numbers"], normal * normal - 1.0))


METHOD = Method(
    largest=largest, plan=plan, forms=forms, start=start, decode=decode, portable=portable, whitened=True,
)  # fmt: skip
