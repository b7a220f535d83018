"""A budget turned into circuits and layers: the one planner behind `plan` and `compress`.

Given m weights and a budget of N trained numbers (or a ratio, or the bytes of the finished file):

    b circuits of n = ceil(log2(ceil(m / b))) qubits;   L = floor((N - mapping numbers) / (b n r))

Depth is worth more than copies (eight circuits of four layers lost two points to one of 24), so b is the
smallest count whose step stays under `WORK_LIMIT` amplitude updates, among those that fill their circuits
(b = ceil(m / 2**n) for each n); with a given `--circuits` it is that.

Of more than `LARGE_WEIGHTS` a step may take four times as much, since hundreds of circuits of one to three
layers learn far less for the same numbers. Where circuits are less deep than wide all the same, outcomes are
nearly a constant: seeded layers stand before the trained ones there, as many as are missing, and are run
once. So outcomes are spread as by chance from the start.

Changes of up to as many weights move their angles little, so that shallow circuits are enough, and many
learn faster: there b is the largest count whose circuits have as many layers as qubits, or nearly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from qtrain_cli.errors import BadInput, UsageError, suggestion
from qtrain_cli.methods.generator.sizes import check_work, most_angles, numbers_for_ratio, step_work
from qtrain_cli.methods.generator.spec import MAPPINGS, AngleCoding, GeneratorSpec, MappingSpec
from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS, MAX_OUTCOMES, MAX_QUBITS, CircuitSpec, qubits_for
from qtrain_cli.settings import BudgetSettings
from qtrain_cli.targets.entries import LayoutSpec

#: Amplitude updates of one pass, b * 2**n * L: some 0.3 s a training step on two cores.
WORK_LIMIT = 2**25
DEFAULT_RATIO = 10.0
MIN_QUBITS_OF_SEVERAL = 8
#: Above so many weights: the updates of a pass, and the share of the budget that is used at least.
LARGE_WEIGHTS, LARGE_WORK_LIMIT, USED = 2**21, 2**27, 0.9
#: Layers for each qubit, at least, of the circuits of changes.
LEAST_DEPTH = 0.8


def plan_generator(
    layout: LayoutSpec,
    budget: BudgetSettings,
    seed: int,
    file_bytes: Callable[[GeneratorSpec], int],
    change: bool = False,
) -> GeneratorSpec:
    """The generator that a budget buys.

    Args:
        layout: the model's tensors.
        budget: what the user asked for; no budget means a parameter ratio of 10.
        seed: of the angles' start.
        file_bytes: an upper bound of the finished artifact's size, for ``--bytes``.
        change: whether the tensors are changes to a base.

    Raises:
        UsageError: an unknown ansatz, entangler or mapping.
        BadInput: the budget does not buy one layer, or buys more than can be run; no weights, or too many.
    """
    _known(budget)
    if layout.generated < 1:
        raise BadInput("no weight is left to generate", "widen --targets or narrow --ignore")
    if layout.generated > MAX_OUTCOMES:
        raise BadInput(
            f"{layout.generated} weights are to be generated; allowed: {MAX_OUTCOMES}", "narrow --targets"
        )
    given = budget.circuits
    budget = replace(budget, angle_bits=budget.bits(change))
    counts = [given] if given else _candidate_counts(layout.generated)
    plans = [plan for count in counts if (plan := _with_circuits(layout, budget, seed, file_bytes, count))]
    if not plans:
        raise BadInput(*_too_small(layout, budget, seed, file_bytes))
    chosen = _chosen(plans, change)
    check_work(chosen)
    return chosen


def _chosen(plans: list[GeneratorSpec], change: bool) -> GeneratorSpec:
    """One of several, from few large circuits to many small ones."""
    if plans[0].layout.generated > LARGE_WEIGHTS:
        most = max(plan.trained_numbers for plan in plans)
        plans = [plan for plan in plans if plan.trained_numbers >= USED * most]
        affordable = [plan for plan in plans if step_work(plan) <= LARGE_WORK_LIMIT]
        return affordable[0] if affordable else min(plans, key=step_work)
    affordable = [plan for plan in plans if step_work(plan) <= WORK_LIMIT]
    deep = [plan for plan in affordable if _is_deep(plan)] if change else []
    return deep[-1] if deep else affordable[0] if affordable else plans[-1]


def _is_deep(plan: GeneratorSpec) -> bool:
    return plan.circuit.layers >= LEAST_DEPTH * plan.circuit.qubits


def _known(budget: BudgetSettings) -> None:
    tables: dict[str, Iterable[str]] = {"ansatz": ANSATZE, "entangler": ENTANGLERS, "mapping": MAPPINGS}
    for option, table in tables.items():
        value = getattr(budget, option)
        if value is not None and value not in table:
            raise UsageError(f"--{option} '{value}' does not exist", suggestion(value, table))
    allowed = ANSATZE[budget.ansatz].entanglers
    if budget.entangler not in (None, *allowed):
        raise UsageError(
            f"--entangler '{budget.entangler}' does not go with --ansatz {budget.ansatz}",
            suggestion(str(budget.entangler), allowed),
        )


def _candidate_counts(weights: int) -> list[int]:
    """From few large circuits to many small ones: for each number of qubits, as many as hold all weights."""
    largest = min(MAX_QUBITS, qubits_for(weights, 1))
    sizes = range(largest, min(largest, MIN_QUBITS_OF_SEVERAL) - 1, -1)
    return [-(-weights // 2**qubits) for qubits in sizes]


def said_of_faster(spec: GeneratorSpec) -> str:
    """How many circuits would make a step faster, where circuits are a good part of it; empty otherwise."""
    circuit, (_, trained, _, each) = spec.circuit, spec.trained_shape
    qubits = circuit.qubits - 1
    count = -(-spec.layout.generated // 2**qubits)
    layers = spec.trained_angles // (count * qubits * each)
    if step_work(spec) <= WORK_LIMIT or qubits < MIN_QUBITS_OF_SEVERAL or layers < 1:
        return ""
    times = step_work(spec) / (count * 2**qubits * layers)
    return (
        f"--circuits {count} would train {layers} layers of {qubits} qubits in place of {trained} of"
        f" {circuit.qubits}: the circuits' part of a step is {times:.1f} times faster then, and learns less"
    )


def _of_depth(
    layout: LayoutSpec, budget: BudgetSettings, seed: int, circuits: int, layers: int
) -> GeneratorSpec:
    """The generator of so many circuits with so many trained layers; where a large model's are less deep than
    wide, seeded ones stand before them."""
    entangler = budget.entangler or ANSATZE[budget.ansatz].entanglers[0]
    qubits = qubits_for(layout.generated, circuits)
    scrambled = layout.generated > LARGE_WEIGHTS and budget.layers is None
    missing = max(0, qubits - layers) if scrambled else 0
    seeded = missing if budget.seeded_layers is None else budget.seeded_layers
    circuit = CircuitSpec(
        budget.ansatz, entangler, qubits, layers + seeded, circuits, final_rotation=budget.final_rotation
    )
    mapping = MappingSpec(budget.mapping, MAPPINGS[budget.mapping].hidden)
    return GeneratorSpec(circuit, mapping, layout, AngleCoding(budget.bits(False), seed, seeded))


def _with_circuits(
    layout: LayoutSpec,
    budget: BudgetSettings,
    seed: int,
    file_bytes: Callable[[GeneratorSpec], int],
    circuits: int,
) -> GeneratorSpec | None:
    """The deepest generator of so many circuits within the budget; None when not even one layer fits."""
    of_depth = partial(_of_depth, layout, budget, seed, circuits)
    one = of_depth(1)
    if budget.layers is not None:
        return of_depth(int(budget.layers))
    if budget.bytes is not None:
        most = most_angles(one.angles) // one.trained_angles
        return _deepest(of_depth, most, lambda plan: file_bytes(plan) <= int(budget.bytes or 0))
    layers = (_numbers(layout, budget) - one.mapping_numbers) // one.trained_angles
    return of_depth(layers) if layers >= 1 else None


def _numbers(layout: LayoutSpec, budget: BudgetSettings) -> int:
    if budget.params is not None:
        return budget.params
    return numbers_for_ratio(layout, budget.ratio or DEFAULT_RATIO)


def _deepest(
    of_depth: Callable[[int], GeneratorSpec], most: int, fits: Callable[[GeneratorSpec], bool]
) -> GeneratorSpec | None:
    """The largest depth up to `most` that fits, by doubling and bisection; sizes grow with depth."""
    if not fits(of_depth(1)):
        return None
    low, high = 1, 2
    while high <= most and fits(of_depth(high)):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(of_depth(middle)) else (low, middle)
    return of_depth(low)


def _too_small(
    layout: LayoutSpec, budget: BudgetSettings, seed: int, file_bytes: Callable[[GeneratorSpec], int]
) -> tuple[str, str]:
    """What was asked and what the smallest generator would need."""
    count = budget.circuits or _candidate_counts(layout.generated)[0]
    smallest = BudgetSettings(
        layers=1, ansatz=budget.ansatz, entangler=budget.entangler, mapping=budget.mapping,
        circuits=count, angle_bits=budget.angle_bits, final_rotation=budget.final_rotation,
        seeded_layers=budget.seeded_layers,
    )  # fmt: skip
    spec = plan_generator(layout, smallest, seed, file_bytes)
    if budget.bytes is not None:
        return (
            f"--bytes {budget.bytes} is too small for this model; one layer takes {file_bytes(spec)} bytes",
            "raise --bytes, add --bare, or name fewer tensors with --targets",
        )
    return (
        f"a budget of {_numbers(layout, budget)} numbers does not buy one layer;"
        f" one layer of {count} circuit(s) takes {spec.trained_numbers}",
        "raise --params, lower --ratio, or use fewer --circuits",
    )
