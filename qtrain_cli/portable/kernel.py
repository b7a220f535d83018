"""The compiled steps of this room: the operations of `functions`, `sums` and a circuit, and the same bits.

The extension is optional: where it was not built, or QTRAIN_NATIVE=0 is set, NumPy does the work, slower. It
is built without fused multiply-adds and fast arithmetic (`pyproject.toml`); should somebody's compiler not
heed that, `is_built` says no, because what it gives for a few numbers is compared with what must come out.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from qtrain_cli.portable import _steps  # type: ignore[attr-defined]
except ImportError:  # not built: no compiler, or a processor or system it does not know
    _steps = None
if _steps is not None and os.environ.get("QTRAIN_KERNEL") == "base":
    _steps.use("base")

Floats = NDArray[np.float64]
_Table = NDArray[Any]
_NONE: Floats = np.empty(0)


def is_built() -> bool:
    """True when the extension was built, rounds as it must, and QTRAIN_NATIVE does not forbid it."""
    return _steps is not None and os.environ.get("QTRAIN_NATIVE", "1") != "0" and _rounds_each_step()


@functools.cache
def _rounds_each_step() -> bool:
    """Whether a product is rounded before it is added to: (1 + e)**2 - (1 + 2 e) is 0 then, and else e**2."""
    one, out = 1.0 + 2.0**-30, np.empty(4)
    left = np.array([[-1.0, one]] * 2)
    right = np.array([[1.0 + 2.0**-29] * 2, [one] * 2])
    fill_product(left, right, out.reshape(2, 2))
    return not out.any()


def fill_sine_cosine(x: Floats, sine: Floats, cosine: Floats) -> None:
    """Fills both; all of one size."""
    _steps.sine_cosine(x, sine, cosine)


def fill_tangent(x: Floats, out: Floats) -> None:
    """Fills `out`, of the size of x."""
    _steps.tangent(x, out)


def fill_product(left: Floats, right: Floats, out: Floats) -> None:
    """Fills out (a, c) from left (a, r) and right (r, c)."""
    rows, terms = left.shape
    _steps.product(left, right, rows, terms, right.shape[1], out)


def walk(
    shape: tuple[Any, ...], angles: tuple[Floats, Floats], tables: tuple[_Table | None, ...], real: bool
) -> Floats:
    """The probabilities of one circuit, (2**n,).

    Args:
        shape: qubits, layers, period, low bits of the tables, rotations as letters, whether pairs of qubits
            are coupled by gates with angles, whether the last layer has no entangler.
        angles: sines and cosines, (L, n, r) each.
        tables: pairs of qubits (n, 2), source by high and by low bits, sign by high and by low bits, mask of
            the low bits by the high ones, parity of the low bits; those that an entangler has.
        real: amplitudes have no imaginary part.
    """
    pairs, *others = [_NONE if table is None else table for table in tables]
    size, permuted = 2 ** shape[0], tables[1] is not None
    re, im = np.empty(size), _NONE if real else np.empty(size)
    spare_re, spare_im = (np.empty_like(part) if permuted else _NONE for part in (re, im))
    elsewhere = _steps.walk(shape, pairs, *angles, tuple(others), (re, im, spare_re, spare_im))
    found, imaginary = (spare_re, spare_im) if elsewhere else (re, im)
    found *= found
    if not real:
        imaginary *= imaginary
        found += imaginary
    return found
