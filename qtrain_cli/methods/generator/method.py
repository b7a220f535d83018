"""Ours as a row of the table: circuits and a mapping in the place of a rival's numbers.

    numbers     angles (b, L, n, r) in radians, mapping (k,)                  decode: `Generator`
    grid        whole steps of the angles' movement away from their start (`angles`); the mapping is none

The step is fitted anew at the beginning of every epoch that has the rounding in the loop, with some room,
because what fits into so many bits changes as the angles move, and once more before a state is scored, if the
codes no longer fit: whatever validation chooses can be stored as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qtrain_cli.methods.forms import Forms, Plan
from qtrain_cli.methods.generator import angles
from qtrain_cli.methods.generator.generator import Generator, Simulate
from qtrain_cli.methods.generator.mapping import start_numbers
from qtrain_cli.methods.generator.plan import ANGLES, MAPPING, forms, plan_of, spec_of
from qtrain_cli.methods.generator.planning import plan_generator
from qtrain_cli.methods.generator.portable_mapping import mapped_portably
from qtrain_cli.methods.generator.sizes import angle_bytes, mapping_bytes, most_angles
from qtrain_cli.methods.generator.spec import RAW_BITS, GeneratorSpec
from qtrain_cli.methods.grids import Steps
from qtrain_cli.methods.method import FileBytes, Grid, Method, Numbers, Scene
from qtrain_cli.methods.regenerated import Groups, scaled_in_place
from qtrain_cli.portable.kernel import Floats
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.portable_circuit import probabilities_in_parts
from qtrain_cli.quantum.statevector import probabilities
from qtrain_cli.settings import BudgetSettings
from qtrain_cli.targets.entries import LayoutSpec

#: From this share of the epochs on angles are rounded; the first epoch never is.
ROUND_FROM = 0.8
#: Outcomes of circuits that are regenerated together: whole blocks of any mapping (`portable_mapping`).
_PART = 2**18
#: Parts that are in the making at once, at most.
_THREADS = 2
#: Room that a step fitted at an epoch's beginning leaves for the epoch's movement.
_ROOM = 0.985


class Weights:
    """Numbers to tensors by one generator; `run` measures circuits in place of the engine.

    What the engine makes of the start that `origin` gives is kept: of a change it is asked for every step.
    """

    def __init__(self, layout: LayoutSpec, plan: Plan, device: torch.device, dtype: torch.dtype) -> None:
        self.plan, self.generator = plan, Generator(spec_of(layout, plan), device, dtype)
        self._at_start: Tensor | None = None

    def __call__(self, numbers: Numbers, run: Simulate = probabilities) -> dict[str, Tensor]:
        """The generated tensors by name."""
        theta = numbers[ANGLES]
        if run is not probabilities or theta is not _still(self.plan, theta):
            return self.generator.tensors(theta, numbers[MAPPING], run)
        if self._at_start is None:
            with torch.no_grad():
                self._at_start = self.generator.all_probabilities(theta)
        return self.generator.tensors_of(self._at_start, numbers[MAPPING])


def start(scene: Scene, plan: Plan) -> dict[str, Tensor]:
    """Angles from the file's own stream, the mapping's numbers from the seed."""
    spec = spec_of(scene.layout, plan)
    begin = angles.start_angles(spec.circuit, spec.angles.start_seed).float()
    return {
        ANGLES: begin[:, spec.angles.seeded :],
        MAPPING: start_numbers(spec, torch.Generator().manual_seed(scene.seed)),
    }


def decode(layout: LayoutSpec, plan: Plan, device: torch.device) -> Weights:
    return Weights(layout, plan, device, torch.float32)


def exact(layout: LayoutSpec, plan: Plan, device: torch.device) -> Weights:
    """Float64, from the float64 numbers of a file: as files of former formats were hashed."""
    return Weights(layout, plan, device, torch.float64)


def portable(layout: LayoutSpec, plan: Plan, numbers: Groups) -> Floats:
    """From angles and mapping numbers in float64, to the same bits everywhere."""
    spec = spec_of(layout, plan)
    (weights,) = _made(spec, numbers, spec.circuit.circuits)
    return weights


def parts(layout: LayoutSpec, plan: Plan, numbers: Groups) -> Iterator[Floats]:
    """The same weights circuit by circuit, of small ones many at a time."""
    spec = spec_of(layout, plan)
    together = max(1, _PART >> spec.circuit.qubits) if spec.mapping.row.local else spec.circuit.circuits
    return _made(spec, numbers, together, min(_THREADS, torch.get_num_threads()))


def _made(spec: GeneratorSpec, numbers: Groups, together: int, threads: int = 1) -> Iterator[Floats]:
    """The weights of so many circuits at a time."""
    first, layout = 0, spec.layout
    for p in probabilities_in_parts(spec.circuit, _whole(spec, numbers[ANGLES]), together, threads):
        z = p.reshape(-1)[: layout.generated - first]
        z *= 2.0**spec.circuit.qubits
        z -= 1.0
        u = mapped_portably(spec, numbers[MAPPING], z, first)
        yield scaled_in_place(layout, u, first) if spec.mapping.row.scaled else u
        first += z.size
        del p, z, u  # the next part is made without it in memory


def _whole(spec: GeneratorSpec, trained: Floats) -> Floats:
    """The angles of all layers, float64 (b, L, n, r)."""
    if not spec.angles.seeded:
        return trained
    start = angles.start_angles(spec.circuit, spec.angles.start_seed).numpy()
    return np.concatenate((start[:, : spec.angles.seeded], trained), axis=1)


def largest(scene: Scene) -> int:
    """As many layers as may be stored at all, of one circuit."""
    one = spec_of(scene.layout, plan(scene, 1))
    return most_angles(one.angles) // one.trained_angles


def plan(scene: Scene, size: int) -> Plan:
    """`size` layers, everything else by default."""
    wanted = BudgetSettings(layers=size)
    return plan_of(plan_generator(scene.layout, wanted, scene.seed, lambda spec: 0))


def planned(scene: Scene, width: int, budget: int, file_bytes: FileBytes) -> Plan:
    """What `compress --bytes --bare` would train. Raises `BadInput` where not one layer fits."""
    wanted = BudgetSettings(bytes=budget, angle_bits=width, bare=True)
    spec = plan_generator(
        scene.layout, wanted, scene.seed, lambda one: file_bytes(plan_of(one)), bool(scene.ground)
    )
    return plan_of(spec)


def bits(scene: Scene, plan: Plan, forms: Forms, width: float) -> float:
    """What angles and mapping take at most; the plan has its own width."""
    spec = spec_of(scene.layout, plan)
    return 8 * (mapping_bytes(spec) + angle_bytes(spec))


def first(plan: Plan, epochs: int) -> int:
    return epochs if plan["angles"][0] == RAW_BITS else max(1, round(ROUND_FROM * epochs))


def fit(plan: Plan, numbers: Numbers, most_bits: float) -> Steps:
    """One step for all circuits; raw angles have none."""
    width = plan["angles"][0]
    if width == RAW_BITS:
        return {}
    return {ANGLES: angles.finest_step(_moved(plan, numbers[ANGLES].cpu()), _ROOM * width)}


def settle(plan: Plan, numbers: Numbers, steps: Steps, most_bits: float) -> Steps:
    """The step itself where the codes fit, else the finest that fits."""
    width = plan["angles"][0]
    if width == RAW_BITS:
        return {}
    moved = _moved(plan, numbers[ANGLES].cpu())
    step = steps.get(ANGLES, 0.0)
    if step and angles.angles_fit(angles.angle_codes(moved, step).flatten().numpy(), width):
        return steps
    return {ANGLES: angles.finest_step(moved, width)}


def coded(plan: Plan, name: str, numbers: Tensor, step: float) -> Tensor:
    return angles.angle_codes(_moved(plan, numbers), step)


def decoded(plan: Plan, name: str, codes: Tensor, step: float) -> Tensor:
    """Float64, where the codes lie."""
    return angles.coded_angles(codes, step, _begin(plan, codes.device))


def _moved(plan: Plan, theta: Tensor) -> Tensor:
    """How far angles are from their start, in radians, float64, where they lie."""
    return angles.movement(theta.detach(), _begin(plan, theta.device))


def _begin(plan: Plan, device: torch.device) -> Tensor:
    circuit, coding = tuple(plan["circuit"]), tuple(plan["angles"][1:])
    if device.type == "cpu":
        return _started(circuit, coding)
    return _started_as(circuit, coding, torch.float64, device)


def _still(plan: Plan, like: Tensor) -> Tensor:
    """The start as angles of this kind: one and the same tensor each time."""
    return _started_as(tuple(plan["circuit"]), tuple(plan["angles"][1:]), like.dtype, like.device)


@functools.lru_cache(maxsize=4)
def _started_as(
    circuit: tuple[Any, ...], coding: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    return _started(circuit, coding).to(device, dtype, copy=True)


@functools.lru_cache(maxsize=4)
def _started(circuit: tuple[Any, ...], coding: tuple[int, ...]) -> Tensor:
    """The seeded start of the trained angles, float64; kept for the next step: not to be changed in place."""
    ansatz, entangler, qubits, layers, circuits, *final = circuit
    whole = CircuitSpec(ansatz, entangler, qubits, layers, circuits, final_rotation=bool(final))
    seed, seeded = [*coding, 0][:2]
    return angles.start_angles(whole, seed)[:, seeded:]


def origin(plan: Plan, numbers: Numbers) -> Numbers:
    """The angles at their start; the mapping is no part of a movement."""
    return {ANGLES: _still(plan, numbers[ANGLES]), MAPPING: numbers[MAPPING]}


METHOD = Method(
    largest=largest, plan=plan, forms=forms, start=start, decode=decode, portable=portable,
    exact=exact, bits=bits, planned=planned, grid=Grid(first, fit, settle, coded, decoded), whitened=True,
    origin=origin, parts=parts,
)  # fmt: skip
