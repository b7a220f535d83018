"""Each function against mpmath, to units of the last place, and the compiled steps against NumPy's."""

import math

import mpmath
import numpy as np
import pytest

from qtrain_cli.portable import functions, kernel

mpmath.mp.prec = 200
RANDOM = np.random.default_rng(7)
BOTH = np.concatenate((10.0 ** RANDOM.uniform(-300, 0, 300), -(10.0 ** RANDOM.uniform(-300, 0, 300))))
#: Angles: small, of circuits, large, and as near to the zeros of sine and cosine as float64 comes.
NEAR_ZEROS = np.arange(-2000, 2000, 7) * (math.pi / 2)
ANGLES = np.concatenate(
    (BOTH, RANDOM.uniform(-7, 7, 2000), RANDOM.uniform(-(2**20), 2**20, 2000), NEAR_ZEROS)
)
POSITIVE = (10.0 ** RANDOM.uniform(-300, 300, 1000), 1 + RANDOM.uniform(-0.5, 1, 2000), 1 + BOTH / 10)
BENT = np.concatenate((BOTH, RANDOM.uniform(-25, 25, 2000), RANDOM.uniform(-1, 1, 2000)))
SHARES = RANDOM.uniform(1e-9, 1, 2000)
CASES = {
    "sine": (lambda x: functions.sine_cosine(x)[0], mpmath.sin, ANGLES, 0.9),
    "cosine": (lambda x: functions.sine_cosine(x)[1], mpmath.cos, ANGLES, 0.9),
    "tangent": (functions.tangent, mpmath.tanh, BENT, 2.5),
    "exponential": (functions.exponential, mpmath.exp, RANDOM.uniform(-700, 700, 3000), 1.0),
    "logarithm": (functions.natural_logarithm, mpmath.log, np.concatenate(POSITIVE), 2.0),
    "power": (lambda x: functions.power(x, 0.3), lambda x: x ** mpmath.mpf(0.3), SHARES, 4.0),
}


def bits_of(values):
    return np.ascontiguousarray(values).view(np.int64)


@pytest.mark.parametrize("native", ["0", "1"])
@pytest.mark.parametrize("name", CASES)
def test_it_is_right_to_the_last_place(name, native, monkeypatch):
    monkeypatch.setenv("QTRAIN_NATIVE", native)
    function, true, arguments, bound = CASES[name]
    for x, found in zip(arguments, function(arguments), strict=True):
        expected = true(mpmath.mpf(float(x)))
        unit = mpmath.mpf(float(np.spacing(abs(float(expected)))))
        assert abs(mpmath.mpf(float(found)) - expected) <= bound * unit, (x, found)


@pytest.mark.parametrize("level", ["base", "best"])
@pytest.mark.parametrize("function", [functions.sine_cosine, functions.tangent])
def test_the_compiled_steps_give_the_same_bits(function, level, monkeypatch, compiled):
    compiled(level)
    x = np.concatenate((ANGLES, BOTH * 1e300, [0.0, -0.0, 20.0, -20.0, 2.0**20, -(2.0**20), 2.0**20 + 1]))
    found = function(x)
    monkeypatch.setenv("QTRAIN_NATIVE", "0")
    assert (bits_of(function(x)) == bits_of(found)).all()


def test_an_angle_beyond_the_parts_of_pi_loses_whole_turns_first():
    x = np.array([1e9, -3e17, 1.7e308])
    turned = np.array([math.fmod(value, 2 * math.pi) for value in x])
    assert (bits_of(functions.sine_cosine(x)) == bits_of(functions.sine_cosine(turned))).all()


def test_shapes_are_kept_and_nothing_gives_nothing():
    assert functions.sine_cosine(np.zeros((2, 3, 4)))[1].shape == (2, 3, 4)
    assert functions.tangent(np.zeros((0, 5))).shape == (0, 5)


@pytest.mark.skipif(not kernel.is_built(), reason="the extension was not built")
def test_steps_that_are_fused_are_not_used(monkeypatch):
    def fused(left, right, out):
        out[:] = 2.0**-60

    kernel._rounds_each_step.cache_clear()
    monkeypatch.setattr(kernel, "fill_product", fused)
    assert not kernel.is_built()
    monkeypatch.undo()
    kernel._rounds_each_step.cache_clear()
    assert kernel.is_built()
