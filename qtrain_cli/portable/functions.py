"""Sine and cosine, exponential, logarithm, hyperbolic tangent and powers, in a fixed order of float64 steps.

Each takes its argument apart exactly, evaluates a Taylor polynomial on a short interval by Horner's rule,
and puts the result together; the coefficients are the float64 nearest to theirs. The methods, with the splits
of pi/2 and log 2, are those of fdlibm (Sun Microsystems 1993). Errors against mpmath, in units of the last
place: sine and cosine below 0.9, exponential 1, logarithm 2, tangent 2.5, power 4 (`test_functions`).

    sine, cosine   x = n pi/2 + r + t,  |r| <= pi/4       polynomials of degree 17 and 16
    exponential    x = k log 2 + r,  |r| <= log(2)/2      degree 13
    logarithm      x = 2**e m,  m in [sqrt(1/2), sqrt(2))   2 artanh((m - 1) / (m + 1)), degree 23
    tangent        E / (E + 2),  E = exp(2 |x|) - 1
    power          exp(a log x)

`sine_cosine` and `tangent` are compiled too (`kernel`): the same steps, the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from qtrain_cli.portable import kernel
from qtrain_cli.portable.kernel import Floats

#: pi/2 in three parts, the first two of 33 bits: times a whole number below 2**20 they are exact.
HALF_PI = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21)
#: log 2 in two parts, the first of 32 bits.
LOG_2 = (0.6931471803691238, 1.9082149292705877e-10)
#: Beyond this the parts of pi/2 are no longer exact: an angle first loses whole turns of the float64 2 pi.
MOST_ANGLE = 2.0**20
#: From here on the tangent is 1.
_FLAT = 20.0
#: Added and taken off again it rounds to a whole number, half to even.
_ROUNDER = 1.5 * 2.0**52
#: Numbers that are worked on at a time, so that what lies between stays in the cache.
_BLOCK = 2**14

_SINE = [(-1.0) ** k / math.factorial(2 * k + 1) for k in range(1, 9)]  # of r**3 ... r**17
_COSINE = [(-1.0) ** k / math.factorial(2 * k) for k in range(2, 9)]  # of r**4 ... r**16
_EXPONENTIAL = [1.0 / math.factorial(k) for k in range(2, 14)]  # of r**2 ... r**13
_LOGARITHM = [2.0 / (2 * k + 3) for k in range(11)]  # of s**3 ... s**23


def sine_cosine(x: Floats) -> tuple[Floats, Floats]:
    """Sine and cosine of angles in radians, of any shape; NaN of what is not finite."""
    sine, cosine = _filled(_sine_cosine, kernel.fill_sine_cosine, x)
    return sine, cosine


def tangent(x: Floats) -> Floats:
    """Hyperbolic tangent, of any shape."""
    return _filled(_tangent, kernel.fill_tangent, x)[0]


def exponential(x: Floats) -> Floats:
    """``exp(x)`` for x from -700 to 700, of any shape."""
    p, k = _exponential(x)
    return np.ldexp(1.0 + p, k.astype(np.int32))


def natural_logarithm(x: Floats) -> Floats:
    """Natural logarithm of numbers above 0 that are not subnormal, of any shape."""
    m, e = np.frexp(x)  # m in [1/2, 1)
    small = m < math.sqrt(0.5)
    m = np.where(small, 2.0 * m, m)
    e = e.astype(np.float64) - small
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    rest = s * (z * _horner(_LOGARITHM, z))
    return e * LOG_2[0] + (2.0 * s + (rest + e * LOG_2[1]))


def power(x: Floats, exponent: float) -> Floats:
    """``x ** exponent`` for x above 0, of any shape, where the result is between 1e-300 and 1e300."""
    return exponential(exponent * natural_logarithm(x))


def _sine_cosine(x: Floats) -> tuple[Floats, Floats]:
    x = np.where(np.abs(x) > MOST_ANGLE, np.fmod(x, 2.0 * math.pi), x)
    n = (x * (2.0 / math.pi) + _ROUNDER) - _ROUNDER
    r, t = _reduced(x, n)
    z = r * r
    sine = r + ((r * z) * _horner(_SINE, z) + t)
    half = 0.5 * z
    most = 1.0 - half
    cosine = most + (((1.0 - most) - half) + ((z * z) * _horner(_COSINE, z) - r * t))
    quarter = np.where(np.isfinite(n), n, 0.0).astype(np.int64) & 3
    odd = quarter & 1 == 1
    first, second = np.where(odd, cosine, sine), np.where(odd, sine, cosine)
    return (
        np.where(quarter & 2 == 2, -first, first),
        np.where((quarter + 1) & 2 == 2, -second, second),
    )


def _reduced(x: Floats, n: Floats) -> tuple[Floats, Floats]:
    """``x - n pi/2`` as a sum of two."""
    high, middle, low = HALF_PI
    t, w = x - n * high, n * middle
    r = t - w
    tail = n * low - ((t - r) - w)
    nearest = r - tail
    return nearest, (r - nearest) - tail


def _exponential(x: Floats) -> tuple[Floats, Floats]:
    """p and k of ``exp(x) = 2**k (1 + p)``."""
    k = (x * (1.0 / math.log(2.0)) + _ROUNDER) - _ROUNDER
    r = (x - k * LOG_2[0]) - k * LOG_2[1]
    return r + (r * r) * _horner(_EXPONENTIAL, r), k


def _tangent(x: Floats) -> tuple[Floats]:
    p, k = _exponential(2.0 * np.minimum(np.abs(x), _FLAT))
    turns = np.ldexp(1.0, k.astype(np.int32))
    above = turns * p + (turns - 1.0)
    return (np.copysign(above / (above + 2.0), x),)


def _horner(coefficients: list[float], z: Floats) -> Floats:
    """``c[0] + z (c[1] + z (c[2] + ...))``."""
    found = np.full_like(z, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        found *= z
        found += coefficient
    return found


def _filled(
    steps: Callable[..., tuple[Floats, ...]], compiled: Callable[..., None], x: Floats
) -> list[Floats]:
    """Results of the shape of x: of the compiled steps, or of the same ones in NumPy block by block."""
    flat = np.ascontiguousarray(x, dtype=np.float64).reshape(-1)
    made = [np.empty(flat.size) for _ in range(_RESULTS[steps])]
    if kernel.is_built():
        compiled(flat, *made)
        return [whole.reshape(x.shape) for whole in made]
    for first in range(0, flat.size, _BLOCK):
        part = slice(first, first + _BLOCK)
        for whole, found in zip(made, steps(flat[part]), strict=True):
            whole[part] = found
    return [whole.reshape(x.shape) for whole in made]


_RESULTS: dict[Callable[..., tuple[Floats, ...]], int] = {_sine_cosine: 2, _tangent: 1}
