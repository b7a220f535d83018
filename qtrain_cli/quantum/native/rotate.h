// RY on many qubits at a time, and the gradient of their angles on the way back (letters of kernel.md).
//
//     x0' = c x0 - s x1      x1' = s x0 + c x1                c = cos(theta/2), s = sin(theta/2)
//     dC/dtheta = 1/2 sum (phi1 chi0 - phi0 chi1)             over pairs and planes
//
// The larger of |c| and |s| is taken out of each turn, which leaves one multiply-add an amplitude and qubit:
//
//     near, |c| >= |s|:  c (x0 - t x1, x1 + t x0)    t = s / c
//     far,  |c| < |s|:   s (t x0 - x1, t x1 + x0)    t = c / s
//
// The product of all a layer's factors is multiplied in once, where its first pass loads (`scale`), and each overlap
// is divided by what its two states had too little of (`weight`). Both planes are turned alike. 2**R vectors are held
// in registers while R qubits are turned. A qubit whose two amplitudes share a vector takes one shuffle.

template <class T> struct Turn {
    T t;
    bool far;
};

// One qubit within a vector: near, a + t swap(a), t with the sign S of each lane, -1 where the bit is 0. Far,
// t a + S swap(a) = (S t) b - swap(b) of b = S a. S changes places with the turns of all other qubits: `scale` has it.
template <class T> struct LaneTurn {
    typename Simd<T>::V t;
    bool far;
};

template <class T> struct Turns {
    using S = Simd<T>;
    Turn<T> bit[MOST_BITS];
    LaneTurn<T> lane[S::K];
    typename S::V scale;
    double weight[MOST_BITS];

    // Of the halves of the angles; the bits are turned in rising order.
    void set(const double* half, int bits, bool back) {
        double product = 1;
        scale = S::all(1);
        for (int j = bits - 1; j >= 0; --j) {
            const double c = std::cos(half[j]), s = back ? -std::sin(half[j]) : std::sin(half[j]);
            const bool far = std::abs(c) < std::abs(s);
            bit[j] = {T(far ? c / s : s / c), far};
            product *= far ? s : c;
            weight[j] = 1 / (product * product);
            if (j >= S::K) continue;
            lane[j].far = far;
            for (int i = 0; i < S::W; ++i) {
                lane[j].t[i] = (i >> j & 1) ? bit[j].t : -bit[j].t;
                if (far && !(i >> j & 1)) scale[i] = -scale[i];
            }
            if (far) weight[j] = -weight[j];
        }
        scale *= S::all(T(product));
    }
};

template <class T, bool BACK, int R>
INLINE void turn_registers(typename Simd<T>::V* a, typename Simd<T>::V* f, const Turn<T>* turn,
                           typename Simd<T>::V* sum) {
#pragma GCC unroll 4
    for (int j = 0; j < R; ++j) {
        const auto t = Simd<T>::all(turn[j].t);
        if constexpr (BACK) {
#pragma GCC unroll 16
            for (int i = 0; i < 1 << R; ++i)
                if (!(i >> j & 1)) {
                    sum[j] += f[i | 1 << j] * a[i];
                    sum[j] -= f[i] * a[i | 1 << j];
                }
        }
        if (turn[j].far) {
#pragma GCC unroll 16
            for (int i = 0; i < 1 << R; ++i) {
                if (i >> j & 1) continue;
                const int o = i | 1 << j;
                const auto a0 = a[i], f0 = f[i];
                a[i] = t * a0 - a[o];
                a[o] = t * a[o] + a0;
                if constexpr (BACK) f[i] = t * f0 - f[o], f[o] = t * f[o] + f0;
            }
        } else {
#pragma GCC unroll 16
            for (int i = 0; i < 1 << R; ++i) {
                if (i >> j & 1) continue;
                const int o = i | 1 << j;
                const auto a0 = a[i], f0 = f[i];
                a[i] = a0 - t * a[o];
                a[o] = a[o] + t * a0;
                if constexpr (BACK) f[i] = f0 - t * f[o], f[o] = f[o] + t * f0;
            }
        }
    }
}

