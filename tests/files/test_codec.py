"""The coder gives back what it was given, in as many bytes as its histogram says."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qtrain_cli.errors import BadInput
from qtrain_cli.files.codec import (
    MAX_SPREAD,
    Row,
    best_spread,
    bits_needed,
    decode_rows,
    encode_rows,
    first_counts,
    form_of,
)
from qtrain_cli.files.message import MESSAGE_SLACK


def row(codes, model=0, low=None, high=None):
    codes = np.asarray(codes, np.int64)
    return Row(
        codes, int(codes.min()) if low is None else low, int(codes.max()) if high is None else high, model
    )


@given(st.lists(st.lists(st.integers(-40, 40), min_size=1, max_size=300), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
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
    assert written <= bits / 8 + MESSAGE_SLACK + (count > 30_000) * bits / 8 * 0.005
    assert written >= bits / 8 * 0.99 - MESSAGE_SLACK
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


def normal(deviation, count, seed=0):
    return np.random.default_rng(seed).normal(0, deviation, count).round().astype(np.int64)


def spread_row(codes, spread):
    return Row(codes, int(codes.min()), int(codes.max()), spread=spread)


def test_first_counts_are_a_bell_around_zero():
    assert first_counts(-3, 2, 0) == (1,) * 6
    # 32 q**4 / (q**2 + s**2)**2 for q = 2 and s = -3..3, by hand: 512 / 169, 512 / 64, 512 / 25, 32.
    assert first_counts(-3, 3, 2) == (3, 8, 20, 32, 20, 8, 3)
    assert min(first_counts(-2047, 2047, 1)) == 1
    assert sum(first_counts(-2047, 2047, MAX_SPREAD)) < 2**16


@given(st.lists(st.integers(-60, 60), min_size=1, max_size=400), st.integers(0, MAX_SPREAD))
@settings(max_examples=50, deadline=None)
def test_any_spread_gives_the_numbers_back_in_the_bytes_it_says(codes, spread):
    one = spread_row(np.array(codes, np.int64), spread)
    message = encode_rows([one])
    assert decode_rows(message, [form_of(one)])[0].tolist() == codes
    bits = bits_needed(np.bincount(one.codes - one.low), one.low, spread)
    assert bits / 8 - 4 <= len(message) <= bits / 8 + MESSAGE_SLACK


@pytest.mark.parametrize("deviation", [0.4, 2, 10, 60])
def test_the_best_spread_is_no_worse_than_none_and_near_the_deviation(deviation):
    codes = normal(deviation, 400)
    low, histogram = int(codes.min()), np.bincount(codes - codes.min())
    spread = best_spread(histogram, low)
    bits = bits_needed(histogram, low, spread)
    assert bits <= bits_needed(histogram, low) and 0 <= spread <= 3 * deviation + 1
    if deviation >= 10:
        assert spread >= deviation and bits < bits_needed(histogram, low) - 30


@pytest.mark.parametrize("deviation", [2, 10, 60])
def test_the_bell_comes_near_to_knowing_the_deviation(deviation):
    """Within 0.03 bits a number of the entropy of normal numbers, from some hundreds of them on."""
    codes = np.concatenate([normal(deviation, 4000, seed) for seed in range(3)])
    low, histogram = int(codes.min()), np.bincount(codes - codes.min())
    known = math.log2(deviation * math.sqrt(2 * math.pi * math.e))
    assert bits_needed(histogram, low, best_spread(histogram, low)) / codes.size < known + 0.03


def test_numbers_far_from_zero_need_no_bell():
    histogram = np.array([5, 9, 4])
    assert best_spread(histogram, 900) == 0
    assert best_spread(np.array([7]), 0) == 0


def test_a_wide_alphabet_is_found_block_by_block():
    """Symbols at both ends of blocks of 64, and counts that were halved on the way."""
    codes = np.tile(np.array([0, 63, 64, 127, 128, 2000, 4095], np.int64), 6000)
    one = Row(codes, 0, 4095)
    assert np.array_equal(decode_rows(encode_rows([one]), [form_of(one)])[0], codes)


def test_rows_of_one_model_have_one_spread():
    with pytest.raises(BadInput, match="one a model"):
        encode_rows([Row(np.zeros(1, np.int64), 0, 1, 0, 3), Row(np.zeros(1, np.int64), 0, 1, 0, 4)])
