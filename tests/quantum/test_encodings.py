"""Encodings against Qiskit's own feature maps, and against dense matrices written from the definition."""

import itertools
import math
import re

import oracles
import pytest
import torch

from qtrain_cli.errors import BadInput
from qtrain_cli.quantum.encodings import angles, encode, program
from qtrain_cli.quantum.feature_maps import ENCODINGS, EncodingSpec, data_gates, stages

MAPS = [
    EncodingSpec("angle", 3),
    EncodingSpec("z", 3, reps=2),
    EncodingSpec("zz", 3, reps=2),
    EncodingSpec("zz", 4, reps=1, entanglement="linear"),
    EncodingSpec("pauli", 3, reps=2),
    EncodingSpec("pauli", 3, reps=1, paulis=("Z", "XY", "YZX")),
    EncodingSpec("pauli", 4, reps=2, entanglement="linear", paulis=("Y", "ZX", "YY")),
    EncodingSpec("zz", 1),
]


def dense(spec: EncodingSpec, x: torch.Tensor) -> torch.Tensor:
    """The state from the textbook: exp(-i f P) as a matrix exponential, string by string, block by block."""
    n = spec.qubits
    psi = torch.zeros(2**n, dtype=torch.complex128)
    psi[0] = 1
    strings = {"angle": ["Y"], "z": ["Z"], "zz": ["Z", "ZZ"], "pauli": list(spec.paulis) or ["Z", "XX"]}
    for _ in range(spec.reps):
        if spec.name != "angle":
            hadamard = (oracles.PAULI["X"] + oracles.PAULI["Z"]) / math.sqrt(2)
            psi = oracles.on_wires(dict.fromkeys(range(n), hadamard), n) @ psi
        for string in strings[spec.name]:
            blocks = list(itertools.combinations(range(n), len(string)))
            if spec.entanglement == "linear":
                blocks = [block for block in blocks if block[-1] - block[0] == len(string) - 1]
            for block in blocks:
                f = x[block[0]] if len(block) == 1 else math.prod(math.pi - x[wire] for wire in block)
                f = f / 2 if spec.name == "angle" else f
                letters = dict(
                    zip(block, (oracles.PAULI[letter] for letter in reversed(string)), strict=True)
                )
                psi = torch.matrix_exp(-1j * f * oracles.on_wires(letters, n)) @ psi
    return psi


@pytest.mark.parametrize("spec", MAPS, ids=str)
def test_states_are_those_of_the_definition(spec):
    x = torch.randn(5, spec.qubits, dtype=torch.float64)
    expected = torch.stack([dense(spec, row) for row in x])
    torch.testing.assert_close(encode(spec, x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("spec", [one for one in MAPS if one.name != "angle"], ids=str)
def test_states_are_those_of_qiskit(spec):
    library = pytest.importorskip("qiskit.circuit.library")
    quantum_info = pytest.importorskip("qiskit.quantum_info")
    row = {"z": ["Z"], "zz": ["Z", "ZZ"]}.get(spec.name, list(spec.paulis) or ["Z", "XX"])
    strings = [one for one in row if len(one) <= spec.qubits]
    circuit = library.pauli_feature_map(
        spec.qubits, reps=spec.reps, entanglement=spec.entanglement, paulis=strings
    )
    x = torch.randn(spec.qubits, dtype=torch.float64)
    bound = circuit.assign_parameters(dict(zip(circuit.parameters, x.tolist(), strict=True)))
    theirs = torch.tensor(quantum_info.Statevector(bound.reverse_bits()).data)
    ours = encode(spec, x[None])[0]
    # Qiskit's phase gate and our rotation differ by a phase of the whole state.
    assert abs(abs(torch.vdot(theirs, ours)) - 1) < 1e-12


@pytest.mark.parametrize("spec", MAPS[:6], ids=str)
def test_they_can_be_differentiated_in_the_features(spec):
    x = torch.randn(2, spec.qubits, dtype=torch.float64, requires_grad=True)
    probe = torch.randn(2**spec.qubits, dtype=torch.complex128)
    assert torch.autograd.gradcheck(lambda x: (encode(spec, x) @ probe).abs() ** 2, (x,))


def test_amplitudes_are_the_normalised_rows():
    x = torch.rand(4, 8, dtype=torch.float64)
    torch.testing.assert_close(encode(EncodingSpec("amplitude", 3), x).real, x / x.norm(dim=1, keepdim=True))


def test_a_row_of_zeros_has_no_amplitudes():
    x = torch.rand(4, 8)
    x[2] = 0
    with pytest.raises(BadInput, match="input number 2 of a batch cannot be amplitude-encoded") as caught:
        encode(EncodingSpec("amplitude", 3), x)
    assert "encoding=angle" in caught.value.advice


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "zzz"}, "unknown encoding 'zzz'"),
        ({"entanglement": "ring"}, "unknown entanglement 'ring'"),
        ({"reps": 0}, "the encoding has 0 repetitions; allowed: 1 to 20"),
        ({"paulis": ("Z",)}, "the encoding zz has its own Pauli strings"),
        ({"name": "pauli", "paulis": ("IZ",)}, "'IZ' is no Pauli string; allowed: the letters X, Y, Z"),
        ({"name": "pauli", "paulis": ("ZZZZ",)}, "the Pauli string ZZZZ needs 4 qubits; there are 3"),
    ],
)
def test_what_cannot_be_is_refused(change, said):
    with pytest.raises(BadInput, match=re.escape(said)):
        EncodingSpec(**{"name": "zz", "qubits": 3, **change})


def test_too_many_rotations_and_features_of_another_shape_are_refused():
    with pytest.raises(BadInput, match="the encoding has 12012 rotations; allowed: 5000"):
        stages(EncodingSpec("pauli", 14, 6, "full", ("ZZZZZ",)))
    with pytest.raises(BadInput, match=r"the features have the shape \[2, 4\]; needed: \[any, 3\]"):
        angles(EncodingSpec("zz", 3), torch.zeros(2, 4))


def test_commuting_rotations_share_a_stage():
    assert [len(stage.terms) for stage in stages(EncodingSpec("zz", 4, reps=2))] == [10, 10]
    assert len(stages(EncodingSpec("pauli", 3, paulis=("Z", "XX")))) == 2


def test_constants_are_made_once_and_every_row_has_gates_or_a_tree():
    assert program(MAPS[2], torch.complex64) is program(MAPS[2], torch.complex64)
    for name in ENCODINGS:
        assert bool(list(data_gates(EncodingSpec(name, 2)))) == (name != "amplitude")