template <class T, bool BACK, int R, int J = 0>
INLINE void turn_lanes(typename Simd<T>::V* a, typename Simd<T>::V* f, const LaneTurn<T>* lane,
                       typename Simd<T>::V* sum) {
    using S = Simd<T>;
    if constexpr (J < S::K) {
        const auto t = lane[J].t;
        if (lane[J].far) {
#pragma GCC unroll 16
            for (int i = 0; i < 1 << R; ++i) {
                const auto b = S::template swap<(1 << J)>(a[i]);
                if constexpr (BACK) sum[J] += f[i] * b, f[i] = t * f[i] - S::template swap<(1 << J)>(f[i]);
                a[i] = t * a[i] - b;
            }
        } else {
#pragma GCC unroll 16
            for (int i = 0; i < 1 << R; ++i) {
                const auto b = S::template swap<(1 << J)>(a[i]);
                if constexpr (BACK) sum[J] += f[i] * b, f[i] = f[i] + t * S::template swap<(1 << J)>(f[i]);
                a[i] = a[i] + t * b;
            }
        }
        turn_lanes<T, BACK, R, J + 1>(a, f, lane, sum);
    }
}

// Rows of amplitudes of one plane, `stride` apart.
template <class T> struct Rows {
    T *psi, *phi;
    size_t stride;
};

// Turns R bits of the row's number, from `bit` on, on the way from one place to another or to the same.
template <class T, bool BACK, int R>
void turn_pass(Rows<T> from, Rows<T> to, size_t rows, size_t wide, int bit, const Turn<T>* turns,
               typename Simd<T>::V* sums) {
    using S = Simd<T>;
    using V = typename S::V;
    Turn<T> turn[R];
    for (int j = 0; j < R; ++j) turn[j] = turns[j];
    V sum[R] = {};
    const size_t in = from.stride << bit, out = to.stride << bit;
    for (size_t block = 0; block < rows; block += size_t(1) << (bit + R))
        for (size_t row = block; row < block + (size_t(1) << bit); ++row)
            for (size_t i = 0; i < wide; i += S::W) {
                const T *psi = from.psi + row * from.stride + i, *phi = from.phi + row * from.stride + i;
                T *psi_to = to.psi + row * to.stride + i, *phi_to = to.phi + row * to.stride + i;
                V a[1 << R], f[1 << R] = {};
#pragma GCC unroll 16
                for (int k = 0; k < 1 << R; ++k) {
                    a[k] = S::load(psi + k * in);
                    if constexpr (BACK) f[k] = S::load(phi + k * in);
                }
                turn_registers<T, BACK, R>(a, f, turn, sum);
#pragma GCC unroll 16
                for (int k = 0; k < 1 << R; ++k) {
                    S::store(psi_to + k * out, a[k]);
                    if constexpr (BACK) S::store(phi_to + k * out, f[k]);
                }
            }
    if constexpr (BACK)
        for (int j = 0; j < R; ++j) sums[j] += sum[j];
}

// Qubits turned while amplitudes are in registers: psi and phi fill half of 32 registers, or all of 16.
template <bool BACK> constexpr int RADIX = VECTOR_BYTES == 64 && !BACK ? 4 : 3;

// Turns bits [first, last) of the row's number: from one place through `between` to another.
template <class T, bool BACK>
void turn_rows(Rows<T> from, Rows<T> between, Rows<T> to, size_t rows, size_t wide, int first, int last,
               const Turn<T>* turn, typename Simd<T>::V* sums) {
    for (int bit = first; bit < last;) {
        const int passes = (last - bit + RADIX<BACK> - 1) / RADIX<BACK>, r = (last - bit + passes - 1) / passes;
        const Rows<T> next = passes == 1 ? to : between;
        if (r == 1) turn_pass<T, BACK, 1>(from, next, rows, wide, bit, turn + bit, sums + bit);
        if (r == 2) turn_pass<T, BACK, 2>(from, next, rows, wide, bit, turn + bit, sums + bit);
        if (r == 3) turn_pass<T, BACK, 3>(from, next, rows, wide, bit, turn + bit, sums + bit);
        if constexpr (RADIX<BACK> == 4)
            if (r == 4) turn_pass<T, BACK, 4>(from, next, rows, wide, bit, turn + bit, sums + bit);
        bit += r;
        from = between;
    }
}

