// Vectors of VECTOR_BYTES bytes by the compilers' own vector types; nothing here is of one processor.
//
// Included once for each instruction set, inside a namespace of its own.
#define INLINE inline __attribute__((always_inline))

template <int BYTES> struct Integer;
template <> struct Integer<4> { using Type = int32_t; };
template <> struct Integer<8> { using Type = int64_t; };

template <class T> struct Simd {
    using Int = typename Integer<sizeof(T)>::Type;
    typedef T V __attribute__((vector_size(VECTOR_BYTES)));
    typedef Int I __attribute__((vector_size(VECTOR_BYTES)));
    typedef T Loose __attribute__((vector_size(VECTOR_BYTES), aligned(alignof(T)), may_alias));
    static constexpr int W = VECTOR_BYTES / sizeof(T);
    static constexpr int K = W == 16 ? 4 : W == 8 ? 3 : W == 4 ? 2 : 1;  // bits of a lane's number

    static INLINE V load(const T* from) { return V(*reinterpret_cast<const Loose*>(from)); }
    static INLINE void store(T* to, V a) { *reinterpret_cast<Loose*>(to) = Loose(a); }
    static INLINE V all(T a) { return V{} + a; }
    static INLINE I all_int(Int a) { return I{} + a; }

    static INLINE T total(V a) {
        T sum = 0;
        for (int i = 0; i < W; ++i) sum += a[i];
        return sum;
    }

    // Lane i of a and b side by side: out[i] = (a, b)[from[i]], from[i] < 2 W.
    static INLINE V pick(V a, V b, I from) {
#if defined(__clang__)
        V out;
        for (int i = 0; i < W; ++i) out[i] = from[i] < W ? a[from[i]] : b[from[i] - W];
        return out;
#else
        return __builtin_shuffle(a, b, from);
#endif
    }
    static INLINE V pick(V a, I from) {
#if defined(__clang__)
        V out;
        for (int i = 0; i < W; ++i) out[i] = a[from[i]];
        return out;
#else
        return __builtin_shuffle(a, from);
#endif
    }

    static INLINE I lane_numbers() {
        I out = {};
        for (int i = 0; i < W; ++i) out[i] = Int(i);
        return out;
    }
    // Lanes change places with the lane whose number differs in bit J: one shuffle.
    template <int J> static INLINE V swap(V a) {
#if defined(__clang__)
        if constexpr (W == 16)
            return __builtin_shufflevector(a, a, 0 ^ J, 1 ^ J, 2 ^ J, 3 ^ J, 4 ^ J, 5 ^ J, 6 ^ J, 7 ^ J, 8 ^ J,
                                           9 ^ J, 10 ^ J, 11 ^ J, 12 ^ J, 13 ^ J, 14 ^ J, 15 ^ J);
        else if constexpr (W == 8)
            return __builtin_shufflevector(a, a, 0 ^ J, 1 ^ J, 2 ^ J, 3 ^ J, 4 ^ J, 5 ^ J, 6 ^ J, 7 ^ J);
        else if constexpr (W == 4)
            return __builtin_shufflevector(a, a, 0 ^ J, 1 ^ J, 2 ^ J, 3 ^ J);
        else
            return __builtin_shufflevector(a, a, 0 ^ J, 1 ^ J);
#else
        return __builtin_shuffle(a, lane_numbers() ^ J);
#endif
    }
};

// Which of `parts` equal shares of `count` items belongs to `rank`.
struct Share { size_t first, last; };
INLINE Share share(size_t count, int rank, int parts) {
    return {count * size_t(rank) / size_t(parts), count * size_t(rank + 1) / size_t(parts)};
}
