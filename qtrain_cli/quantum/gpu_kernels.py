"""Triton kernels of a layer on a GPU: one group of qubits is turned, and the entangler moves what is written.

    turn     out[r, i] = sum_j U[i, j] in[j, r]             the group goes from front to back (`statevector`)
    unturn   M[i, j] = sum_r bra[r, i] ket[r, j]            before the group is undone (adjoint.md)
             ket'[j, r] = sum_i conj(U[i, j]) ket[r, i]     bra'[j, r] = sum_i U[i, j] bra[r, i]

States are planar, (rows, planes, 2**n) of float32: real parts, and behind them the imaginary ones where there
are any. The entangler of the layer (`KIND`) is a table of places, read with what is written or undone: 1 of a
permutation, 2 of signs, 0 none. A program has `BLOCK` columns of a row; in `unturn` it goes through `tiles`
such blocks and leaves its own share of M, for sums in an order that is always the same.

Matrices of fewer than 16 rows are filled up with zeros, which is what a product takes at least. PRECISION is
that of products: each float32 in three parts of 11 bits (`tf32x3`), or `ieee`.
"""

# mypy: disable-error-code="no-untyped-def"
# Triton reads this code itself: names in capitals are constants to it, and annotations must be values.
import triton
import triton.language as tl


@triton.jit
def _dot(a, b, PRECISION: tl.constexpr):
    return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def _product(a, a_im, b, b_im, PLANES: tl.constexpr, PRECISION: tl.constexpr):
    """Real and imaginary part of a b; of one plane the second is not used."""
    if PLANES == 1:
        re = _dot(a, b, PRECISION)
        return re, re
    re = _dot(a, b, PRECISION) - _dot(a_im, b_im, PRECISION)
    return re, _dot(a, b_im, PRECISION) + _dot(a_im, b, PRECISION)


@triton.jit
def _loaded(at, apart, inside, PLANES: tl.constexpr):
    """The numbers there and those of the other plane, so far apart; of one plane the same again."""
    re = tl.load(at, mask=inside, other=0.0)
    return re, tl.load(at + apart, mask=inside, other=0.0) if PLANES == 2 else re


@triton.jit
def _store(at, size, numbers, other, inside, PLANES: tl.constexpr):
    """Puts both parts into their planes."""
    tl.store(at, numbers, mask=inside)
    if PLANES == 2:
        tl.store(at + size, other, mask=inside)


@triton.jit
def _moved(x, table, inside, KIND: tl.constexpr):
    """Where outcomes x are behind the entangler, and with what sign."""
    sign = tl.full(x.shape, 1.0, tl.float32)
    if KIND == 1:
        x = tl.load(table + x, mask=inside, other=0)
    if KIND == 2:
        sign = tl.load(table + x, mask=inside, other=0)
    return x, sign


@triton.jit
def turn(
    source, out, matrices, table, R,
    d: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr, PLANES: tl.constexpr,
    KIND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """in (rows, planes, d * R), U (rows, d, d, planes) -> out (rows, planes, R * d)."""
    row, size = tl.program_id(1).to(tl.int64), R * d
    i, r = tl.arange(0, D), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = (i[:, None] < d) & (r[None, :] < R)
    square = (i[:, None] < d) & (i[None, :] < d)
    states = row * PLANES * size
    u, u_im = _loaded(matrices + (row * d * d + i[:, None] * d + i[None, :]) * PLANES, 1, square, PLANES)
    re, im = _loaded(source + states + i[:, None] * R + r[None, :], size, inside, PLANES)
    x, sign = _moved(r[None, :] * d + i[:, None], table, inside, KIND)
    re, im = _product(u, u_im, re, im, PLANES, PRECISION)
    _store(out + states + x, size, sign * re, sign * im, inside, PLANES)


@triton.jit
def unturn(
    source, out, matrices, table, shares, R, tiles: tl.constexpr,
    d: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr, PLANES: tl.constexpr,
    KIND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """in (rows, 2: ket and bra, planes, R * d), U (rows, d, d, planes) -> out, and shares of M.

    The shares are (rows, programs, planes, d, d).
    """
    row, size = tl.program_id(1).to(tl.int64), R * d
    i = tl.arange(0, D)
    square, place = (i[:, None] < d) & (i[None, :] < d), i[:, None] * d + i[None, :]
    u, u_im = _loaded(matrices + (row * d * d + place) * PLANES, 1, square, PLANES)
    m, m_im = tl.zeros((D, D), tl.float32), tl.zeros((D, D), tl.float32)
    kets, bras = row * 2 * PLANES * size, (row * 2 + 1) * PLANES * size
    for tile in range(tiles):
        r = (tl.program_id(0) * tiles + tile) * BLOCK + tl.arange(0, BLOCK)
        inside = (r[:, None] < R) & (i[None, :] < d)
        x, sign = _moved(r[:, None] * d + i[None, :], table, inside, KIND)
        to = i[None, :] * R + r[:, None]
        ket, ket_im = _loaded(source + kets + x, size, inside, PLANES)
        bra, bra_im = _loaded(source + bras + x, size, inside, PLANES)
        ket, ket_im, bra, bra_im = sign * ket, sign * ket_im, sign * bra, sign * bra_im
        re, im = _product(tl.trans(bra), tl.trans(bra_im), ket, ket_im, PLANES, PRECISION)
        m, m_im = m + re, m_im + im
        re, im = _product(ket, ket_im, u, -u_im, PLANES, PRECISION)
        _store(out + kets + to, size, re, im, inside, PLANES)
        re, im = _product(bra, bra_im, u, u_im, PLANES, PRECISION)
        _store(out + bras + to, size, re, im, inside, PLANES)
    share = (row * tl.num_programs(0) + tl.program_id(0)) * PLANES * d * d
    _store(shares + share + place, d * d, m, m_im, square, PLANES)