// The qubits within a vector and the next R, of `length` amplitudes from `index` on: fetched through CNOTs, or where
// they are (SOURCES < 0). `in` and `out` are psi and phi of one plane; out[0] and out[1] point at `index`.
template <class T, bool BACK, int R, int SOURCES>
void turn_first(const Gather<T>& g, const T* const* in, T* const* out, size_t index, size_t length,
                const Turns<T>& turns, typename Simd<T>::V* sums) {
    using S = Simd<T>;
    using V = typename S::V;
    Turn<T> turn[R + 1];
    LaneTurn<T> lane[S::K];
    for (int j = 0; j < R; ++j) turn[j] = turns.bit[S::K + j];
    for (int j = 0; j < S::K; ++j) lane[j] = turns.lane[j];
    V sum[R + 1] = {}, lane_sum[S::K] = {};
    const V scale = turns.scale;
    uint32_t x = SOURCES < 0 ? 0 : g.columns.of(index);
    const uint32_t ahead = SOURCES < 0 ? 0 : g.columns.of(index ^ (index + length));  // the next part's places
    for (size_t at = 0; at < length; at += size_t(S::W) << R) {
        T *psi = out[0] + at, *phi = out[BACK] + at;
        V a[1 << R], f[1 << R] = {};
#pragma GCC unroll 16
        for (int k = 0; k < 1 << R; ++k) {
            if constexpr (SOURCES < 0) {
                a[k] = scale * S::load(psi + k * S::W);
                if constexpr (BACK) f[k] = scale * S::load(phi + k * S::W);
            } else {
                a[k] = scale * g.template pick<SOURCES>(in[0], x ^ g.part[k]);
                if constexpr (BACK) f[k] = scale * g.template pick<SOURCES>(in[1], x ^ g.part[k]);
            }
        }
        if constexpr (SOURCES >= 0) {
#pragma GCC unroll 16
            for (int k = 0; k < 1 << R; ++k) {
                const size_t next = (x ^ g.part[k] ^ ahead) & ~uint32_t(S::W - 1);
                __builtin_prefetch(in[0] + next);
                __builtin_prefetch(psi + length + k * S::W, 1);
                if constexpr (BACK) __builtin_prefetch(in[1] + next);
                if constexpr (BACK) __builtin_prefetch(phi + length + k * S::W, 1);
            }
            x ^= g.step_of(index + at, R);
        }
        turn_lanes<T, BACK, R>(a, f, lane, lane_sum);
        turn_registers<T, BACK, R>(a, f, turn, sum);
#pragma GCC unroll 16
        for (int k = 0; k < 1 << R; ++k) {
            S::store(psi + k * S::W, a[k]);
            if constexpr (BACK) S::store(phi + k * S::W, f[k]);
        }
    }
    if constexpr (BACK) {
        for (int j = 0; j < R; ++j) sums[S::K + j] += sum[j];
        for (int j = 0; j < S::K; ++j) sums[j] += lane_sum[j];
    }
}

template <class T, bool BACK, int R>
INLINE void turn_first_of(int sources, const Gather<T>& g, const T* const* in, T* const* out, size_t index,
                          size_t length, const Turns<T>& turns, typename Simd<T>::V* sums) {
    if (sources < 0) turn_first<T, BACK, R, -1>(g, in, out, index, length, turns, sums);
    if constexpr (R == RADIX<BACK>) {
        if (sources == 1) turn_first<T, BACK, R, 1>(g, in, out, index, length, turns, sums);
        if (sources == 2) turn_first<T, BACK, R, 2>(g, in, out, index, length, turns, sums);
        if (sources > 2) turn_first<T, BACK, R, 0>(g, in, out, index, length, turns, sums);
    }
}
template <class T, bool BACK>
INLINE void turn_first_of(int sources, int r, const Gather<T>& g, const T* const* in, T* const* out, size_t index,
                          size_t length, const Turns<T>& turns, typename Simd<T>::V* sums) {
    if (r == 0) turn_first_of<T, BACK, 0>(sources, g, in, out, index, length, turns, sums);
    if (r == 1) turn_first_of<T, BACK, 1>(sources, g, in, out, index, length, turns, sums);
    if (r == 2) turn_first_of<T, BACK, 2>(sources, g, in, out, index, length, turns, sums);
    if (r == 3) turn_first_of<T, BACK, 3>(sources, g, in, out, index, length, turns, sums);
    if constexpr (RADIX<BACK> == 4)
        if (r == 4) turn_first_of<T, BACK, 4>(sources, g, in, out, index, length, turns, sums);
}

// What the sums of bits [first, last) add to the gradients, one number a bit; the sums are empty then.
template <class T>
void add_turn_gradients(typename Simd<T>::V* sums, int first, int last, const double* weight, double* gradient) {
    using S = Simd<T>;
    for (int j = first; j < last; ++j) {
        double found = 0;
        for (int i = 0; i < S::W; ++i) found += (j >= S::K || (i >> j & 1)) ? sums[j][i] : -sums[j][i];
        gradient[j] += found * weight[j] / 2;
        sums[j] = typename S::V{};
    }
}
