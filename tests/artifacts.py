"""Files for tests: layouts, specs and stored numbers, fixed ones and as Hypothesis strategies; rivals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from hypothesis import strategies as st
from torch import Tensor

from qtrain_cli.artifact.description import Description, Example, Origin
from qtrain_cli.artifact.numbers import Artifact, Coded, Group, StoredNumbers
from qtrain_cli.methods.generator.angles import angle_codes, finest_step
from qtrain_cli.methods.generator.plan import ANGLES, MAPPING, plan_of
from qtrain_cli.methods.generator.spec import MAPPINGS, RAW_BITS, AngleCoding, GeneratorSpec, MappingSpec
from qtrain_cli.methods.table import OURS, method_of, serving
from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS, CircuitSpec, qubits_for
from qtrain_cli.results import Measured, Scores
from qtrain_cli.runs.grounds import BaseModel, ground_of_file
from qtrain_cli.runs.regenerate import digest_of, generated
from qtrain_cli.targets.change import DELTA, FACTORED, XS, Base, Change, factor_of, parse_target
from qtrain_cli.targets.entries import (
    DTYPE_BYTES,
    FLOAT_DTYPES,
    GENERATED,
    KEPT,
    TIED,
    LayoutSpec,
    TensorEntry,
)
from qtrain_cli.targets.layout import DTYPES, join

#: Fixed, so that bytes do not depend on what is installed.
MEASURED = Measured(
    model="tiny.pt",
    scores=Scores("classification", 0.9791, 0.9755, 0.9746, 10_000, 0.9872, 0.9785),
    train_loss=0.0712,
    test_loss=0.0912,
    epochs=10,
    seed=0,
    device="cpu",
    versions={"qtrain": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6", "python": "3.11.7"},
    data_sha256="d" * 64,
    model_sha256="e" * 64,
    trust="weights-only",
)

#: One tensor of every role, 19 generated weights.
LAYOUT = LayoutSpec(
    (
        TensorEntry("conv.weight", (3, 1, 2, 2), "F32", GENERATED, 4),
        TensorEntry("conv.bias", (3,), "F32", GENERATED, 4),
        TensorEntry("norm.weight", (2,), "F16", GENERATED, 2, 1.0),
        TensorEntry("norm.running_mean", (2,), "F32", KEPT, stored="F16"),
        TensorEntry("norm.count", (), "I64", KEPT),
        TensorEntry("last.weight", (2, 1), "BF16", GENERATED, 1),
        TensorEntry("again.weight", (2, 1), "BF16", TIED, source="last.weight"),
    )
)


#: A generated table of each kind of constant row, and a kept tensor of each form.
CONSTANTS = LayoutSpec(
    (
        TensorEntry("words.weight", (5, 3), "F32", GENERATED, 3, row=0),
        TensorEntry("places.weight", (4, 2), "F16", GENERATED, 2, stored="F16", row=1),
        TensorEntry("norm.running_var", (2,), "F32", KEPT),
        TensorEntry("mask", (2, 1, 6, 4), "BOOL", KEPT, stored="band", band=(-5, 1)),
        TensorEntry("minus", (5, 5), "F32", KEPT, stored="band", band=(1, 4)),
        TensorEntry("ids", (1, 8), "I64", KEPT, stored="range"),
        TensorEntry("line", (2, 7), "F32", KEPT, stored="range"),
        TensorEntry("fill", (3, 3), "BF16", KEPT, stored="same"),
        TensorEntry("again.weight", (5, 3), "F32", TIED, source="words.weight"),
    )
)
_INFINITE = torch.full((5, 5), -math.inf)
CONSTANT_VALUES = {
    "places.weight": torch.tensor([0.5, -3.0], dtype=torch.float16),
    "norm.running_var": torch.tensor([1e9, 0.25]),
    "mask": torch.ones(2, 1, 6, 4, dtype=torch.bool).tril(1),
    "minus": _INFINITE.triu(1),
    "ids": torch.arange(3, 11)[None],
    "line": (torch.arange(7.0) / 4 - 2).expand(2, 7),
    "fill": torch.full((3, 3), -1e4, dtype=torch.bfloat16),
}
#: One tensor that only `formats.add.Table` can give.
GIVEN_LAYOUT = LayoutSpec(
    (
        TensorEntry("w", (3, 4), "F32", GENERATED, 4),
        TensorEntry("table", (4, 25), "I64", KEPT, stored="given"),
    )
)


def constants_of(layout: LayoutSpec, values: dict[str, Tensor]) -> Artifact:
    """A bare file of these kept tensors and random generated ones."""
    spec = spec_of(layout)
    return artifact_of(spec, StoredNumbers(numbers_of(spec).groups, values), measured=None)


def spec_of(
    layout: LayoutSpec = LAYOUT, circuits: int = 1, layers: int = 3, bits: int = 8, mapping: str = "linear",
    ansatz: str = "real-amplitudes", entangler: str | None = None, hidden: int = 2, seed: int = 7,
    final_rotation: bool = False, seeded: int = 0,
) -> GeneratorSpec:  # fmt: skip
    """A spec whose circuit fits its layout; no entangler: the ansatz's first."""
    entangler = entangler or ANSATZE[ansatz].entanglers[0]
    qubits = qubits_for(layout.generated, circuits)
    return GeneratorSpec(
        CircuitSpec(ansatz, entangler, qubits, layers, circuits, final_rotation=final_rotation),
        MappingSpec(mapping, hidden if MAPPINGS[mapping].hidden else 0),
        layout,
        AngleCoding(bits, seed, seeded),
    )


