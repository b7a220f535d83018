"""A rival's file: there and back for any content, its size known beforehand, damage refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qtrain_cli.artifact.packed import Group, Packed, frame_bytes, read_packed, write_packed
from qtrain_cli.errors import BadInput
from qtrain_cli.files.codec import bits_needed
from qtrain_cli.files.groups import group_bits
from qtrain_cli.targets.entries import GENERATED, KEPT, LayoutSpec
from qtrain_cli.targets.layout import layout_of


class Tied(torch.nn.Module):
    """A tied weight, running statistics, a half-precision and an empty buffer."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(3, 3)
        self.norm = torch.nn.BatchNorm1d(3)
        self.again = torch.nn.Linear(3, 3, bias=False)
        self.again.weight = self.first.weight
        self.register_buffer("narrow", torch.ones(2, dtype=torch.bfloat16))
        self.register_buffer("none", torch.zeros(0))


def packed_of(lists, module=None):
    module = module or Tied()
    layout = layout_of(module)
    state = module.state_dict()
    kept = {entry.name: state[entry.name] for entry in layout.of_role(KEPT)}
    groups = tuple(Group(np.array(codes, np.int64), 0.5) for codes in lists)
    return Packed("pruning", {"survivors": 3}, layout, groups, kept)


def plain(layout):
    """A layout that says nothing of narrow storage: here every float32 is stored as float16."""
    return LayoutSpec(tuple(replace(entry, stored="") for entry in layout.entries))


def read(data, lists):
    return read_packed(data, lambda method, plan, layout: [len(codes) for codes in lists])


codes = st.lists(st.integers(-127, 127), min_size=1, max_size=60)


@given(st.lists(codes, min_size=1, max_size=5))
@settings(max_examples=80, deadline=None)
def test_there_and_back(lists):
    packed = packed_of(lists)
    data = write_packed(packed)
    found = read(data, lists)
    assert (found.method, found.plan, found.layout) == (packed.method, packed.plan, plain(packed.layout))
    assert [group.codes.tolist() for group in found.groups] == lists
    assert {group.step for group in found.groups} == {0.5}
    assert found.kept.keys() == packed.kept.keys()
    assert all(torch.equal(found.kept[name], packed.kept[name]) for name in packed.kept)
    assert write_packed(found) == data


@given(st.lists(codes, min_size=1, max_size=5))
@settings(max_examples=80, deadline=None)
def test_the_size_is_known_beforehand_and_no_larger(lists):
    packed = packed_of(lists)
    numbers = group_bits([group.codes for group in packed.groups]) / 8
    bound = frame_bytes(packed.method, packed.plan, packed.layout, packed.kept) + numbers
    assert bound - 6 < len(write_packed(packed)) <= bound
    assert frame_bytes(packed.method, packed.plan, packed.layout, None) + numbers >= bound - 1


def test_the_size_of_kept_tensors_is_bounded_whatever_their_values_are():
    module = torch.nn.BatchNorm1d(500)
    module.running_mean, module.running_var = torch.randn(500), torch.rand(500)
    packed = packed_of([[1]], module)
    bound = frame_bytes(packed.method, packed.plan, packed.layout, None)
    assert 2000 < frame_bytes(packed.method, packed.plan, packed.layout, packed.kept) <= bound < 2300


def test_kept_floats_are_stored_in_half_precision():
    packed = packed_of([[1]])
    exact = packed.kept["norm.running_mean"] + 1 / 3
    changed = Packed(
        packed.method, packed.plan, packed.layout, packed.groups, packed.kept | {"norm.running_mean": exact}
    )
    found = read(write_packed(changed), [[1]])
    assert torch.equal(found.kept["norm.running_mean"], exact.half().float())


def test_the_bytes_do_not_change():
    packed = packed_of([[0, 1, -1, 0, 2], [3]], torch.nn.Linear(2, 2))
    assert [entry.name for entry in packed.layout.of_role(GENERATED)] == ["weight", "bias"]
    data = write_packed(packed)
    # The header is left out: another version of zlib may deflate it to other bytes.
    assert data.startswith(b"QP1")
    assert data[-10:].hex(" ") == "01 00 38 01 06 04 00 38 00 5f"


@pytest.mark.parametrize("cut", [0, 2, 4, 20, 60])
def test_a_file_that_is_cut_short_is_refused(cut):
    lists = [[1, 2, 3]] * 3
    with pytest.raises(BadInput, match=r"rival is (malformed|truncated)|not the file of a rival"):
        read(write_packed(packed_of(lists))[:cut], lists)


def test_another_file_is_refused():
    with pytest.raises(BadInput, match="this is not the file of a rival"):
        read(b"PK\x03\x04" * 30, [[1]])


def normal(deviation, count=60, groups=4):
    draw = np.random.default_rng(0)
    return [draw.normal(0, deviation, count).round().astype(np.int64) for _ in range(groups)]


@pytest.mark.parametrize(("deviations", "shared"), [((9, 9, 9, 9), 1), ((1, 4, 16, 40), 0)])
def test_groups_have_the_spread_that_pays(deviations, shared):
    """A rival's counts begin with the same bell as ours, of one spread for all or of each group's own."""
    codes = [part for deviation in deviations for part in normal(deviation, 300, 1)]
    packed = packed_of([part.tolist() for part in codes], torch.nn.Linear(2, 2))
    data = write_packed(packed)
    place = data.index(b"\x00\x38") - 1  # the first step, 0.5, after one byte that says whether all share
    assert data[place] == shared
    found = read(data, codes)
    assert [group.codes.tolist() for group in found.groups] == [part.tolist() for part in codes]
    flat = sum(bits_needed(np.bincount(part - part.min())) for part in codes)
    assert group_bits(codes) < flat + (16 + 16 + 8) * len(codes) - 50


def test_shared_counts_say_their_range_once():
    parts = normal(5, 40, 6)
    whole = group_bits([np.concatenate(parts)])
    assert group_bits(parts) == pytest.approx(whole + 5 * 16)
