// One circuit forward and backward: the passes of every layer, and who works on what (kernel.md).
//
// A layer is two passes over memory. The low pass takes chunks of 2**c neighbouring amplitudes that stay in cache:
// it fetches them through the entangler before it, and turns the c lowest qubits. The high pass takes tiles,
// narrow columns of all 2**h rows, copied to a buffer next to each other because rows are a power of two apart,
// and turns the h = n - c others. Diagonals are part of either. Both ways go low first, then high.

template <class T, int PLANES, bool BACK> struct Sweep {
    using S = Simd<T>;
    using V = typename S::V;
    const Task& task;
    const Circuit& circuit;
    const Shape shape;
    const int rank, threads;
    Arena arena;
    Space<T> space;
    int now = 0;                            // buffer that holds the state
    Turn<T> turn[MOST_BITS] = {};
    LaneTurn<T> lane[S::K] = {};
    V sums[MOST_BITS] = {};
    double* gradient = nullptr;             // this thread's of this layer: (kinds, MOST_BITS)
    Gather<T> map = {};
    int mapped = -1;                        // the layer whose columns or signs are at hand
    enum Fetch { AS_IT_IS, MAPPED, SIGNED } fetch = AS_IT_IS;
    bool first_diagonal = false, last_diagonal = false;

    Sweep(const Task& task, int rank)
        : task(task), circuit(*task.circuit), shape(circuit, S::K), rank(rank), threads(size_of(*task.team)),
          arena{static_cast<char*>(task.work)}, space(take_space<T>(arena, task, BACK, threads, rank)) {}

    T* const* psi() { return space.psi[now]; }
    T* const* phi() { return space.phi[now]; }
    const T* angles(int layer) const {
        return static_cast<const T*>(task.theta) + size_t(layer) * circuit.qubits * circuit.kinds;
    }
    double angle(int layer, int bit, int kind) const {
        return bit < circuit.qubits ? double(angles(layer)[(circuit.qubits - 1 - bit) * circuit.kinds + kind]) : 0;
    }

    // The turns and phases of a layer's rotations, and an empty gradient.
    void prepare(int layer) {
        const int ry = circuit.before ? 1 : 0;
        for (int j = 0; j < shape.bits; ++j) {
            const double half = angle(layer, j, ry) / 2;
            turn[j] = {T(std::cos(half)), T(BACK ? -std::sin(half) : std::sin(half))};
        }
        lane_turns(turn, lane);
        first_diagonal = BACK ? circuit.after : circuit.before;
        last_diagonal = BACK ? circuit.before : circuit.after;
        if (circuit.before) fill(space.own.phases[BACK], layer, 0);
        if (circuit.after) fill(space.own.phases[!BACK], layer, ry + 1);
        if constexpr (BACK) {
            gradient = space.gradient[layer & 1] + size_t(rank) * circuit.kinds * MOST_BITS;
            for (int i = 0; i < circuit.kinds * MOST_BITS; ++i) gradient[i] = 0;
        }
    }
    void fill(Phases<T>& out, int layer, int kind) {
        double theta[MOST_BITS];
        for (int j = 0; j < shape.bits; ++j) theta[j] = angle(layer, j, kind);
        phase_table(out.low_re, out.low_im, theta, out.low_bits, BACK ? -1 : 1);
        phase_table(out.high_re, out.high_im, theta + out.low_bits, shape.bits - out.low_bits, BACK ? -1 : 1);
    }

    // What the next low pass fetches through: the entangler of `layer`, there or back.
    void through(int layer) {
        const Entangler kind = layer < 0 || layer >= circuit.layers ? NONE : circuit.entangler_of(layer);
        fetch = kind == CNOT ? MAPPED : kind == CZ ? SIGNED : AS_IT_IS;
        if (fetch == AS_IT_IS || (mapped >= 0 && mapped % circuit.period == layer % circuit.period)) return;
        mapped = layer;
        if (fetch == MAPPED) {
            cnot_columns(circuit, layer, !BACK, map.columns);
            map.finish(shape.bits);
            return;
        }
        const Share mine = share(circuit.amplitudes() / 64 + 1, rank, threads);
        cz_signs(circuit, layer, space.signs, mine.first, mine.last);
        wait(*task.team);
    }

    // This pass's part [at, at + length) of the state, from buffer `now` to buffer `to`.
    void fetch_part(size_t at, size_t length, int to) {
        T *a[2], *f[2];
        for (int p = 0; p < PLANES; ++p) {
            a[p] = space.psi[to][p] + at;
            if constexpr (BACK) f[p] = space.phi[to][p] + at;
        }
        if (fetch == MAPPED) {
            gather<T>(map, psi(), a, PLANES, at, length);
            if constexpr (BACK) gather<T>(map, phi(), f, PLANES, at, length);
        } else if (fetch == SIGNED) {
            change_signs<T>(space.signs, a, PLANES, at, length);
            if constexpr (BACK) change_signs<T>(space.signs, f, PLANES, at, length);
        }
    }

    V phases_of(bool last, T* const* psi_planes, T* const* phi_planes, size_t index, size_t length, T* columns) {
        if constexpr (PLANES == 2) {
            T *a[2] = {psi_planes[0], psi_planes[1]}, *f[2] = {phi_planes[0], phi_planes[1]};
            return turn_phases<T, BACK>(a, f, index, length, space.own.phases[last], columns);
        }
        return V{};
    }

    void low_pass(size_t chunks) {
        const int to = fetch == MAPPED ? 1 - now : now;
        const size_t chunk = size_t(1) << shape.low;
        const int inner = shape.low < S::K + INNER ? shape.low : S::K + INNER;
        const Share mine = share(chunks, rank, threads);
        clear_marginals();
        for (size_t k = mine.first; k < mine.last; ++k) {
            V row = {};
            for (size_t at = k * chunk; at < (k + 1) * chunk; at += size_t(1) << inner) {
                fetch_part(at, size_t(1) << inner, to);
                if (first_diagonal) row += diagonal_part(false, at, size_t(1) << inner, to, at - k * chunk);
                turn_part(at, size_t(1) << inner, to, 0, inner);
            }
            if (shape.low > inner) turn_part(k * chunk, chunk, to, inner, shape.low);
            if (BACK && PLANES == 2 && first_diagonal) space.own.rows[k] = S::total(row);
            add_turns(0, shape.low);
        }
        if (first_diagonal) add_diagonal(false);
        if (last_diagonal && shape.high == 0 && mine.first < mine.last) {
            clear_marginals();
            const V row = diagonal_part(true, 0, chunk, to, 0);
            if (BACK) space.own.rows[0] = S::total(row);
            add_diagonal(true);
        }
        wait(*task.team);
        now = to;
    }
    V diagonal_part(bool last, size_t at, size_t length, int buffer, size_t column) {
        T *a[2], *f[2];
        for (int p = 0; p < PLANES; ++p) {
            a[p] = space.psi[buffer][p] + at;
            f[p] = BACK ? space.phi[buffer][p] + at : nullptr;
        }
        return phases_of(last, a, f, at, length, space.own.columns + column);
    }
    void turn_part(size_t at, size_t length, int buffer, int first, int last) {
        for (int p = 0; p < PLANES; ++p)
            turn_bits<T, BACK>(space.psi[buffer][p] + at, BACK ? space.phi[buffer][p] + at : nullptr, length, first,
                               last, turn, lane, sums);
    }

    void high_pass() {
        if (shape.high == 0) return;
        const size_t tiles = size_t(1) << (shape.low - shape.tile), wide = size_t(1) << shape.tile;
        const Share mine = share(tiles, rank, threads);
        clear_marginals();
        for (size_t k = mine.first; k < mine.last; ++k) high_tile(k * wide, wide);
        if (BACK && PLANES == 2 && last_diagonal)
            for (size_t r = 0; r < size_t(1) << shape.high; ++r) space.own.rows[r] = S::total(space.own.row_sum[r]);
        if (last_diagonal) add_diagonal(true);
        add_turns(shape.low, shape.bits);
        wait(*task.team);
    }
    void high_tile(size_t column, size_t wide) {
        const size_t rows = size_t(1) << shape.high, size = rows * wide;
        Own<T>& own = space.own;
        for (int p = 0; p < PLANES; ++p) {
            copy_rows(psi()[p] + column, size_t(1) << shape.low, own.psi[p], wide, rows, wide);
            if constexpr (BACK) copy_rows(phi()[p] + column, size_t(1) << shape.low, own.phi[p], wide, rows, wide);
            // The buffer's bits are the tile's columns and then the high ones: its turns stand at another place.
            turn_bits<T, BACK>(own.psi[p], own.phi[p], size, shape.tile, shape.tile + shape.high,
                               turn + shape.low - shape.tile, lane, sums + shape.low - shape.tile);
        }
        if (last_diagonal)
            for (size_t r = 0; r < rows; ++r) {
                T *a[2] = {own.psi[0] + r * wide, own.psi[PLANES - 1] + r * wide};
                T *f[2] = {own.phi[0] + r * wide, own.phi[PLANES - 1] + r * wide};
                const V row = phases_of(true, a, f, (r << shape.low) + column, wide, own.columns + column);
                if constexpr (BACK && PLANES == 2) own.row_sum[r] += row;
            }
        for (int p = 0; p < PLANES; ++p) {
            copy_rows(own.psi[p], wide, psi()[p] + column, size_t(1) << shape.low, rows, wide);
            if constexpr (BACK) copy_rows(own.phi[p], wide, phi()[p] + column, size_t(1) << shape.low, rows, wide);
        }
    }
    static void copy_rows(const T* from, size_t from_stride, T* to, size_t to_stride, size_t rows, size_t wide) {
        for (size_t r = 0; r < rows; ++r)
            for (size_t i = 0; i < wide; i += S::W)
                S::store(to + r * to_stride + i, S::load(from + r * from_stride + i));
    }

    // --- gradients of this thread -------------------------------------------------------------------------

    void clear_marginals() {
        if constexpr (BACK && PLANES == 2) {
            for (size_t i = 0; i < size_t(1) << shape.low; i += S::W) S::store(space.own.columns + i, V{});
            for (size_t r = 0; r < size_t(1) << shape.high; ++r) {
                space.own.rows[r] = 0;
                space.own.row_sum[r] = V{};
            }
        }
    }
    void add_turns(int first, int last) {
        if constexpr (BACK) {
            double found[MOST_BITS] = {};
            add_turn_gradients<T>(sums, last, found);
            for (int j = first; j < last; ++j) {
                gradient[(circuit.before ? 1 : 0) * MOST_BITS + j] += found[j];
                sums[j] = V{};
            }
        }
    }
    void add_diagonal(bool last) {
        if constexpr (BACK && PLANES == 2) {
            double* out = gradient + (last ? 0 : circuit.before ? 2 : 1) * MOST_BITS;
            add_marginals(space.own.columns, shape.low, out);
            add_marginals(space.own.rows, shape.high, out + shape.low);
        }
    }
    // All threads' sums of a layer whose last pass is over, by one of them: the others write to the other buffer.
    void collect(int layer) {
        if (rank != 0) return;
        T* out = static_cast<T*>(task.gradient) + size_t(layer) * circuit.qubits * circuit.kinds;
        for (int q = 0; q < circuit.qubits; ++q)
            for (int kind = 0; kind < circuit.kinds; ++kind) {
                const double* sum = space.gradient[layer & 1] + kind * MOST_BITS + circuit.qubits - 1 - q;
                double found = 0;
                for (int t = 0; t < threads; ++t) found += sum[size_t(t) * circuit.kinds * MOST_BITS];
                out[q * circuit.kinds + kind] = T(found);
            }
    }

    // --- entanglers with angles, one pass a pair ----------------------------------------------------------

    void controlled_pass(int layer, int k) {
        const int rotations = circuit.kinds - 3;
        const T* angle = angles(layer) + k * circuit.kinds + rotations;
        const auto gate = controlled_gate<T>(circuit, circuit.pairs_of(layer) + 2 * k, angle, BACK);
        Matrix m = {};
        turn_controlled<T, BACK>(gate, psi(), phi(), circuit.amplitudes(), rank, threads, m);
        if constexpr (BACK) {
            double found[3] = {};
            add_controlled_gradients(gate, m, found);
            for (int i = 0; i < 3; ++i) gradient[(rotations + i) * MOST_BITS + circuit.qubits - 1 - k] += found[i];
        }
        wait(*task.team);
    }

    // --- the whole way ------------------------------------------------------------------------------------

    Share my_vectors() const {
        const Share mine = share(circuit.amplitudes() / S::W, rank, threads);
        return {mine.first * S::W, mine.last * S::W};
    }
    size_t chunks() const { return size_t(1) << shape.high; }

    void forward() {
        // The state ends in buffer 0, which is the caller's, whatever the number of gathers on the way.
        now = circuit.entangler == CNOT ? (circuit.layers - 1) & 1 : 0;
        const Share mine = my_vectors();
        for (int p = 0; p < PLANES; ++p)
            for (size_t i = mine.first; i < mine.last; i += S::W) S::store(psi()[p] + i, V{});
        if (rank == 0) psi()[0][0] = 1;
        wait(*task.team);
        for (int layer = 0; layer < circuit.layers; ++layer) {
            prepare(layer);
            through(layer - 1);
            low_pass(layer == 0 ? 1 : chunks());  // the first turns act on one chunk: all others are zero yet
            high_pass();
            if (circuit.entangler_of(layer) == CONTROLLED)
                for (int k = 0; k < circuit.pairs; ++k) controlled_pass(layer, k);
        }
        through(circuit.layers - 1);
        square();
    }
    // p[y] = |psi[source[y]]|**2: the last entangler is applied to nothing but the probabilities.
    void square() {
        const Share mine = my_vectors();
        T* p = static_cast<T*>(task.p);
        const size_t outcomes = size_t(1) << circuit.qubits;
        T part[2][S::W], *out[2] = {part[0], part[1]};
        for (size_t i = mine.first; i < mine.last; i += S::W) {
            if (fetch == MAPPED) gather<T>(map, psi(), out, PLANES, i, S::W);
            const T* re = fetch == MAPPED ? part[0] : psi()[0] + i;
            const T* im = fetch == MAPPED ? part[1] : psi()[PLANES - 1] + i;
            V a = S::load(re) * S::load(re);
            if (PLANES == 2) a += S::load(im) * S::load(im);
            for (size_t j = 0; j < S::W && i + j < outcomes; ++j) p[i + j] = a[j];
        }
    }

    void backward() {
        through(circuit.layers - 1);
        start();
        wait(*task.team);
        for (int layer = circuit.layers - 1; layer >= 0; --layer) {
            prepare(layer);
            if (circuit.entangler_of(layer) == CONTROLLED)
                for (int k = circuit.pairs - 1; k >= 0; --k) controlled_pass(layer, k);
            if (layer == circuit.layers - 1) fetch = AS_IT_IS;
            else through(layer);
            low_pass(chunks());
            high_pass();
            collect(layer);
        }
    }
    // psi as forward left it, and phi = 2 v psi with v fetched back through the last entangler.
    void start() {
        const Share mine = my_vectors();
        const T* v = static_cast<const T*>(task.v);
        const size_t outcomes = size_t(1) << circuit.qubits;
        T padded[1 << FEWEST_BITS] = {}, part[S::W], *out = part;
        if (outcomes < size_t(1) << FEWEST_BITS) {
            for (size_t i = 0; i < outcomes; ++i) padded[i] = v[i];
            v = padded;
        }
        for (size_t i = mine.first; i < mine.last; i += S::W) {
            if (fetch == MAPPED) gather<T>(map, &v, &out, 1, i, S::W);
            const V twice = V{} + T(2) * S::load(fetch == MAPPED ? part : v + i);
            for (int p = 0; p < PLANES; ++p) {
                const V a = S::load(static_cast<const T*>(task.state) + p * circuit.amplitudes() + i);
                S::store(psi()[p] + i, a);
                S::store(phi()[p] + i, twice * a);
            }
        }
    }
};

template <class T> size_t work_bytes(const Circuit& circuit, bool backward, int threads) {
    Arena arena{nullptr};
    Task task = {};
    task.circuit = &circuit;
    take_space<T>(arena, task, backward, threads, 0);
    return arena.used;
}
template <class T> void forward(const Task& task, int rank) {
    if (task.circuit->planes() == 2) Sweep<T, 2, false>(task, rank).forward();
    else Sweep<T, 1, false>(task, rank).forward();
}
template <class T> void backward(const Task& task, int rank) {
    if (task.circuit->planes() == 2) Sweep<T, 2, true>(task, rank).backward();
    else Sweep<T, 1, true>(task, rank).backward();
}