def numbers_of(spec: GeneratorSpec, seed: int = 0) -> StoredNumbers:
    """Random stored numbers for a spec, as a file gives them back: codes that fit, a float16 mapping."""
    random = torch.Generator().manual_seed(seed)
    shape = spec.trained_shape
    raw = torch.empty(shape).uniform_(-math.pi, math.pi, generator=random)
    moved = 0.1 * torch.randn(shape, generator=random, dtype=torch.float64)
    kept = {
        entry.name: torch.randint(0, 2, entry.shape, generator=random).to(DTYPES[entry.dtype])
        for entry in spec.layout.of_role(KEPT)
    }
    mapping = torch.randn(spec.mapping_numbers, generator=random)
    if spec.angles.bits == RAW_BITS:
        return StoredNumbers({MAPPING: mapping, ANGLES: raw}, kept)
    step = finest_step(moved, spec.angles.bits)
    groups = {MAPPING: mapping.half().float(), ANGLES: Coded(angle_codes(moved, step), step)}
    return StoredNumbers(groups, kept)


def artifact_of(
    spec: GeneratorSpec, numbers: StoredNumbers | None = None, measured: Measured | None = MEASURED,
    example: Example | None = None, run: str = "0123456789abcdef",
) -> Artifact:  # fmt: skip
    """A whole artifact, with the digest of what it regenerates; bare if nothing was measured."""
    numbers = numbers or numbers_of(spec)
    digest = digest_of(spec.layout, generated(OURS, plan_of(spec), spec.layout, numbers), numbers.kept)
    origin = Origin(measured, run) if measured else None
    example = example or Example("F32", (1, 8, 8))
    description = Description(OURS, plan_of(spec), spec.layout, digest, example, origin)
    return Artifact(description, numbers)


def changes_of(base: BaseModel, target: str, mapping: str) -> Artifact:
    """A bare file of changes to every tensor of a base (of factored targets: every matrix), and a head."""
    wanted = parse_target(target)
    old = [
        TensorEntry(name, tuple(tensor.shape), "F32", GENERATED, 30)
        for name, tensor in base.tensors.items()
        if wanted.kind == DELTA
    ]
    sides = {
        name: (wanted.rank if wanted.kind == XS else len(tensor), wanted.rank)
        for name, tensor in base.tensors.items()
        if wanted.kind in FACTORED and tensor.dim() > 1
    }
    factors = [TensorEntry(factor_of(name), side, "F32", GENERATED, side[1]) for name, side in sides.items()]
    layout = LayoutSpec((*old, *factors, TensorEntry("head.weight", (3, 5), "F32", GENERATED, 5)))
    change = Change(wanted.kind, Base(base.sha256, base.name, 1000), wanted.rank, 0.3, 5, 99)
    spec = spec_of(layout, 1, 5, 8, mapping)
    numbers, ground = numbers_of(spec), ground_of_file(change, layout, base)
    digest = digest_of(layout, generated(OURS, plan_of(spec), layout, numbers, moves=True), {}, ground)
    example = Example("F32", (4,))
    return Artifact(Description(OURS, plan_of(spec), layout, digest, example, None, change), numbers)


def weights_of(spec: GeneratorSpec, numbers: StoredNumbers) -> Tensor:
    """All generated weights (m,) in float64."""
    return join(spec.layout, generated(OURS, plan_of(spec), spec.layout, numbers))


#: A small plan of every rival, for `LAYOUT` or any other.
RIVAL_PLANS = {
    "pruning": {"survivors": 5}, "quantisation": {"bits": 4}, "low-rank": {"share": 100},
    "hashing": {"k": 6, "seed": 3}, "subspace": {"k": 5, "seed": 3}, "narrow": {"width": 128, "seed": 3},
    "small-dense": {"hidden": 4, "seed": 3}, "classical-curve": {"k": 7, "seed": 3},
    "fixed-random": {"hidden": 2, "seed": 3},
}  # fmt: skip
assert RIVAL_PLANS.keys() == set(serving(False)) - {OURS}
#: Of those that have a random matrix, with a fast one.
FAST_PLANS = {name: RIVAL_PLANS[name] | {"block": 8} for name in ("subspace", "classical-curve")}


