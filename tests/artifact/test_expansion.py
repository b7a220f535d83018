"""How much a small file may ask for: refused before anything is made, unless its origin is trusted."""

import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from artifacts import CONSTANTS, FAST_PLANS, LAYOUT, rival_of, spec_of

import qtrain_cli
from qtrain_cli.artifact import expansion
from qtrain_cli.artifact.container import container_of, read_container
from qtrain_cli.artifact.description import Description, Digest, Example
from qtrain_cli.artifact.expansion import BOUNDS, LARGE, demands, too_large
from qtrain_cli.artifact.numbers import (
    Artifact,
    Coded,
    StoredNumbers,
    decode_artifact,
    encode_artifact,
    forms_of,
    write_artifact,
)
from qtrain_cli.cli import main
from qtrain_cli.errors import Refused
from qtrain_cli.methods.generator.plan import ANGLES, MAPPING, plan_of
from qtrain_cli.methods.table import OURS, method_of, serving
from qtrain_cli.targets.entries import GENERATED, LayoutSpec, TensorEntry

TESTS = Path(__file__).resolve().parents[1]

torch = pytest.importorskip("torch")
UNKNOWN = Digest("0" * 16)


def layout_of(weights: int) -> LayoutSpec:
    return LayoutSpec((TensorEntry("w", (weights,), "F32", GENERATED, 100),))


def ours(weights: int, layers: int = 1, **how) -> bytes:
    """A file of ours whose codes take next to nothing."""
    spec = spec_of(layout_of(weights), layers=layers, bits=4, **how)
    codes = torch.zeros(spec.circuit.angle_shape, dtype=torch.int64)
    codes.view(-1)[0] = 1
    groups = {MAPPING: torch.full((spec.mapping_numbers,), 0.1), ANGLES: Coded(codes, 0.01)}
    description = Description(OURS, plan_of(spec), spec.layout, UNKNOWN, Example("F32", (4,)), None)
    return encode_artifact(Artifact(description, StoredNumbers(groups, {})))


def rival(name: str, weights: int, **plan) -> bytes:
    layout = layout_of(weights)
    groups = {
        group: Coded(torch.zeros(form.shape, dtype=torch.int64), 0.5)
        for group, form in method_of(name).forms(layout, plan).items()
    }
    description = Description(name, plan, layout, UNKNOWN, Example("F32", (4,)), None)
    return encode_artifact(Artifact(description, StoredNumbers(groups, {})))


HUNGRY = {
    "weights": ("weights", lambda: ours(2**26)),
    "weights of a rival": ("weights", lambda: rival("hashing", 2**25, k=1, seed=0)),
    "bits of positions": ("elements of matrices", lambda: ours(6 * 2**20, mapping="tensor-train")),
    "a random matrix": ("elements of matrices", lambda: rival("subspace", 2**22, k=64, seed=0)),
    "a fixed vector": ("elements of matrices", lambda: rival("fixed-random", 2**22, hidden=4, seed=0)),
    "turns": ("turned amplitudes", lambda: ours(2**20, layers=400)),
    "turns of many kinds": (
        "turned amplitudes",
        lambda: ours(2**20, layers=100, ansatz="u3-cu3"),
    ),
    "codes": ("coded numbers", lambda: ours(2**4, layers=2**16)),
    "codes of a rival": ("coded numbers", lambda: rival("pruning", 260_000, survivors=1)),
}


@pytest.mark.parametrize("name", HUNGRY)
def test_a_small_file_that_asks_for_much_is_refused(name, tmp_path, capsys, monkeypatch):
    what, made = HUNGRY[name]
    data, path = made(), tmp_path / "small.qtrain"
    assert len(data) < 1000
    path.write_bytes(data)
    assert main(["verify", str(path)]) == 4
    said = capsys.readouterr().err
    assert f"{len(data)} bytes ask for" in said and what in said and said.count("\n") == 1
    assert f"set {LARGE}=1" in said
    with pytest.raises(Refused, match="allowed for so many"):
        qtrain_cli.load(path)
    assert main(["inspect", str(path)]) == 0, "what it says of itself costs nothing"


def test_refusing_takes_little_memory_and_no_time(tmp_path):
    path = tmp_path / "small.qtrain"
    path.write_bytes(ours(2**24, mapping="mlp", hidden=4))
    codes, kilobytes, said = verified(path)
    assert codes == [4] and kilobytes < 600_000, said


