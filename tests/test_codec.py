"""The coder gives back what it was given, in as many bytes as its histogram says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qtrain_cli.codec import SLACK, Row, bits_needed, decode_rows, encode_rows, form_of
from qtrain_cli.errors import BadInput


def row(codes, model=0, low=None, high=None):
    codes = np.asarray(codes, np.int64)
    return Row(
        codes, int(codes.min()) if low is None else low, int(codes.max()) if high is None else high, model
    )


@given(st.lists(st.lists(st.integers(-40, 40), min_size=1, max_size=300), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_what_went_in_comes_out(lists):
    rows = [row(codes, model) for model, codes in enumerate(lists)]
    found = decode_rows(encode_rows(rows), [form_of(one) for one in rows])
    assert [codes.tolist() for codes in found] == lists


@given(st.lists(st.integers(0, 1), max_size=3000), st.integers(2, 4096))
@settings(max_examples=50, deadline=None)
def test_carries_and_wide_alphabets_come_out_too(bits, size):
    rows = [row(np.array(bits, np.int64) * (size - 1), low=0, high=size - 1)]
    assert decode_rows(encode_rows(rows), [form_of(rows[0])])[0].tolist() == rows[0].codes.tolist()


@pytest.mark.parametrize("spread", [0.3, 1, 4, 30])
@pytest.mark.parametrize("count", [1, 50, 5000, 60_000])
def test_the_size_follows_from_the_histogram(spread, count):
    codes = np.random.default_rng(0).normal(0, spread, count).round().astype(np.int64)
    one = row(codes)
    bits = bits_needed(np.bincount(codes - one.low))
    written = len(encode_rows([one]))
    # Halved counts forget, which costs or saves a little on long rows.
    assert written <= bits / 8 + SLACK + (count > 30_000) * bits / 8 * 0.005
    assert written >= bits / 8 * 0.99 - SLACK
    assert decode_rows(encode_rows([one]), [form_of(one)])[0].tolist() == codes.tolist()


def test_counts_that_were_halved_forget():
    """A long row that changes half-way: plain counts would take half a bit more for each of its numbers."""
    codes = np.repeat([0, 1], 60_000)
    assert len(encode_rows([row(codes)])) < bits_needed(np.bincount(codes)) / 8 / 2


def test_rows_that_share_their_counts_cost_less_when_they_are_alike():
    codes = np.random.default_rng(1).normal(0, 3, (20, 30)).round().astype(np.int64)
    low, high = int(codes.min()), int(codes.max())
    shared = encode_rows([row(part, 0, low, high) for part in codes])
    apart = encode_rows([row(part, model, low, high) for model, part in enumerate(codes)])
    assert len(shared) < 0.95 * len(apart)
    forms = [form_of(row(part, 0, low, high)) for part in codes]
    assert np.array_equal(decode_rows(shared, forms), codes)


def test_a_strangers_bytes_give_numbers_within_their_range():
    form = form_of(row([-3, 3] * 100))
    for message in (b"", b"\xff" * 100, bytes(range(256))):
        codes = decode_rows(message, [form])[0]
        assert len(codes) == 200 and codes.min() >= -3 and codes.max() <= 3


def test_what_cannot_be_coded_is_refused():
    with pytest.raises(BadInput, match="a number to code lies outside 0 to 3"):
        encode_rows([row([4], low=0, high=3)])
    with pytest.raises(BadInput, match="an alphabet of 5000 symbols; allowed: 1 to 4096"):
        encode_rows([row([0], low=0, high=4999)])
    with pytest.raises(BadInput, match="an alphabet of 0 symbols"):
        decode_rows(b"", [form_of(row([0], low=1, high=0))])
    with pytest.raises(BadInput, match="one a model"):
        encode_rows([row([0], low=0, high=1), row([0], low=0, high=2)])
