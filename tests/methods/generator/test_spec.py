"""Specs check themselves: every refusal with its message, and what is counted."""

import math

import pytest
from artifacts import LAYOUT, fitting_counts, layouts, spec_of
from hypothesis import given, settings
from hypothesis import strategies as st

from qtrain_cli.errors import BadInput
from qtrain_cli.methods.generator.spec import AngleCoding, GeneratorSpec, MappingSpec
from qtrain_cli.quantum.circuit import CircuitSpec, qubits_for
from qtrain_cli.targets.entries import (
    DTYPE_BYTES,
    FLOAT_DTYPES,
    GENERATED,
    KEPT,
    MAX_ELEMENTS,
    MAX_KEPT_BYTES,
    TIED,
    LayoutSpec,
    TensorEntry,
)


def entry(name="w", shape=(2, 3), dtype="F32", role=GENERATED, **rest):
    return TensorEntry(name, shape, dtype, role, **rest)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"role": "made"}, "unknown role 'made'"),
        ({"dtype": "F8"}, "tensor 'w' has the dtype 'F8'"),
        ({"name": ""}, "allowed: 1 to 512 printable characters"),
        ({"name": "a" * 513}, "allowed: 1 to 512 printable characters"),
        ({"name": "a\x1b[2J"}, "allowed: 1 to 512 printable characters"),
        ({"name": "a\ud800"}, "allowed: 1 to 512 printable characters"),
        ({"shape": (2, -1)}, "has the shape [2, -1]"),
        ({"shape": (True, 2)}, "has the shape [True, 2]"),
        ({"shape": (2.0,)}, "has the shape [2.0]"),
        ({"shape": (2**16, 2**17)}, f"allowed: 0 to {MAX_ELEMENTS} elements"),
        ({"shape": (0, MAX_ELEMENTS, 2), "role": KEPT}, "has the shape [0, 4294967296, 2]"),
        ({"shape": (10**4000,)}, "has the shape"),
        ({"shape": (1,) * 65}, "has 65 dimensions; allowed: at most 64"),
        ({"shape": (0, 2)}, "cannot be generated: dtype F32, 0 elements"),
        ({"dtype": "I64"}, "cannot be generated: dtype I64"),
        ({"fan_in": 0}, "has the fan-in 0"),
        ({"fan_in": 2**40}, "has the fan-in 1099511627776"),
        ({"fan_in": 1.5}, "has the fan-in 1.5"),
        ({"centre": math.nan}, "has the centre nan"),
        ({"centre": math.inf}, "has the centre inf"),
        ({"source": "v"}, "is generated and names the source 'v'"),
        ({"role": TIED}, "is tied and names the source ''"),
    ],
)
def test_tensors_that_cannot_be(changes, message):
    with pytest.raises(BadInput) as refused:
        entry(**changes)
    assert message in refused.value.message
    assert "\x1b" not in refused.value.message and len(refused.value.message) < 200


def test_bounds_are_allowed():
    assert entry(shape=(2**16, 2**16)).count == MAX_ELEMENTS
    assert entry(shape=(), fan_in=MAX_ELEMENTS).count == 1
    assert entry(name="a" * 512, shape=(1,) * 64).count == 1
    assert entry(shape=(0, 5), role=KEPT, dtype="BOOL").count == 0


def test_the_scale_gives_an_initialisers_deviation_to_a_gain_of_root_three():
    assert entry(fan_in=25).scale * math.sqrt(3) == pytest.approx(1 / 5)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ((entry("a"), entry("a", role=KEPT)), "tensor 'a' stands twice"),
        ((entry("a"), entry("b", role=TIED, source="c")), "tied to 'c', which does not fit"),
        ((entry("a", role=TIED, source="a"),), "tied to 'a', which does not fit"),
        ((entry("a", role=TIED, source="b"), entry("b", role=TIED, source="a")), "'a' is tied to 'b', which"),
        ((entry("a"), entry("b", (3, 2), role=TIED, source="a")), "does not fit"),
        ((entry("a"), entry("b", dtype="F16", role=TIED, source="a")), "does not fit"),
        (
            (entry("a"), entry("b", (2**29,), "F64", KEPT), entry("c", (1,), "U8", KEPT)),
            f"{MAX_KEPT_BYTES + 1} bytes of tensors are kept",
        ),
    ],
)
def test_layouts_that_cannot_be(entries, message):
    with pytest.raises(BadInput) as refused:
        LayoutSpec(entries)
    assert message in refused.value.message


