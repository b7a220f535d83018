"""Levels of noise in words: read, named, and refused."""

import pytest

from qtrain_cli.errors import UsageError
from qtrain_cli.quantum.noise import NOISES, Noise, parse_noises


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        (None, [Noise()]),
        ("none", [Noise()]),
        ("depolarizing:0.001", [Noise(0.001)]),
        ("depolarizing:0", [Noise()]),
        ("none, depolarizing:1e-3 ,readout:0.02", [Noise(), Noise(0.001), Noise(readout=0.02)]),
        ("depolarizing:1e-3+readout:1", [Noise(0.001, 1.0)]),
    ],
)
def test_levels(text, levels):
    assert list(parse_noises(text)) == levels


def test_a_level_is_named_as_it_is_written():
    text = "none,depolarizing:0.00012345678,readout:0.02,depolarizing:1e-05+readout:0.5"
    assert ",".join(level.name for level in parse_noises(text)) == text
    assert [getattr(Noise(**{name: 0.5}), name) for name in NOISES] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("text", "message", "advice"),
    [
        ("depolarising:0.1", "unknown noise 'depolarising'", "did you mean 'depolarizing'?"),
        ("amplitude", "unknown noise 'amplitude'", "allowed: depolarizing, readout, none"),
        ("depolarizing", "the probability of depolarizing noise is '', not a number", "write e.g."),
        ("depolarizing:x", "the probability of depolarizing noise is 'x', not a number", "write e.g."),
        ("depolarizing:1.5", "the probability of depolarizing noise is 1.5; allowed: 0 to 1", "write e.g."),
        ("readout:-0.1", "the probability of readout noise is -0.1; allowed: 0 to 1", "write e.g."),
        ("readout:nan", "the probability of readout noise is nan; allowed: 0 to 1", "write e.g."),
        ("readout:0.1+readout:0.2", "the noise 'readout:0.1+readout:0.2' has readout twice", "write e.g."),
        ("readout:0.1,readout:.1", "the noise readout:0.1 is given twice", "give each level once"),
        ("readout:0.1,", "unknown noise ''", "allowed: depolarizing, readout, none"),
    ],
)
def test_what_is_refused(text, message, advice):
    with pytest.raises(UsageError) as caught:
        parse_noises(text)
    assert caught.value.message == message
    assert caught.value.advice.startswith(advice)
