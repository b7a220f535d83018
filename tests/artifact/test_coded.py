"""Groups of codes as bytes: there and back, the size known beforehand, one right way to write them."""

import struct

import format_reader
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qtrain_cli.artifact.coded import Codes, pack, unpack
from qtrain_cli.artifact.extents import MAX_CODES, check_forms, check_size, raw_bytes
from qtrain_cli.errors import BadInput
from qtrain_cli.files.codec import MAX_CODE, bits_needed
from qtrain_cli.files.groups import group_bits
from qtrain_cli.files.message import MESSAGE_SLACK
from qtrain_cli.methods.forms import Form

codes = st.lists(st.integers(-MAX_CODE, MAX_CODE), min_size=1, max_size=40)
small = st.lists(st.integers(-127, 127), min_size=1, max_size=60)


def groups_of(lists, dtype="F16", step=0.5):
    """Forms and codes of some lists."""
    forms = {f"g{place}": Form((len(part),), dtype) for place, part in enumerate(lists)}
    return forms, {f"g{place}": Codes(np.array(part, np.int64), step) for place, part in enumerate(lists)}


def packed(lists, dtype="F16", step=0.5):
    return pack(*groups_of(lists, dtype, step))


def lists_of(groups):
    return [group.codes.tolist() for group in groups.values()]


@given(st.lists(codes, min_size=1, max_size=5), st.sampled_from(["F16", "F32"]))
@settings(max_examples=60, deadline=None)
def test_there_and_back(lists, dtype):
    forms, groups = groups_of(lists, dtype)
    found = unpack(forms, pack(forms, groups))
    assert list(found) == list(forms) and lists_of(found) == lists
    assert {group.step for group in found.values()} == {0.5}


@given(st.lists(codes, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_a_decoder_made_from_the_page_finds_the_same(lists):
    found = format_reader._coded([len(part) for part in lists], "<e", packed(lists))
    assert found == [(0.5, part) for part in lists]


@given(st.lists(small, min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_the_size_is_known_beforehand_and_no_larger(lists):
    bound = group_bits([np.array(part) for part in lists]) / 8 + (len(lists) > 1) + MESSAGE_SLACK
    assert bound - 6 < len(packed(lists)) <= bound
    check_size(groups_of(lists)[0], len(packed(lists)))


def test_the_bytes_do_not_change():
    assert packed([[0, 1, -1, 0, 2], [3]]).hex(" ") == "01 00 38 01 06 04 00 38 5f"
    assert packed([[0, 1, -1, 0, 2]], "F32", 0.1).hex(" ") == "cd cc cc 3d 01 04 03 77 31"
    assert packed([[0] * 9]).hex(" ") == "00 38 00 00 00"
    assert pack({}, {}) == b"" and unpack({}, b"") == {}


def normal(deviation, count):
    draw = np.random.default_rng(0)
    return draw.normal(0, deviation, count).round().astype(np.int64)


@pytest.mark.parametrize(("deviations", "shared"), [((9, 9, 9, 9), 1), ((1, 4, 16, 40), 0)])
def test_groups_have_the_counts_that_pay(deviations, shared):
    """Counts begin with the same bell as ours, of one spread for all or of each group's own."""
    parts = [normal(deviation, 300) for deviation in deviations]
    assert packed(parts)[0] == shared
    flat = sum(bits_needed(np.bincount(part - part.min())) for part in parts)
    assert group_bits(parts) < flat + (16 + 16 + 8) * len(parts) - 50


def test_shared_counts_say_their_range_once():
    parts = [normal(5, 40)] * 6
    whole = group_bits([np.concatenate(parts)])
    assert group_bits(parts) == pytest.approx(whole + 5 * 16)


GOOD = packed([[0, 1, -1, 2, 0, 0]], "F32")
ONE = groups_of([[0] * 6], "F32")[0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut short"),
        (GOOD[:3], "cut short"),
        (GOOD[:6], "cut short"),
        (GOOD[:4] + b"\x80\x80\x80\x80", "cut short"),
        (GOOD + b"\x01", "bytes that mean nothing"),
        (GOOD + b"\0", "bytes that mean nothing"),
        (GOOD[:4] + b"\x81\x00" + GOOD[5:], "bytes that mean nothing"),  # one byte more than it needs
        (GOOD[:4] + b"\xff\x1f" + GOOD[5:], "its codes range from -2048 to 2; allowed: -2047 to 2047"),
        (GOOD[:5] + b"\x80\x20" + GOOD[6:], "its codes range from -1 to 2048"),
        (GOOD[:5] + b"\x03" + GOOD[6:], "its codes range from -1 to -2"),
        (GOOD[:5] + b"\x64" + GOOD[6:], "its codes do not range from -1 to 50"),
        (struct.pack("<f", 0.0) + GOOD[4:], "its step is 0.0"),
        (struct.pack("<f", -1.0) + GOOD[4:], "its step is -1.0"),
        (struct.pack("<f", float("nan")) + GOOD[4:], "its step is nan"),
        (struct.pack("<f", float("inf")) + GOOD[4:], "its step is inf"),
    ],
)
def test_bytes_that_no_writer_writes(data, message):
    with pytest.raises(BadInput, match=message):
        unpack(ONE, data)


@pytest.mark.parametrize(("first", "message"), [(b"\2", "shared or not; found: 2"), (b"", "cut short")])
def test_what_is_shared_is_said_by_0_or_1(first, message):
    forms, data = groups_of([[0, 1], [1, 0]])[0], packed([[0, 1], [1, 0]])
    with pytest.raises(BadInput, match=message):
        unpack(forms, first + data[1:] if first else b"")


@given(st.binary(max_size=40), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_any_bytes(data, count):
    """Read as what a writer writes, or refused."""
    forms = groups_of([[0] * 3] * count)[0]
    try:
        found = unpack(forms, data)
    except BadInput:
        return
    assert len(found) == count and all(group.codes.shape == (3,) for group in found.values())


def test_forms_that_cannot_be():
    check_forms({"a": Form((MAX_CODES,)), "b": Form((MAX_CODES + 1,), coded=False)})
    with pytest.raises(BadInput, match="4194305 numbers are coded; allowed: 4194304"):
        check_forms({"a": Form((MAX_CODES,)), "b": Form((1,))})
    with pytest.raises(BadInput, match="a group of its numbers is empty"):
        check_forms({"a": Form((3, 0))})


def test_sizes_that_cannot_be():
    forms = {
        "a": Form((5,), "F16", coded=False),
        "b": Form((100,), "F32", bits=4),
        "c": Form((), "F32", bits=4),
    }
    assert raw_bytes(forms) == 10
    least, most = 10 + 1 + 8 + 3, 10 + 1 + 8 + 10 + 51 + 4
    check_size(forms, least)
    check_size(forms, most)
    for size in (least - 1, most + 1):
        with pytest.raises(BadInput, match=f"its numbers take {size} bytes; needed: {least} to {most}"):
            check_size(forms, size)
