"""Whole artifacts there and back; the committed file's bytes and weights; FORMAT.md by its own reader."""

import hashlib
import zlib
from dataclasses import replace
from pathlib import Path

import format_reader
import numpy as np
import pytest
import torch
from artifacts import MEASURED, artifact_of, numbers_of, same_numbers, spec_of, specs, weights_of
from hypothesis import given, settings
from hypothesis import strategies as st

from qtrain_cli.artifact import numbers as file_numbers
from qtrain_cli.artifact.numbers import (
    Artifact,
    Coded,
    StoredNumbers,
    as_stored,
    encode_artifact,
    forms_of,
    read_artifact,
    write_artifact,
)
from qtrain_cli.errors import Refused, UsageError
from qtrain_cli.methods.generator.plan import ANGLES, MAPPING, plan_of
from qtrain_cli.methods.table import OURS
from qtrain_cli.results import Measured
from qtrain_cli.runs.regenerate import regenerate, stored_angles
from qtrain_cli.targets.entries import BIT_EACH, GENERATED, KEPT, LayoutSpec, TensorEntry

FOLDER = Path(__file__).with_name("golden")
GOLDEN, GOLDEN_BARE = FOLDER / "qtrain-5.bin", FOLDER / "qtrain-5-bare.bin"
GOLDEN_SHA256 = {
    GOLDEN: "d0d62e6610ec695915d1dba0e021a52fd2a351e45059fd8084fefe401124836d",
    GOLDEN_BARE: "99a169aa3e6d9827307f516cce94bd6048a14c28e0fc58a67347ed54cc5a7785",
}
FORMER_SHA256 = {
    FOLDER / "qtrain-4.bin": "d3306e860d63a97eb52cf6ec0978d1dea64fba2523e9a45b91700437bbda9ddc",
    FOLDER / "qtrain-4-bare.bin": "163a03fd75b21fbe90863b7c7f123a40f9cb8fad27c1c230be694bec4d8bd70a",
    FOLDER / "qtrain-3.bin": "9f7c3400667b963011e11d2162ecede4d02b166f62f65307f7d956f47d352495",
    FOLDER / "qtrain-3-bare.bin": "ff5de69f68633cb73b3479770f7a589d3f1a5fb266eb023e986eab6080848820",
}
GOLDEN_WEIGHTS = {
    "conv.weight": [
        -0.3656330704689026, 0.48726457357406616, 0.09889797866344452, -0.3264121413230896,
        -0.4083777666091919, -0.38550010323524475, -0.374288409948349, 1.274048924446106,
        -0.41017475724220276, -0.28099220991134644, -0.34598344564437866, -0.14873114228248596,
    ],
    "conv.bias": [0.03572400286793709, 1.0159693956375122, -0.21540704369544983],
    "norm.weight": [2.220703125, 0.09661865234375],
    "norm.running_mean": [0.5, -0.25],
    "norm.count": [12],
    "last.weight": [-0.162109375, 1.3359375],
    "again.weight": [-0.162109375, 1.3359375],
}  # fmt: skip


def golden_artifact(measured: Measured | None = MEASURED) -> Artifact:
    """What the committed files hold: all numbers exact in binary."""
    spec = spec_of(circuits=3, layers=2, bits=5, mapping="linear-per-tensor", seed=2**40 + 1)
    codes = (7 * torch.arange(spec.circuit.angles) % 31 - 15).view(spec.circuit.angle_shape)
    mapping = torch.tensor([1.5, 1.25, 2, 0.75, 0, 0.5, -0.25, 0.125])
    kept = {"norm.running_mean": torch.tensor([0.5, -0.25]), "norm.count": torch.tensor(12)}
    return artifact_of(spec, StoredNumbers({MAPPING: mapping, ANGLES: Coded(codes, 3 / 128)}, kept), measured)


@pytest.mark.parametrize(("path", "measured"), [(GOLDEN, MEASURED), (GOLDEN_BARE, None)])
def test_the_bytes_of_format_5_never_change(path, measured):
    data = path.read_bytes()
    assert hashlib.sha256(data).hexdigest() == GOLDEN_SHA256[path]
    found = encode_artifact(golden_artifact(measured))
    if "ng" in zlib.ZLIB_RUNTIME_VERSION:  # another compressor, which may find other matches
        assert format_reader.read(found).facts == format_reader.read(data).facts
    else:
        assert found == data