def test_a_layout_counts_each_role():
    assert (LAYOUT.generated, LAYOUT.kept) == (12 + 3 + 2 + 2, 2 + 1)
    assert [row.name for row in LAYOUT.of_role(GENERATED)] == [
        "conv.weight", "conv.bias", "norm.weight", "last.weight",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "hidden", "message"),
    [
        ("liner", 0, "unknown mapping 'liner'"),
        ("mlp", 0, "has 0 hidden units; allowed: 1 to 4096"),
        ("mlp", 4097, "has 4097 hidden units; allowed: 1 to 4096"),
        ("linear", 1, "has 1 hidden units; allowed: 0 to 0"),
        ("quantum-train", 4, "has 4 hidden units; allowed: 0 to 0"),
    ],
)
def test_mappings_that_cannot_be(kind, hidden, message):
    with pytest.raises(BadInput) as refused:
        MappingSpec(kind, hidden)
    assert message in refused.value.message
    if kind == "liner":
        assert refused.value.advice == "did you mean 'linear'?"


@pytest.mark.parametrize("bits", [-1, 0, 1, 17, 31, 33, 64])
def test_angle_bits_that_cannot_be(bits):
    with pytest.raises(BadInput, match=f"angle bits is {bits}; allowed: 2 to 16, or 32"):
        AngleCoding(bits, 0)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_that_cannot_be(seed):
    with pytest.raises(BadInput, match=f"the seed is {seed}"):
        AngleCoding(8, seed)


def generator(weights, circuits, qubits, mapping=("linear", 0), layers=1):
    layout = LayoutSpec((entry(shape=(weights,)),))
    circuit = CircuitSpec("real-amplitudes", "cnot-ring", qubits, layers, circuits)
    return GeneratorSpec(circuit, MappingSpec(*mapping), layout)


@pytest.mark.parametrize(
    ("weights", "circuits", "qubits"),
    [(8, 1, 4), (9, 1, 3), (1, 1, 2), (6, 4, 1), (5, 4, 1), (4, 4, 2), (17, 2, 3)],
)
def test_circuits_that_do_not_fit_the_weights(weights, circuits, qubits):
    with pytest.raises(
        BadInput, match=f"{circuits} circuits of {qubits} qubits do not fit {weights} weights"
    ):
        generator(weights, circuits, qubits)


@pytest.mark.parametrize(("weights", "circuits", "qubits"), [(8, 1, 3), (1, 1, 1), (16, 2, 3), (7, 4, 1)])
def test_circuits_that_fit(weights, circuits, qubits):
    assert generator(weights, circuits, qubits).layout.generated == weights


def test_nothing_to_generate():
    layout = LayoutSpec((entry(role=KEPT),))
    with pytest.raises(BadInput, match="no weight is left to generate"):
        GeneratorSpec(CircuitSpec("real-amplitudes", "cnot-ring", 1, 1), MappingSpec("linear"), layout)


def test_an_mlp_that_no_memory_holds():
    with pytest.raises(BadInput, match="the mapping mlp is too large for 1048576 weights"):
        generator(2**20, 1, 20, ("mlp", 1005))
    assert generator(2**20, 1, 20, ("mlp", 1004)).mapping_numbers == 2 + 1004 * 23


@pytest.mark.parametrize("circuits", fitting_counts(LAYOUT.generated))
def test_what_is_trained(circuits):
    spec = spec_of(circuits=circuits, mapping="mlp", hidden=3, ansatz="efficient-su2")
    n, k = spec.circuit.qubits, spec.position_bits
    assert 2**k >= LAYOUT.generated and k == n + math.ceil(math.log2(circuits))
    assert spec.trained_numbers == circuits * 3 * n * 2 + 2 + 3 * k + 3 * 3
    assert spec_of(mapping="linear-per-tensor").mapping_numbers == 2 * 4
    assert spec_of().mapping_numbers == 2


@given(weights=st.integers(1, 2**28), circuits=st.integers(1, 2**12))
def test_qubits_are_the_fewest_that_hold_the_weights(weights, circuits):
    n = qubits_for(weights, circuits)
    assert n >= 1 and circuits * 2**n >= weights
    assert n == 1 or circuits * 2 ** (n - 1) < weights


@given(layouts())
@settings(max_examples=50, deadline=None)
def test_roles_divide_a_layout(layout):
    counts = {role: sum(row.count for row in layout.of_role(role)) for role in (GENERATED, KEPT)}
    assert counts == {GENERATED: layout.generated, KEPT: layout.kept}
    assert sum(len(layout.of_role(role)) for role in (GENERATED, KEPT, TIED)) == len(layout.entries)


def test_every_float_dtype_has_a_size():
    assert set(FLOAT_DTYPES) < DTYPE_BYTES.keys()
