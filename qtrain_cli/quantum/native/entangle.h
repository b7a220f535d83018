// Entanglers without angles, applied where a pass fetches its amplitudes.
//
// CNOTs are linear over GF(2): target(x ^ x') = target(x) ^ target(x'), so n columns say all, and neighbouring
// outcomes need one XOR. A vector's lanes come from 2**rank vectors, rank = how many of the K lowest columns are
// independent above a vector (0 for a linear chain, 1 for the ring, whose last gate reaches from the lowest bit to
// the highest): each pair of them costs one shuffle. CZs are signs, one bit an outcome, 64 outcomes to a word.

struct Columns {
    uint32_t column[MOST_BITS];
    uint32_t of(size_t x) const {
        uint32_t y = 0;
        for (int j = 0; x >> j; ++j)
            if (x >> j & 1) y ^= column[j];
        return y;
    }
};

// Where amplitude x goes (or, with `inverse`, where y comes from) under the CNOTs of one layer.
INLINE void cnot_columns(const Circuit& circuit, int layer, bool inverse, Columns& out) {
    const int32_t* pair = circuit.pairs_of(layer);
    for (int j = 0; j < circuit.bits(); ++j) {
        uint32_t x = uint32_t(1) << j;
        for (int k = 0; k < circuit.pairs; ++k) {
            const int32_t* one = pair + 2 * (inverse ? circuit.pairs - 1 - k : k);
            const int control = circuit.qubits - 1 - one[0], target = circuit.qubits - 1 - one[1];
            x ^= (x >> control & 1) << target;
        }
        out.column[j] = x;
    }
}

template <class T> struct Gather {
    using S = Simd<T>;
    using V = typename S::V;
    Columns columns;
    uint32_t step[MOST_BITS]; // from vector v to v + 1, by the number of ones that end v: XOR of these columns
    uint32_t part[16];        // from a vector whose number ends in zeros to the next 15
    size_t offset[S::W + 2];  // of the vectors that one vector's lanes come from, as distances (XOR)
    int sources;              // how many: 2**rank
    typename S::I lane[S::W]; // lane within its pair of sources, by the place of lane 0
    typename S::I number;     // pair of sources of each lane

    void finish(int bits) {
        uint32_t sum = 0;
        for (int j = S::K; j < MOST_BITS; ++j) step[j - S::K] = sum ^= j < bits ? columns.column[j] : 0;
        for (int i = 0; i < 16; ++i) part[i] = columns.of(size_t(i) * S::W & ((size_t(1) << bits) - 1));
        sources = 0;
        for (int i = 0; i < S::W; ++i) {
            const uint32_t x = columns.of(size_t(i));
            const size_t vector = x / S::W * S::W;
            int found = 0;
            while (found < sources && offset[found] != vector) ++found;
            if (found == sources) offset[sources++] = vector;
            lane[0][i] = x % S::W + (found & 1) * S::W;
            number[i] = found >> 1;
        }
        for (int i = 1; i < S::W; ++i) lane[i] = lane[0] ^ S::all_int(typename S::Int(i));
    }
    // What to XOR to get from the vector of outcome `index` to the one 2**r vectors on.
    uint32_t step_of(size_t index, int r) const {
        const uint32_t done = r == 0 ? 0 : step[r - 1];
        return step[r + __builtin_ctzll((index / S::W >> r) + 1)] ^ done;
    }
    // The vector whose lane 0 comes from outcome x, of a plane.
    template <int SOURCES> INLINE V pick(const T* plane, uint32_t x) const {
        const size_t vector = x & ~uint32_t(S::W - 1);
        const auto from = lane[x % S::W];
        V a = S::load(plane + vector);
        if constexpr (SOURCES == 1) return S::pick(a, from);
        a = S::pick(a, S::load(plane + (vector ^ offset[1])), from);
        if constexpr (SOURCES == 0)
            for (int s = 2; s < sources; s += 2) {
                const V b =
                    S::pick(S::load(plane + (vector ^ offset[s])), S::load(plane + (vector ^ offset[s + 1])), from);
                a = number == S::all_int(typename S::Int(s >> 1)) ? b : a;
            }
        return a;
    }
};

// out[i] = in[columns.of(index + i)] for `length` outcomes, in each of `planes` planes.
template <class T, int SOURCES>
INLINE void gather_planes(const Gather<T>& g, const T* const* in, T* const* out, int planes, size_t index,
                          size_t length) {
    using S = Simd<T>;
    uint32_t x = g.columns.of(index);
    const uint32_t ahead = g.columns.of(index ^ (index + length));  // the next part's places
    for (size_t i = 0; i < length; i += S::W) {
        for (int p = 0; p < planes; ++p) {
            __builtin_prefetch(in[p] + ((x ^ ahead) & ~uint32_t(S::W - 1)));
            __builtin_prefetch(out[p] + length + i, 1);
            S::store(out[p] + i, g.template pick<SOURCES>(in[p], x));
        }
        x ^= g.step_of(index + i, 0);
    }
}

template <class T>
void gather(const Gather<T>& g, const T* const* in, T* const* out, int planes, size_t index, size_t length) {
    if (g.sources == 1) return gather_planes<T, 1>(g, in, out, planes, index, length);
    if (g.sources == 2) return gather_planes<T, 2>(g, in, out, planes, index, length);
    gather_planes<T, 0>(g, in, out, planes, index, length);
}

// The signs of a layer's CZs for words [first, last): bit i of word k is outcome 64 k + i.
INLINE void cz_signs(const Circuit& circuit, int layer, uint64_t* words, size_t first, size_t last) {
    static constexpr uint64_t INSIDE[6] = {0xAAAAAAAAAAAAAAAA, 0xCCCCCCCCCCCCCCCC, 0xF0F0F0F0F0F0F0F0,
                                           0xFF00FF00FF00FF00, 0xFFFF0000FFFF0000, 0xFFFFFFFF00000000};
    const int32_t* pair = circuit.pairs_of(layer);
    for (size_t k = first; k < last; ++k) {
        uint64_t bit[MOST_BITS], odd = 0;
        for (int j = 0; j < circuit.bits(); ++j) bit[j] = j < 6 ? INSIDE[j] : (k >> (j - 6) & 1) ? ~uint64_t(0) : 0;
        for (int one = 0; one < circuit.pairs; ++one)
            odd ^= bit[circuit.qubits - 1 - pair[2 * one]] & bit[circuit.qubits - 1 - pair[2 * one + 1]];
        words[k] = odd;
    }
}

// Changes signs in place, `length` outcomes from `index` on.
template <class T>
void change_signs(const uint64_t* words, T* const* out, int planes, size_t index, size_t length) {
    using S = Simd<T>;
    using V = typename S::V;
    using I = typename S::I;
    using Int = typename S::Int;
    const I places = S::all_int(1) << S::lane_numbers();
    const I sign = (I)(-V{});  // minus zero: the sign bit alone
    for (size_t i = 0; i < length; i += S::W) {
        const size_t x = index + i;
        const I odd = (S::all_int(Int(words[x >> 6] >> (x & 63) & ((1u << S::W) - 1))) & places) != 0;
        for (int p = 0; p < planes; ++p)
            S::store(out[p] + i, (V)((I)S::load(out[p] + i) ^ (odd & sign)));
    }
}
