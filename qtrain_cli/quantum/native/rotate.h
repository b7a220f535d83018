// RY on many qubits at a time, and the gradient of their angles on the way back (letters of kernel.md).
//
//     x0' = c x0 - s x1      x1' = s x0 + c x1                c = cos(theta/2), s = sin(theta/2)
//     dC/dtheta = 1/2 sum (phi1 chi0 - phi0 chi1)             over pairs and planes
//
// The real and the imaginary plane are turned alike, each by itself, in real arithmetic. 2**R vectors are held in
// registers while R qubits are turned. A qubit whose two amplitudes share a vector takes one shuffle. Backward,
// the same pass turns psi and phi back and sums the overlap, which any common rotation leaves as it is.

template <class T> struct Turn { T c, s; };

// One qubit within a vector: out = c a + s swap(a), s with the sign of each lane.
template <class T> struct LaneTurn { typename Simd<T>::V c, s; };

template <class T> INLINE void lane_turns(const Turn<T>* turn, LaneTurn<T>* out) {
    using S = Simd<T>;
    for (int j = 0; j < S::K; ++j) {
        out[j].c = S::all(turn[j].c);
        for (int i = 0; i < S::W; ++i) out[j].s[i] = (i >> j & 1) ? turn[j].s : -turn[j].s;
    }
}

template <class T, bool BACK, int R>
INLINE void turn_registers(typename Simd<T>::V* a, typename Simd<T>::V* f, const Turn<T>* turn,
                           typename Simd<T>::V* sum) {
#pragma GCC unroll 4
    for (int j = 0; j < R; ++j) {
        const auto c = Simd<T>::all(turn[j].c), s = Simd<T>::all(turn[j].s);
#pragma GCC unroll 16
        for (int i = 0; i < 1 << R; ++i) {
            if (i >> j & 1) continue;
            const int o = i | 1 << j;
            const auto a0 = a[i], a1 = a[o];
            a[i] = c * a0 - s * a1;
            a[o] = c * a1 + s * a0;
            if constexpr (BACK) {
                const auto f0 = f[i], f1 = f[o];
                sum[j] += f1 * a0;
                sum[j] -= f0 * a1;
                f[i] = c * f0 - s * f1;
                f[o] = c * f1 + s * f0;
            }
        }
    }
}

template <class T, bool BACK, int J>
INLINE void turn_lanes(typename Simd<T>::V& a, typename Simd<T>::V& f, const LaneTurn<T>* lane,
                       typename Simd<T>::V* sum) {
    if constexpr (J < Simd<T>::K) {
        const auto swapped = Simd<T>::template swap<(1 << J)>(a);
        if constexpr (BACK) {
            sum[J] += f * swapped;
            f = lane[J].c * f + lane[J].s * Simd<T>::template swap<(1 << J)>(f);
        }
        a = lane[J].c * a + lane[J].s * swapped;
        turn_lanes<T, BACK, J + 1>(a, f, lane, sum);
    }
}

// R qubits from `bit` on, and with LANES those within a vector first (`bit` is K then).
template <class T, bool BACK, int R, bool LANES>
void turn_pass(T* psi, T* phi, size_t size, int bit, const Turn<T>* turn, const LaneTurn<T>* lane,
               typename Simd<T>::V* sums) {
    using S = Simd<T>;
    using V = typename S::V;
    const size_t stride = size_t(1) << bit;
    V sum[R + 1] = {}, lane_sum[S::K] = {};
    for (size_t block = 0; block < size; block += stride << R)
        for (size_t at = block; at < block + stride; at += S::W) {
            V a[1 << R], f[1 << R];
#pragma GCC unroll 16
            for (int i = 0; i < 1 << R; ++i) {
                a[i] = S::load(psi + at + i * stride);
                if constexpr (BACK) f[i] = S::load(phi + at + i * stride);
                if constexpr (LANES) turn_lanes<T, BACK, 0>(a[i], f[i], lane, lane_sum);
            }
            turn_registers<T, BACK, R>(a, f, turn + bit, sum);
#pragma GCC unroll 16
            for (int i = 0; i < 1 << R; ++i) {
                S::store(psi + at + i * stride, a[i]);
                if constexpr (BACK) S::store(phi + at + i * stride, f[i]);
            }
        }
    if constexpr (BACK) {
        for (int j = 0; j < R; ++j) sums[bit + j] += sum[j];
        if constexpr (LANES)
            for (int j = 0; j < S::K; ++j) sums[j] += lane_sum[j];
    }
}

template <class T, bool BACK, bool LANES>
INLINE void turn_some(int r, T* psi, T* phi, size_t size, int bit, const Turn<T>* turn, const LaneTurn<T>* lane,
                      typename Simd<T>::V* sums) {
    if (r == 0) turn_pass<T, BACK, 0, LANES>(psi, phi, size, bit, turn, lane, sums);
    if (r == 1) turn_pass<T, BACK, 1, LANES>(psi, phi, size, bit, turn, lane, sums);
    if (r == 2) turn_pass<T, BACK, 2, LANES>(psi, phi, size, bit, turn, lane, sums);
    if (r == 3) turn_pass<T, BACK, 3, LANES>(psi, phi, size, bit, turn, lane, sums);
}

// Turns the qubits of bits [first, last) of one plane; `first` is 0 or at least K. `sums` has a vector per bit.
template <class T, bool BACK>
void turn_bits(T* psi, T* phi, size_t size, int first, int last, const Turn<T>* turn, const LaneTurn<T>* lane,
               typename Simd<T>::V* sums) {
    int bit = first;
    if (first == 0) {
        bit = last < Simd<T>::K + 3 ? last : Simd<T>::K + 3;
        turn_some<T, BACK, true>(bit - Simd<T>::K, psi, phi, size, Simd<T>::K, turn, lane, sums);
    }
    while (bit < last) {
        const int passes = (last - bit + 2) / 3, r = (last - bit + passes - 1) / passes;
        turn_some<T, BACK, false>(r, psi, phi, size, bit, turn, lane, sums);
        bit += r;
    }
}

// What the sums of one pass add to the gradients, one number a bit.
template <class T> void add_turn_gradients(const typename Simd<T>::V* sums, int bits, double* gradient) {
    using S = Simd<T>;
    for (int j = 0; j < bits; ++j) {
        double found = 0;
        for (int i = 0; i < S::W; ++i) found += (j >= S::K || (i >> j & 1)) ? sums[j][i] : -sums[j][i];
        gradient[j] += found / 2;
    }
}