@pytest.mark.parametrize("path", FORMER_SHA256)
def test_files_of_former_formats_are_read_as_what_was_written(path):
    assert hashlib.sha256(path.read_bytes()).hexdigest() == FORMER_SHA256[path]
    found, expected = read_artifact(path), golden_artifact(None if "bare" in path.name else MEASURED)
    assert same_numbers(found.numbers, expected.numbers)
    digest = found.description.digest
    assert digest.former and (len(digest.probes), digest.tolerance) == (4, 1e-6)
    # Of these few weights PyTorch's arithmetic gives the same bits after the last rounding.
    assert replace(digest, probes=(), tolerance=0.0) == expected.description.digest
    assert replace(found.description, digest=expected.description.digest) == expected.description


@pytest.mark.parametrize("path", [*GOLDEN_SHA256, *FORMER_SHA256])
def test_the_committed_files_give_the_committed_weights(path):
    found = regenerate(read_artifact(path))
    assert {name: tensor.flatten().tolist() for name, tensor in found.state.items()} == GOLDEN_WEIGHTS
    assert found.exact


@pytest.mark.parametrize("path", GOLDEN_SHA256)
def test_the_committed_files_by_the_page_alone(path):
    found = format_reader.read(path.read_bytes())
    assert found.sha256 == found.digest and found.check == format_reader.check_of(path.read_bytes())
    assert found.codes == [7 * j % 31 - 15 for j in range(18)]
    assert bool(found.origin) == ("record" in found.facts) == (path == GOLDEN)
    assert np.frombuffer(found.state["conv.bias"], "<f4").tolist() == GOLDEN_WEIGHTS["conv.bias"]
    assert np.frombuffer(found.state["norm.weight"], "<f2").tolist() == GOLDEN_WEIGHTS["norm.weight"]


@given(specs(dtypes=("F32", "F16", "BF16")), st.sampled_from((MEASURED, None)))
@settings(max_examples=60, deadline=None)
def test_a_reader_made_from_the_page_gets_the_same_weights(spec, measured):
    artifact = artifact_of(spec, measured=measured)
    found = format_reader.read(encode_artifact(artifact))
    weights = weights_of(spec, artifact.numbers)
    np.testing.assert_array_equal(found.angles, stored_angles(spec, artifact.numbers))
    np.testing.assert_array_equal(found.weights, weights)
    assert found.sha256 == found.digest == artifact.description.digest.sha256
    assert found.stored_probes == []
    digests = {"run": "0123456789abcdef", "data": MEASURED.data_sha256, "model": MEASURED.model_sha256}
    assert found.origin == (digests if measured else {})
    state = regenerate(artifact).state
    assert list(found.state) != [] and found.state.keys() == state.keys()
    for name, tensor in state.items():
        assert found.state[name] == tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


