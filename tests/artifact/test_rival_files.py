"""Files of rivals: there and back, their size known beforehand, regenerated, and read by the page alone."""

from dataclasses import replace

import format_reader
import numpy as np
import pytest
import torch
from artifacts import (
    FAST_PLANS,
    LAYOUT,
    MEASURED,
    RIVAL_PLANS,
    artifact_of,
    layouts,
    rival_of,
    same_numbers,
    spec_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from qtrain_cli.artifact.container import container_of, read_container
from qtrain_cli.artifact.description import Origin, describe, facts, read_record
from qtrain_cli.artifact.numbers import (
    Artifact,
    Coded,
    StoredNumbers,
    as_stored,
    decode_artifact,
    encode_artifact,
    forms_of,
    read_artifact,
    write_artifact,
)
from qtrain_cli.artifact.size import Known, bytes_bound, frame_bytes
from qtrain_cli.errors import BadInput, Refused
from qtrain_cli.files.groups import group_bits
from qtrain_cli.runs.regenerate import digest_of, generated, regenerate
from qtrain_cli.targets.entries import KEPT, LayoutSpec, TensorEntry
from qtrain_cli.targets.layout import join

EACH = pytest.mark.parametrize("name", RIVAL_PLANS)
#: Those and whether their matrix is fast.
KINDS = [(name, False) for name in RIVAL_PLANS] + [(name, True) for name in FAST_PLANS]
seeds = st.integers(0, 2**20)
rivals = st.builds(rival_of, st.sampled_from(sorted(RIVAL_PLANS)), layouts(), seeds, st.integers(1, 2047))


def weights_of(artifact):
    found = artifact.description
    return join(found.layout, generated(found.method, found.plan, found.layout, artifact.numbers))


@given(rivals)
@settings(max_examples=50, deadline=None)
def test_there_and_back(tmp_path_factory, artifact):
    path = tmp_path_factory.getbasetemp() / "rival.qtrain"
    write_artifact(path, artifact, force=True)
    found = read_artifact(path)
    assert found.description == artifact.description and same_numbers(artifact.numbers, found.numbers)
    assert encode_artifact(found) == path.read_bytes()


@EACH
def test_its_facts_name_the_method(tmp_path, name):
    path, artifact = tmp_path / "a.qtrain", rival_of(name)
    write_artifact(path, artifact)
    found = describe(path)
    assert facts(found)["method"] == name and facts(found)["plan"] == RIVAL_PLANS[name]
    with pytest.raises(BadInput, match=f"a file of the rival '{name}', which has no circuits"):
        read_record(path)
    with pytest.raises(BadInput, match="only ours has one"):
        replace(found, origin=Origin(MEASURED, "0" * 16))


@given(st.sampled_from(sorted(KINDS)), layouts(("F32", "F16", "BF16")), seeds)
@settings(max_examples=60, deadline=None)
def test_a_reader_made_from_the_page_gets_the_same(kind, layout, seed):
    name, fast = kind
    artifact = rival_of(name, layout, seed, fast=fast)
    found, weights = format_reader.read(encode_artifact(artifact)), weights_of(artifact)
    codes = [group.codes.flatten().tolist() for group in artifact.numbers.groups.values()]
    assert found.codes == [code for group in codes for code in group]
    assert found.digest == artifact.description.digest.sha256 and found.facts["method"] == name
    np.testing.assert_array_equal(found.weights, weights)
    assert found.sha256 == found.digest and found.stored_probes == []


@pytest.mark.parametrize(("name", "fast"), KINDS)
def test_it_is_regenerated_and_held_against_its_digest(name, fast):
    artifact = rival_of(name, fast=fast)
    found = regenerate(artifact)
    assert found.exact and found.tolerance == 0
    assert [entry.name for entry in LAYOUT.entries] == list(found.state)
    assert found.state["norm.weight"].dtype == torch.float16
    assert digest_of(LAYOUT, found.state, {}).sha256 == artifact.description.digest.sha256


@EACH
def test_a_changed_number_is_refused(name):
    artifact = rival_of(name)
    group, first = next(iter(artifact.numbers.groups.items()))
    moved = torch.eye(1, first.codes.numel()).long().view(first.codes.shape)
    changed = {**artifact.numbers.groups, group: Coded(first.codes + moved, first.step)}
    with pytest.raises(Refused, match="do not match the artifact's digest"):
        regenerate(Artifact(artifact.description, StoredNumbers(changed, artifact.numbers.kept)))


def test_numbers_of_another_name_are_refused():
    artifact = rival_of("hashing")
    numbers = StoredNumbers({"d": artifact.numbers.groups["v"]}, artifact.numbers.kept)
    with pytest.raises(Refused, match=r"of the method 'hashing' cannot be decoded \(KeyError: 'v'\)"):
        regenerate(Artifact(artifact.description, numbers))


def test_a_step_becomes_half_precision():
    artifact = rival_of("hashing")
    (group,) = artifact.numbers.groups.values()
    forms = forms_of("hashing", artifact.description.plan, artifact.description.layout)
    for step, expected in ((1 / 3, 0.333251953125), (1e9, 65504)):
        groups = {"v": Coded(group.codes, step)}
        found = as_stored(forms, artifact.description.layout, groups, artifact.numbers.kept)
        assert found.groups["v"].step == expected


@given(st.builds(rival_of, st.sampled_from(sorted(RIVAL_PLANS)), layouts(), seeds, st.integers(1, 127)))
@settings(max_examples=60, deadline=None)
def test_no_file_is_larger_than_its_bound_and_its_frame(artifact):
    found, kept = artifact.description, artifact.numbers.kept
    codes = [group.codes.flatten().numpy() for group in artifact.numbers.groups.values()]
    size, whole = len(encode_artifact(artifact)), group_bits(codes)
    assert size <= frame_bytes(found, kept) + whole / 8
    assert size <= frame_bytes(found, kept, size) + whole / 8 <= size + 8 + 8
    known = Known("m.pt", example=found.example, bare=True)
    alone = whole - 16 * len(codes) - 24  # without steps, and the least that a range and a spread take
    assert size <= bytes_bound(found.method, found.plan, found.layout, known, alone)


def test_a_frame_counts_kept_tensors_as_they_are():
    artifact = rival_of("pruning")
    layout = LayoutSpec((*artifact.description.layout.entries, TensorEntry("k", (500,), "F32", KEPT)))
    description = replace(artifact.description, layout=layout)
    random = torch.rand(500, generator=torch.Generator().manual_seed(0))
    sizes = [frame_bytes(description, artifact.numbers.kept | {"k": k}) for k in (torch.zeros(500), random)]
    assert sizes[0] + 1500 < sizes[1] <= sizes[0] + 2005


def test_a_frame_of_ours_holds_its_mapping():
    artifact = artifact_of(spec_of(mapping="mlp"))
    size = len(encode_artifact(artifact))
    angles = artifact.numbers.groups["angles"].codes.flatten().numpy()
    frame = frame_bytes(artifact.description, artifact.numbers.kept, size)
    assert size <= frame + group_bits([angles]) / 8 + 2 <= size + 16  # its step is a float32


def test_bytes_in_memory_are_read_as_a_file_is(tmp_path):
    path, artifact = tmp_path / "a.qtrain", rival_of("low-rank")
    written = write_artifact(path, artifact)
    found = container_of(path, encode_artifact(artifact))
    assert found.data == written.data == read_container(path).data
    assert decode_artifact(found).description == artifact.description
