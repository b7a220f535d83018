// How a circuit is cut into chunks and tiles, and the memory to work in: two states, tiles, tables.

// Sizes in bits, the best or nearly so of those tried from 13 to 20 qubits. A chunk of psi and phi, and a tile, fill
// a part of the second cache, a chunk's parts of 2**(K + INNER) the first; a tile's rows are wide, or fetching them
// takes most of the time. A circuit of two passes has at least 8 chunks to share.
constexpr int ONE_PASS = 14, MOST_LOW = 15, LEAST_HIGH = 3, INNER = 6, TILE = 14;

// A pass is cut into parts, as many whoever works on them, and each has sums of its own: the threads' number changes
// no bit. A power of two; more threads have nothing to do.
constexpr size_t MOST_PARTS = 32;

struct Shape {
    int bits, low, high, tile;  // n, c, h, and the bits of a tile's columns
    size_t parts, pair_parts;   // at most, of each pass; of an entangler's, whose work is less
    // How many parts so many chunks or tiles, a power of two, are worked on in.
    size_t parts_of(size_t count) const { return count < parts ? count : parts; }
    explicit Shape(const Circuit& circuit, int lanes) {
        bits = circuit.bits();
        low = bits <= ONE_PASS ? bits : bits - LEAST_HIGH < MOST_LOW ? bits - LEAST_HIGH : MOST_LOW;
        high = bits - low;
        tile = TILE - high > lanes + 1 ? TILE - high : lanes + 1;
        if (tile > low) tile = low;
        parts = high ? MOST_PARTS : 1;
        pair_parts = high ? parts_of(size_t(1) << (bits - ONE_PASS)) : 1;
    }
};

// Hands out parts of one block of memory, each on a cache line of its own; counts only while it has no block.
struct Arena {
    char* base;
    size_t used = 0;
    template <class T> T* take(size_t count) {
        T* here = reinterpret_cast<T*>(base + used);
        used += (count * sizeof(T) + 255) / 256 * 256 + 64;  // lines of equal index in several arrays differ in set
        used = (used + 63) / 64 * 64;
        return here;
    }
};

// The passes that gradients come from.
enum Pass : int { LOW_PASS, HIGH_PASS, PAIR_PASS, PASSES };

// What one thread has for itself.
template <class T> struct Own {
    Planes<T> tile;
    T *columns, *rows;            // w summed over rows, and over columns
    typename Simd<T>::V* row_sum; // of a tile's rows
    Phases<T> phases[2];          // of the first and the last diagonal of a layer
};

template <class T> struct Space {
    T *psi[2][2], *phi[2][2];     // [buffer][plane]
    uint64_t* signs;
    double* gradient[2];          // [layer mod 2]: (PASSES, parts, kinds, MOST_BITS)
    Own<T> own;
};

template <class T> void take_phases(Arena& arena, const Shape& shape, Phases<T>& out) {
    out.low_bits = shape.bits < LOW ? shape.bits : LOW;
    const size_t low = size_t(1) << out.low_bits, high = size_t(1) << (shape.bits - out.low_bits);
    out.low_re = arena.take<T>(low);
    out.low_im = arena.take<T>(low);
    out.high_re = arena.take<T>(high);
    out.high_im = arena.take<T>(high);
}

template <class T> void take_own(Arena& arena, const Circuit& circuit, const Shape& shape, bool backward, Own<T>& own) {
    const size_t tile = size_t(1) << (shape.tile + shape.high);
    for (int p = 0; p < circuit.planes(); ++p) {
        own.tile.psi[p] = arena.take<T>(tile);
        if (backward) own.tile.phi[p] = arena.take<T>(tile);
    }
    if (circuit.planes() == 1) return;
    own.columns = arena.take<T>(size_t(1) << shape.low);
    own.rows = arena.take<T>(size_t(1) << shape.high);
    own.row_sum = arena.take<typename Simd<T>::V>(size_t(1) << shape.high);
    for (auto& phases : own.phases) take_phases(arena, shape, phases);
}

// The same layout for every thread; `own` is that of `rank`.
template <class T>
Space<T> take_space(Arena& arena, const Task& task, bool backward, int threads, int rank) {
    const Circuit& circuit = *task.circuit;
    const Shape shape(circuit, Simd<T>::K);
    Space<T> space = {};
    for (int p = 0; p < circuit.planes(); ++p) {
        space.psi[0][p] = backward ? arena.take<T>(circuit.amplitudes())
                                   : static_cast<T*>(task.state) + p * circuit.amplitudes();
        if (backward) space.phi[0][p] = arena.take<T>(circuit.amplitudes());
        const bool second = circuit.entangler == CNOT && circuit.layers > 1;
        space.psi[1][p] = second ? arena.take<T>(circuit.amplitudes()) : space.psi[0][p];
        if (backward) space.phi[1][p] = second ? arena.take<T>(circuit.amplitudes()) : space.phi[0][p];
    }
    if (circuit.entangler == CZ) space.signs = arena.take<uint64_t>(circuit.amplitudes() / 64 + 1);
    const size_t numbers = PASSES * shape.parts * circuit.kinds * MOST_BITS;
    for (auto& gradient : space.gradient) gradient = arena.take<double>(numbers);
    for (int t = 0; t < threads; ++t) {
        Own<T> own = {};
        take_own(arena, circuit, shape, backward, own);
        if (t == rank) space.own = own;
    }
    return space;
}
