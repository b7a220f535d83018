"""Whole artifacts there and back; the committed file's bytes and weights; FORMAT.md by its own reader."""

import hashlib
from pathlib import Path

import format_reader
import numpy as np
import pytest
import torch
from artifacts import artifact_of, numbers_of, same_numbers, spec_of, specs
from hypothesis import given, settings

from qtrain_cli.errors import Refused, UsageError
from qtrain_cli.files.artifact.numbers import (
    Artifact,
    Numbers,
    encode_artifact,
    read_artifact,
    write_artifact,
)
from qtrain_cli.regenerate import generated_weights, regenerate, stored_angles

GOLDEN = Path(__file__).with_name("golden") / "qtrain-1.bin"
GOLDEN_SHA256 = "2fd7b8620b6b5b87a5d340a33aeb74658481627cee7fd65cceb41cf1db922ca3"
GOLDEN_WEIGHTS = {
    "conv.weight": [
        -0.2728419303894043, 0.3367176949977875, 0.024157825857400894, -0.31309178471565247,
        -0.4066435992717743, -0.38341349363327026, -0.3428247570991516, 1.3579400777816772,
        -0.3858579695224762, -0.2970125377178192, -0.3369014263153076, -0.19186803698539734,
    ],
    "conv.bias": [-0.02715281955897808, 0.9891475439071655, -0.21617785096168518],
    "norm.weight": [2.474609375, 0.09661865234375],
    "norm.running_mean": [0.5, -0.25],
    "norm.count": [12],
    "last.weight": [-0.162109375, 1.3359375],
    "again.weight": [-0.162109375, 1.3359375],
}  # fmt: skip


def golden_artifact() -> Artifact:
    """What the committed file holds: all numbers exact in binary."""
    spec = spec_of(circuits=3, layers=2, bits=5, mapping="linear-per-tensor", seed=2**40 + 1)
    codes = (7 * torch.arange(spec.circuit.angles) % 31 - 15).view(spec.circuit.angle_shape)
    mapping = torch.tensor([1.5, 1.25, 2, 0.75, 0, 0.5, -0.25, 0.125])
    kept = {"norm.running_mean": torch.tensor([0.5, -0.25]), "norm.count": torch.tensor(12)}
    return artifact_of(spec, Numbers(codes, torch.tensor([1 / 64, 1 / 32, 3 / 128]), mapping, kept))


def test_the_bytes_of_format_1_never_change():
    data = GOLDEN.read_bytes()
    assert hashlib.sha256(data).hexdigest() == GOLDEN_SHA256
    assert encode_artifact(golden_artifact()) == data


def test_the_committed_file_gives_the_committed_weights():
    found = regenerate(read_artifact(GOLDEN))
    assert {name: tensor.flatten().tolist() for name, tensor in found.state.items()} == GOLDEN_WEIGHTS
    assert found.exact


def test_the_committed_file_by_the_page_alone():
    found = format_reader.read(GOLDEN.read_bytes())
    assert found.sha256 == found.metadata["digest"][0]
    assert np.frombuffer(found.state["conv.bias"], "<f4").tolist() == GOLDEN_WEIGHTS["conv.bias"]
    assert np.frombuffer(found.state["norm.weight"], "<f2").tolist() == GOLDEN_WEIGHTS["norm.weight"]


@given(specs(dtypes=("F32", "F16", "BF16")))
@settings(max_examples=60, deadline=None)
def test_a_reader_made_from_the_page_gets_the_same_weights(spec):
    artifact = artifact_of(spec)
    found = format_reader.read(encode_artifact(artifact))
    weights = generated_weights(spec, artifact.numbers)
    np.testing.assert_array_equal(found.angles, stored_angles(spec, artifact.numbers))
    np.testing.assert_allclose(found.weights, weights, rtol=1e-11, atol=1e-12)
    digest = artifact.description.digest
    assert found.sha256 == digest.sha256
    allowed = digest.tolerance * float(weights.norm())
    assert all(abs(a - b) <= allowed for a, b in zip(found.probes, digest.probes, strict=True))
    state = regenerate(artifact).state
    assert list(found.state) != [] and found.state.keys() == state.keys()
    for name, tensor in state.items():
        assert found.state[name] == tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


@given(specs())
@settings(max_examples=60, deadline=None)
def test_there_and_back(tmp_path_factory, spec):
    path = tmp_path_factory.getbasetemp() / "numbers.qtrain"
    artifact = artifact_of(spec)
    data = encode_artifact(artifact)
    assert encode_artifact(artifact) == data
    path.write_bytes(data)
    found = read_artifact(path)
    assert found.description == artifact.description
    assert same_numbers(artifact.numbers, found.numbers)
    assert encode_artifact(found) == data


@given(specs())
@settings(max_examples=30, deadline=None)
def test_float64_weights_too(spec):
    artifact = artifact_of(spec)
    found = format_reader.read(encode_artifact(artifact))
    np.testing.assert_allclose(
        found.weights, generated_weights(spec, artifact.numbers), rtol=1e-11, atol=1e-12
    )


def test_there_is_one_metadata_key():
    assert GOLDEN.read_bytes().count(b'"__metadata__":{"qtrain":') == 1


def test_numbers_that_are_not_contiguous():
    artifact = golden_artifact()
    turned = artifact.numbers.angles.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    numbers = Numbers(turned, artifact.numbers.steps, artifact.numbers.mapping, artifact.numbers.kept)
    assert encode_artifact(Artifact(artifact.description, numbers)) == GOLDEN.read_bytes()


def test_two_kept_names_of_one_storage():
    """safetensors refuses tensors that share memory; buffers of a model may."""
    spec = spec_of()
    numbers = numbers_of(spec)
    both = torch.zeros(3)
    numbers.kept["norm.running_mean"] = both[:2]
    assert encode_artifact(artifact_of(spec, numbers))


def test_an_existing_file_is_kept(tmp_path):
    path = tmp_path / "a.qtrain"
    path.write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        write_artifact(path, golden_artifact())
    assert path.read_text() == "mine"
    write_artifact(path, golden_artifact(), force=True)
    assert path.read_bytes() == GOLDEN.read_bytes()


@pytest.mark.parametrize(
    ("angles", "words"),
    [
        (torch.full((3, 2, 3, 1), -16), "a packed angle lies outside the grid"),
        (torch.zeros(1, 2, 3, 1).long(), "do not match"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, angles, words):
    artifact = golden_artifact()
    numbers = Numbers(angles, artifact.numbers.steps, artifact.numbers.mapping, artifact.numbers.kept)
    with pytest.raises(Refused, match=words):
        write_artifact(tmp_path / "a.qtrain", Artifact(artifact.description, numbers))
    assert list(tmp_path.iterdir()) == []


def test_what_is_read_belongs_to_the_reader(tmp_path):
    """No memory map: the tensors stay when the file goes, and may be written to."""
    path = tmp_path / "a.qtrain"
    write_artifact(path, golden_artifact())
    found = read_artifact(path).numbers
    path.write_bytes(b"gone")
    found.kept["norm.running_mean"] += 1
    assert found.kept["norm.running_mean"].tolist() == [1.5, 0.75] and same_numbers(
        read_artifact(GOLDEN).numbers, golden_artifact().numbers
    )
