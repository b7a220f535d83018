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
def _product(a, b, PRECISION: tl.constexpr):
    return tl.dot(a, b, input_precision=PRECISION)


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
    at = source + row * PLANES * size + i[:, None] * R + r[None, :]
    u = matrices + (row * d * d + i[:, None] * d + i[None, :]) * PLANES
    x = r[None, :] * d + i[:, None]
    sign = tl.full((D, BLOCK), 1.0, tl.float32)
    if KIND == 1:
        x = tl.load(table + x, mask=inside, other=0)
    if KIND == 2:
        sign = tl.load(table + x, mask=inside, other=0)
    to = out + row * PLANES * size + x
    re, u_re = tl.load(at, mask=inside, other=0.0), tl.load(u, mask=square, other=0.0)
    if PLANES == 1:
        tl.store(to, sign * _product(u_re, re, PRECISION), mask=inside)
    else:
        im, u_im = tl.load(at + size, mask=inside, other=0.0), tl.load(u + 1, mask=square, other=0.0)
        real = _product(u_re, re, PRECISION) - _product(u_im, im, PRECISION)
        imaginary = _product(u_re, im, PRECISION) + _product(u_im, re, PRECISION)
        tl.store(to, sign * real, mask=inside)
        tl.store(to + size, sign * imaginary, mask=inside)


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
    square = (i[:, None] < d) & (i[None, :] < d)
    u = matrices + (row * d * d + i[:, None] * d + i[None, :]) * PLANES
    u_re = tl.load(u, mask=square, other=0.0)
    m_re, m_im = tl.zeros((D, D), tl.float32), tl.zeros((D, D), tl.float32)
    u_im = u_re
    if PLANES == 2:
        u_im = tl.load(u + 1, mask=square, other=0.0)
    kets, bras = row * 2 * PLANES * size, (row * 2 + 1) * PLANES * size
    for tile in range(tiles):
        r = (tl.program_id(0) * tiles + tile) * BLOCK + tl.arange(0, BLOCK)
        inside = (r[:, None] < R) & (i[None, :] < d)
        x = r[:, None] * d + i[None, :]
        sign = tl.full((BLOCK, D), 1.0, tl.float32)
        if KIND == 1:
            x = tl.load(table + x, mask=inside, other=0)
        if KIND == 2:
            sign = tl.load(table + x, mask=inside, other=0)
        to = i[None, :] * R + r[:, None]
        ket = sign * tl.load(source + kets + x, mask=inside, other=0.0)
        bra = sign * tl.load(source + bras + x, mask=inside, other=0.0)
        if PLANES == 1:
            m_re += _product(tl.trans(bra), ket, PRECISION)
            tl.store(out + kets + to, _product(ket, u_re, PRECISION), mask=inside)
            tl.store(out + bras + to, _product(bra, u_re, PRECISION), mask=inside)
        else:
            ket_im = sign * tl.load(source + kets + size + x, mask=inside, other=0.0)
            bra_im = sign * tl.load(source + bras + size + x, mask=inside, other=0.0)
            other, other_im = tl.trans(bra), tl.trans(bra_im)
            m_re += _product(other, ket, PRECISION) - _product(other_im, ket_im, PRECISION)
            m_im += _product(other, ket_im, PRECISION) + _product(other_im, ket, PRECISION)
            tl.store(
                out + kets + to,
                _product(ket, u_re, PRECISION) + _product(ket_im, u_im, PRECISION),
                mask=inside,
            )
            tl.store(
                out + kets + size + to,
                _product(ket_im, u_re, PRECISION) - _product(ket, u_im, PRECISION),
                mask=inside,
            )
            tl.store(
                out + bras + to,
                _product(bra, u_re, PRECISION) - _product(bra_im, u_im, PRECISION),
                mask=inside,
            )
            tl.store(
                out + bras + size + to,
                _product(bra_im, u_re, PRECISION) + _product(bra, u_im, PRECISION),
                mask=inside,
            )
    share = (row * tl.num_programs(0) + tl.program_id(0)) * PLANES * d * d
    place = i[:, None] * d + i[None, :]
    tl.store(shares + share + place, m_re, mask=square)
    if PLANES == 2:
        tl.store(shares + share + d * d + place, m_im, mask=square)
