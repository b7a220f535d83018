"""Regeneration gives the same bits whatever runs it, and only weights that match the digest come out."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from artifacts import LAYOUT, artifact_of, numbers_of, spec_of, weights_of

from qtrain_cli.artifact.numbers import Artifact, Coded, read_artifact, write_artifact
from qtrain_cli.errors import Refused
from qtrain_cli.methods.generator.plan import ANGLES, MAPPING, plan_of
from qtrain_cli.methods.generator.spec import MAPPINGS
from qtrain_cli.runs import regenerate as regenerating
from qtrain_cli.runs import streaming
from qtrain_cli.runs.regenerate import digest_of, regenerate
from qtrain_cli.runs.streaming import require_digest
from qtrain_cli.targets.entries import GENERATED, LayoutSpec, TensorEntry
from qtrain_cli.targets.layout import split

LARGE = LayoutSpec(
    (TensorEntry("w", (5000,), "F64", GENERATED, 9), TensorEntry("b", (7,), "F32", GENERATED, 9))
)
DIGEST_IN_A_NEW_PROCESS = """
import json, sys, torch
from pathlib import Path
from qtrain_cli.artifact.numbers import read_artifact
from qtrain_cli.runs.regenerate import regenerate
for threads in (2, 1):
    torch.set_num_threads(threads)
    found = regenerate(read_artifact(Path(sys.argv[1])))
    print(json.dumps([found.exact, found.digest.sha256, torch.get_num_threads()]))
"""


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_the_whole_state_dictionary(mapping):
    artifact = artifact_of(spec_of(mapping=mapping))
    found = regenerate(artifact)
    assert found.exact and found.digest == artifact.description.digest and found.tolerance == 0
    assert list(found.state) == [entry.name for entry in LAYOUT.entries]
    assert torch.equal(found.state["norm.running_mean"], artifact.numbers.kept["norm.running_mean"])
    assert found.state["again.weight"] is found.state["last.weight"]
    assert not any(tensor.requires_grad for tensor in found.state.values())


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_make_no_difference(threads):
    spec = spec_of(LARGE, layers=6, ansatz="efficient-su2", mapping="mlp")
    numbers, before = numbers_of(spec), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        weights = weights_of(spec, numbers)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(weights, weights_of(spec, numbers))
    assert weights.dtype == torch.float64


def test_a_new_process_makes_no_difference_with_any_threads(tmp_path):
    spec = spec_of(LARGE, layers=6, ansatz="efficient-su2", mapping="mlp")
    path, artifact = tmp_path / "a.qtrain", artifact_of(spec)
    write_artifact(path, artifact)
    command = [sys.executable, "-c", DIGEST_IN_A_NEW_PROCESS, str(path)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=root, check=True)
    digest = artifact.description.digest
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found == [[True, digest.sha256, threads] for threads in (2, 1)]


@pytest.mark.parametrize("circuits", [1, 3])
def test_a_changed_number_is_refused(circuits):
    artifact = artifact_of(spec_of(circuits=circuits))
    stored = artifact.numbers.groups
    codes, mapping, step = stored[ANGLES].codes.clone(), stored[MAPPING].clone(), stored[ANGLES].step
    codes[0, 0, 0, 0] += 1 if codes[0, 0, 0, 0] < 100 else -1
    mapping[0] *= 1 + 1e-5
    for change in (
        {ANGLES: Coded(codes, step)},
        {MAPPING: mapping},
        {ANGLES: Coded(stored[ANGLES].codes, step * (1 + 1e-4))},
    ):
        with pytest.raises(Refused) as refused:
            regenerate(Artifact(artifact.description, replace(artifact.numbers, groups=stored | change)))
        sha256 = artifact.description.digest.sha256
        assert refused.value.message == f"the regenerated weights do not match the artifact's digest {sha256}"


def test_another_digest_is_refused_however_near_the_weights_are():
    artifact = artifact_of(spec_of())
    digest = replace(artifact.description.digest, sha256="0" * 16)
    with pytest.raises(Refused, match="do not match the artifact's digest 0000"):
        regenerate(Artifact(replace(artifact.description, digest=digest), artifact.numbers))


@pytest.mark.parametrize("dtype", ["F16", "F32"])
def test_weights_that_are_not_finite_are_refused(dtype):
    layout = LayoutSpec(
        (TensorEntry("w", (4,), "F32", GENERATED), TensorEntry("v", (4,), dtype, GENERATED, 1, 1e39))
    )
    artifact = artifact_of(spec_of(), numbers_of(spec_of()))
    spec = spec_of(layout)
    description = replace(artifact.description, plan=plan_of(spec), layout=layout)
    forged = Artifact(description, numbers_of(spec))
    with pytest.raises(Refused, match="the regenerated tensor 'v' is not finite"):
        regenerate(forged)


def test_the_digest_covers_every_generated_tensor():
    weights = torch.arange(19, dtype=torch.float64)
    wide = LayoutSpec(tuple(replace(entry, dtype="F64") for entry in LAYOUT.of_role(GENERATED)))
    digests = {
        digest_of(LAYOUT, split(wide, weights + torch.eye(19, dtype=torch.float64)[place]), {}).sha256
        for place in range(19)
    }
    assert len(digests) == 19


def test_written_and_read_it_is_the_same(tmp_path):
    artifact = artifact_of(spec_of(bits=32))
    write_artifact(tmp_path / "a.qtrain", artifact)
    found, expected = regenerate(read_artifact(tmp_path / "a.qtrain")), regenerate(artifact)
    assert all(torch.equal(found.state[name], tensor) for name, tensor in expected.state.items())


@pytest.mark.parametrize("read", [regenerate, require_digest])
def test_too_little_memory_is_no_fault_of_the_file(monkeypatch, read):
    def full(*parts):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")

    monkeypatch.setattr(streaming, "arrays", full)
    monkeypatch.setattr(regenerating, "generated", full)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        read(artifact_of(spec_of()))