@given(specs(), st.sampled_from((MEASURED, None)))
@settings(max_examples=60, deadline=None)
def test_there_and_back(tmp_path_factory, spec, measured):
    path = tmp_path_factory.getbasetemp() / "numbers.qtrain"
    artifact = artifact_of(spec, measured=measured)
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
    np.testing.assert_allclose(found.weights, weights_of(spec, artifact.numbers), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("path", GOLDEN_SHA256)
def test_the_header(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    tensor = str(len(data) - 8 - size)
    header = '{"__metadata__":{"qtrain":"5"},"q":{"dtype":"U8","shape":[SIZE],"data_offsets":[0,SIZE]}}'
    assert data[8 : 8 + size].decode().rstrip(" ") == header.replace("SIZE", tensor) and size % 8 == 0


def test_a_bare_file_is_smaller_by_record_and_origin():
    facts = [format_reader.read(path.read_bytes()).facts for path in GOLDEN_SHA256]
    record = facts[0].pop("record")
    assert facts[0] == facts[1] and len(record) > 5
    saved = GOLDEN.stat().st_size - GOLDEN_BARE.stat().st_size
    assert 72 + 30 < saved < 72 + len(str(record))


def with_group(numbers, name, group):
    return replace(numbers, groups=numbers.groups | {name: group})


def test_numbers_that_are_not_contiguous():
    artifact = golden_artifact()
    codes, step = artifact.numbers.groups[ANGLES].codes, artifact.numbers.groups[ANGLES].step
    turned = codes.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    numbers = with_group(artifact.numbers, ANGLES, Coded(turned, step))
    assert encode_artifact(Artifact(artifact.description, numbers)) == encode_artifact(artifact)


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
    assert path.read_bytes() == encode_artifact(golden_artifact())


@pytest.mark.parametrize(
    ("angles", "words"),
    [
        (torch.full((3, 2, 3, 1), -2048), "its codes range from -2048 to -2048"),
        (
            99 * torch.arange(18).view(3, 2, 3, 1),
            "its numbers take 49 bytes; needed: 23 to 41",
        ),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, angles, words):
    artifact = golden_artifact()
    numbers = with_group(artifact.numbers, ANGLES, Coded(angles, 3 / 128))
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


def stored_as(spec, mapping, kept):
    """A random generator's numbers with this mapping and these kept tensors, as a file has them."""
    groups = numbers_of(spec).groups | {MAPPING: mapping}
    return as_stored(forms_of(OURS, plan_of(spec), spec.layout), spec.layout, groups, kept)


def test_numbers_become_what_a_file_gives_back():
    """float16 for a mapping beside codes, cut off, and for running statistics that it holds."""
    mapping = torch.tensor([1 / 3, 1e9])
    kept = {"norm.running_mean": torch.tensor([1 / 3, -1e9]), "norm.count": torch.tensor(2**40)}
    stored = stored_as(spec_of(), mapping, kept | {"another": torch.zeros(1)})
    coded, rounded = stored.groups[MAPPING], stored.kept
    assert coded.tolist() == [0.333251953125, 65504] and coded.dtype == torch.float32
    assert rounded["norm.running_mean"].tolist() == pytest.approx([1 / 3, -1e9])
    low = stored_as(spec_of(), mapping, kept | {"norm.running_mean": torch.tensor([1 / 3, 2])}).kept
    assert low["norm.running_mean"].tolist() == [0.333251953125, 2]
    assert rounded["norm.count"].item() == 2**40 and rounded.keys() == kept.keys()
    assert torch.equal(stored_as(spec_of(bits=32), mapping, kept).groups[MAPPING], mapping)


@given(specs())
@settings(max_examples=40, deadline=None)
def test_stored_numbers_are_stored_without_loss(spec):
    numbers = numbers_of(spec)
    forms = forms_of(OURS, plan_of(spec), spec.layout)
    assert same_numbers(as_stored(forms, spec.layout, numbers.groups, numbers.kept), numbers)


@pytest.mark.parametrize("size", [1000, 2**26 // 4 + 10**6])
def test_kept_tensors_that_shrink_to_nothing_are_read_back(tmp_path, size):
    """Beyond what a reader inflates of so few bytes they are stored as they are."""
    layout = LayoutSpec((TensorEntry("w", (3,), "F32", GENERATED), TensorEntry("mask", (size,), "F32", KEPT)))
    artifact = artifact_of(
        spec_of(layout), replace(numbers_of(spec_of(layout)), kept={"mask": torch.zeros(size)})
    )
    write_artifact(tmp_path / "a.qtrain", artifact)
    assert same_numbers(read_artifact(tmp_path / "a.qtrain").numbers, artifact.numbers)
    assert ((tmp_path / "a.qtrain").stat().st_size > 4 * size) == (size > 1000)


MASKED = LayoutSpec(
    (
        TensorEntry("w", (5, 3), "F32", GENERATED, 3),
        TensorEntry("mask", (5, 3), "F32", KEPT, stored=BIT_EACH),
    )
)


def test_bits_are_those_of_the_elements_and_no_more(tmp_path, monkeypatch):
    stored = torch.tensor([0b10110010, 0b0101011], dtype=torch.uint8)
    spec, mask = spec_of(MASKED), torch.tensor([0, 1, 0, 0, 1, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0.0]).view(5, 3)
    artifact = artifact_of(spec, replace(numbers_of(spec), kept={"mask": mask}))
    monkeypatch.setattr(file_numbers, "in_file", lambda entry, tensor: stored)
    (tmp_path / "a.qtrain").write_bytes(encode_artifact(artifact))
    assert torch.equal(read_artifact(tmp_path / "a.qtrain").numbers.kept["mask"], mask)
    stored[1] |= 0b10000000
    (tmp_path / "b.qtrain").write_bytes(encode_artifact(artifact))
    with pytest.raises(Refused, match="tensor 'mask' has bits behind its last element"):
        read_artifact(tmp_path / "b.qtrain")