def verified(*paths):
    """Exit codes, peak memory and stderr of `qtrain verify` in a process of its own, 20 seconds at most."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_CPU, (20, 20))  # noqa: E731
    command = (
        "import sys; from benchmarks.peak import highest; from qtrain_cli.cli import main;"
        " codes = [main(['verify', path]) for path in sys.argv[1:]];"
        " print(highest() // 1024, *codes)"
    )
    environment = os.environ | {"PYTHONPATH": f"{TESTS.parent}:{TESTS}"}
    words = [sys.executable, "-c", command, *map(str, paths)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, preexec_fn=limit)
    kilobytes, *codes = map(int, done.stdout.split())
    return codes, kilobytes, done.stderr


def test_a_wide_mapping_takes_memory_for_a_block_of_weights_only(tmp_path):
    """All at once 32 kB a weight: 6.4 GB for a file of 156 KB, and here 256 MB beside PyTorch's 330."""
    mlp, train = tmp_path / "mlp.qtrain", tmp_path / "train.qtrain"
    mlp.write_bytes(ours(2**13, mapping="mlp", hidden=4096))
    train.write_bytes(ours(2**17, mapping="tensor-train", hidden=90))
    codes, kilobytes, said = verified(mlp, train)
    assert codes == [4, 4] and said.count("do not match the artifact's digest") == 2 and kilobytes < 450_000


def test_an_environment_variable_takes_it_all_the_same(monkeypatch):
    monkeypatch.setattr(expansion, "BOUNDS", tuple(type(row)(row.what, 1, 0) for row in BOUNDS))
    container = container_of("a.qtrain", ours(16, layers=2))
    with pytest.raises(Refused, match="ask for 16 weights; allowed for so many: 1"):
        decode_artifact(container)
    assert decode_artifact(container, own=True).description.layout.generated == 16
    monkeypatch.setenv(LARGE, "0")
    with pytest.raises(Refused):
        decode_artifact(container)
    monkeypatch.setenv(LARGE, "1")
    decode_artifact(container)


def test_what_a_run_writes_it_reads_back(monkeypatch, tmp_path):
    monkeypatch.setattr(expansion, "BOUNDS", tuple(type(row)(row.what, 1, 0) for row in BOUNDS))
    artifact = decode_artifact(container_of("a.qtrain", ours(16)), own=True)
    write_artifact(tmp_path / "a.qtrain", artifact)
    with pytest.raises(Refused):
        decode_artifact(read_container(tmp_path / "a.qtrain"))


@pytest.mark.parametrize("name", [name for name in serving(False) if name != OURS])
def test_demands_of_each_method(name):
    description = rival_of(name).description
    forms = forms_of(name, description.plan, LAYOUT)
    weights, elements, turns, codes = demands(description, forms)
    assert (weights, turns) == (19, 0) and codes >= 1
    expected = {"subspace": 19 * 5, "classical-curve": 19 * 7, "fixed-random": 19 * (12 + 5 + 2)}
    assert elements == expected.get(name, 0)


def test_nola_asks_for_what_its_subspace_does():
    description = rival_of("subspace").description
    forms = forms_of("subspace", description.plan, LAYOUT)
    assert demands(replace(description, method="nola"), forms) == demands(description, forms)


@pytest.mark.parametrize("name", FAST_PLANS)
def test_a_fast_matrix_has_a_number_for_each_weight(name):
    description = rival_of(name, fast=True).description
    assert demands(description, forms_of(name, description.plan, LAYOUT))[1] == 19


def test_demands_of_ours():
    spec = spec_of(CONSTANTS, circuits=3, layers=2, mapping="mlp", hidden=2)
    description = Description(OURS, plan_of(spec), spec.layout, UNKNOWN, Example("F32", (4,)), None)
    forms = forms_of(OURS, plan_of(spec), spec.layout)
    n, m = spec.circuit.qubits, spec.layout.generated
    angles = 3 * 2 * n
    assert demands(description, forms) == (3 * 2**n, m * (2 + n + 2), 2**n * angles, angles)
    assert too_large(description, forms, 1) == ""


@pytest.mark.parametrize(
    ("weights", "circuits", "layers"),
    [(11_000_000, 1, 40), (2**24, 1, 200), (10**8, 12, 20), (10**6, 1, 500)],
)
def test_honest_files_keep_the_bounds(weights, circuits, layers):
    """Of the usual five bits an angle: one circuit for a ResNet-18, twelve for a hundred million weights."""
    spec = spec_of(layout_of(weights), circuits=circuits, layers=layers, bits=5)
    description = Description(OURS, plan_of(spec), spec.layout, UNKNOWN, Example("F32", (4,)), None)
    size = 300 + spec.circuit.angles * 5 // 8
    assert too_large(description, forms_of(OURS, plan_of(spec), spec.layout), size) == ""