def rival_of(
    name: str, layout: LayoutSpec = LAYOUT, seed: int = 0, most: int = 40, fast: bool = False
) -> Artifact:
    """A rival's file with random codes up to `most` and kept tensors."""
    random, plan = torch.Generator().manual_seed(seed), (FAST_PLANS if fast else RIVAL_PLANS)[name]
    groups: dict[str, Group] = {}
    for number, (group, form) in enumerate(method_of(name).forms(layout, plan).items()):
        codes = torch.randint(-most, most + 1, form.shape, generator=random)
        groups[group] = Coded(codes, 2.0 ** -(6 + number % 3))
    kept = {
        entry.name: torch.randint(0, 2, entry.shape, generator=random).to(DTYPES[entry.dtype])
        for entry in layout.of_role(KEPT)
    }
    numbers = StoredNumbers(groups, kept)
    digest = digest_of(layout, generated(name, plan, layout, numbers), numbers.kept)
    return Artifact(Description(name, plan, layout, digest, Example("F32", (1, 8, 8)), None), numbers)


def same_numbers(one: StoredNumbers, other: StoredNumbers) -> bool:
    """Whether two sets of stored numbers are equal to the last bit, with their names and dtypes."""
    if list(one.groups) != list(other.groups) or one.kept.keys() != other.kept.keys():
        return False
    pairs = [(one.kept[name], other.kept[name]) for name in one.kept]
    for mine, theirs in zip(one.groups.values(), other.groups.values(), strict=True):
        if isinstance(mine, Coded) != isinstance(theirs, Coded):
            return False
        if isinstance(mine, Coded):
            pairs.append((torch.tensor(mine.step), torch.tensor(theirs.step)))
        pairs.append((getattr(mine, "codes", mine), getattr(theirs, "codes", theirs)))
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=6)
shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)


@st.composite
def layouts(draw: st.DrawFn, dtypes: Sequence[str] = FLOAT_DTYPES) -> LayoutSpec:
    """Layouts of up to six tensors of all roles, at least one of them generated with one of `dtypes`."""
    found: list[TensorEntry] = []
    own = draw(st.lists(names, min_size=1, max_size=6, unique=True))
    place = draw(st.integers(0, len(own) - 1))
    for number, name in enumerate(own):
        role = GENERATED if number == place else draw(st.sampled_from((GENERATED, KEPT, TIED)))
        sources = [entry for entry in found if entry.role != TIED]
        if role == GENERATED:
            centre = draw(st.sampled_from((0.0, 1.0, 0.25)))
            dtype, fan_in = draw(st.sampled_from(dtypes)), draw(st.integers(1, 50))
            found.append(TensorEntry(name, draw(shapes), dtype, GENERATED, fan_in, centre))
        elif role == KEPT or not sources:
            shape = draw(shapes | st.just((0, 2)))
            dtype = draw(st.sampled_from(sorted(DTYPE_BYTES)))
            stored = draw(st.sampled_from(("", "F16"))) if dtype in ("F32", "F64") else ""
            found.append(TensorEntry(name, shape, dtype, KEPT, stored=stored))
        else:
            source = draw(st.sampled_from(sources))
            found.append(TensorEntry(name, source.shape, source.dtype, TIED, source=source.name))
    return LayoutSpec(tuple(found))


def idle_numbers(spec: GeneratorSpec) -> list[int]:
    """Places of the mapping's numbers that no weight feels: biases of `quantum-train` cancel in its mean."""
    places: list[int] = []
    if spec.mapping.kind == "quantum-train":
        end, inputs = 0, spec.position_bits + 1
        for outputs in (4, 20, 4, 1):
            end += outputs * (inputs + 1)
            places += range(end - outputs, end)
            inputs = outputs
    return places


#: Every ansatz with each of its entanglers, and whether it ends in a rotation layer, where it can.
CIRCUITS = [
    (ansatz.name, entangler, final)
    for ansatz in ANSATZE.values()
    for entangler in ansatz.entanglers
    for final in ((False,) if ENTANGLERS[entangler].parametrised else (False, True))
]


def fitting_counts(weights: int) -> list[int]:
    """Every number of circuits up to eight that leaves none of them without a weight."""
    return [b for b in range(1, min(8, weights) + 1) if (b - 1) * 2 ** qubits_for(weights, b) < weights]


def circuits_of(qubits: int) -> list[tuple[str, str, bool]]:
    """The rows of `CIRCUITS` that so many qubits can run: gates with angles need a pair."""
    return [row for row in CIRCUITS if qubits > 1 or not ENTANGLERS[row[1]].parametrised]


@st.composite
def specs(draw: st.DrawFn, dtypes: Sequence[str] = FLOAT_DTYPES) -> GeneratorSpec:
    """Small generators of every kind."""
    layout = draw(layouts(dtypes))
    circuits = draw(st.sampled_from(fitting_counts(layout.generated)))
    qubits = qubits_for(layout.generated, circuits)
    ansatz, entangler, final_rotation = draw(st.sampled_from(circuits_of(qubits)))
    return spec_of(
        layout,
        circuits=circuits,
        layers=draw(st.integers(1, 3)),
        bits=draw(st.integers(2, 16) | st.just(RAW_BITS)),
        mapping=draw(st.sampled_from(sorted(MAPPINGS))),
        ansatz=ansatz,
        entangler=entangler,
        final_rotation=final_rotation,
        hidden=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 2**63 - 1)),
    )
