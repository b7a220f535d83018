"""Streams against Philox in plain Python, their distributions, and exact numbers that may never change."""

import itertools
import math

import numpy as np
import pytest
from format_weights import philox_words as plain_words

from qtrain_cli.portable import streams

STREAMS = [streams.philox_words, streams.uniform_stream, streams.normal_stream, streams.sign_stream]


@pytest.mark.parametrize(("seed", "stream"), [(0, 0), (7, 3), (2**63 - 1, 2**64 - 1)])
def test_the_words_are_those_of_philox(seed, stream):
    expected = list(itertools.islice(plain_words(seed, stream), 11))
    assert streams.philox_words(seed, stream, 11).tolist() == expected


@pytest.mark.parametrize("draw", STREAMS)
@pytest.mark.parametrize("first", [0, 1, 2, 3, 5, 63, 64, 65, 130])
def test_any_part_of_a_stream_is_found_alone(draw, first):
    assert (draw(5, 1, 300)[first : first + 99] == draw(5, 1, 99, first)).all()


def test_the_formulas_are_those_of_the_page():
    u, v = ((word >> 12) * 2.0**-52 + 2.0**-53 for word in itertools.islice(plain_words(9, 2), 2))
    assert streams.uniform_stream(9, 2, 2).tolist() == [u, v]
    radius, angle = math.sqrt(-2 * math.log(u)), 2 * math.pi * v
    expected = [radius * math.cos(angle), radius * math.sin(angle)]
    np.testing.assert_allclose(streams.normal_stream(9, 2, 2), expected, rtol=1e-14)
    word = next(plain_words(9, 2))
    assert streams.sign_stream(9, 2, 64).tolist() == [1.0 if word >> j & 1 else -1.0 for j in range(64)]


def test_the_numbers_never_change():
    assert [value.hex() for value in streams.normal_stream(1, 2, 3)] == NORMAL
    assert streams.philox_words(1, 2, 2).tolist() == WORDS


def test_normal_numbers_are_normal():
    values = streams.normal_stream(11, 0, 200_000)
    moments = [float((values**power).mean()) for power in (1, 2, 3, 4)]
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.05)
    assert abs(float((values[::2] * values[1::2]).mean())) < 0.01


WORDS = [5705853004827290377, 6584680345644299050]
NORMAL = ["-0x1.e84fce2f0d3b9p-1", "0x1.32e639c1600b2p+0", "0x1.3f6f0063d4f38p+1"]
