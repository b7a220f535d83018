// One circuit forward and backward: the passes of every layer, and who works on what (kernel.md).
//
// A layer is two passes over memory. The low pass takes chunks of 2**c neighbouring amplitudes that stay in cache:
// it fetches them through the entangler before it, and turns the c lowest qubits. The high pass takes tiles,
// columns of all 2**h rows, and turns the h = n - c others; between its turns a tile stands in a buffer, because rows
// are a power of two apart. Diagonals are part of either. Both ways go low first, then high.

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
    Turns<T> turns = {};
    V sums[MOST_BITS] = {};
    double* gradient = nullptr;             // of the part at hand: (kinds, MOST_BITS)
    size_t low_parts = 0, high_parts = 0;   // of this layer's passes
    Gather<T> map = {};
    size_t partner = 0;                     // chunks so far apart come from the same places
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

    // The turns and phases of a layer's rotations.
    void prepare(int layer) {
        const int ry = circuit.before ? 1 : 0;
        double half[MOST_BITS];
        for (int j = 0; j < shape.bits; ++j) half[j] = angle(layer, j, ry) / 2;
        turns.set(half, shape.bits, BACK);
        first_diagonal = BACK ? circuit.after : circuit.before;
        last_diagonal = BACK ? circuit.before : circuit.after;
        if (circuit.before) fill(space.own.phases[BACK], layer, 0);
        if (circuit.after) fill(space.own.phases[!BACK], layer, ry + 1);
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
            Columns back;
            cnot_columns(circuit, layer, BACK, back);
            partner = map.sources == 2 ? back.of(map.offset[1]) : 0;
            if (partner % (size_t(1) << shape.low) != 0) partner = 0;
            partner >>= shape.low;
            return;
        }
        const Share mine = share(circuit.amplitudes() / 64 + 1, rank, threads);
        cz_signs(circuit, layer, space.signs, mine.first, mine.last);
        wait(*task.team);
    }

    Planes<T> planes(int buffer, size_t at) {
        Planes<T> out = {};
        for (int p = 0; p < 2; ++p) {
            out.psi[p] = space.psi[buffer][p % PLANES] + at;
            if constexpr (BACK) out.phi[p] = space.phi[buffer][p % PLANES] + at;
        }
        return out;
    }
    Rows<T> rows_of(const Planes<T>& of, int plane, size_t stride) { return {of.psi[plane], of.phi[plane], stride}; }
    V phases_of(bool last, const Planes<T>& from, const Planes<T>& to, size_t index, size_t length, size_t column) {
        if constexpr (PLANES == 2)
            return turn_phases<T, BACK>(from, to, index, length, space.own.phases[last], space.own.columns + column);
        return V{};
    }

    // One part of a chunk: fetched, its first diagonal, and the turns within it. Returns w summed over the part.
    V low_part(size_t at, size_t length, int to, size_t column) {
        V row = {};
        const Planes<T> out = planes(to, at);
        const bool at_once = fetch == MAPPED && !first_diagonal && length == size_t(S::W) << INNER;
        if (fetch == MAPPED && !at_once) {
            gather<T>(map, psi(), out.psi, PLANES, at, length);
            if constexpr (BACK) gather<T>(map, phi(), out.phi, PLANES, at, length);
        } else if (fetch == SIGNED) {
            change_signs<T>(space.signs, out.psi, PLANES, at, length);
            if constexpr (BACK) change_signs<T>(space.signs, out.phi, PLANES, at, length);
        }
        if (first_diagonal) row = phases_of(false, out, out, at, length, column);
        int bits = 0;
        while (size_t(S::W) << bits < length) ++bits;
        const int r = bits < RADIX<BACK> ? bits : RADIX<BACK>;
        for (int p = 0; p < PLANES; ++p) {
            const T* const in[2] = {psi()[p], BACK ? phi()[p] : nullptr};
            T* const both[2] = {out.psi[p], out.phi[p]};
            turn_first_of<T, BACK>(at_once ? map.sources : -1, r, map, in, both, at, length, turns, sums);
            const Rows<T> all = rows_of(out, p, S::W);
            turn_rows<T, BACK>(all, all, all, length / S::W, S::W, r, bits, turns.bit + S::K, sums + S::K);
        }
        return row;
    }
    void low_pass(int layer, size_t chunks) {
        const int to = fetch == MAPPED ? 1 - now : now;
        const size_t chunk = size_t(1) << shape.low;
        // Chunks that come from the same places are worked on side by side.
        const size_t apart = fetch == MAPPED && chunks > 1 ? partner : 0, count = apart ? chunks / 2 : chunks;
        low_parts = shape.parts_of(count);
        size_t top = 1;
        while (top <= apart / 2) top *= 2;
        const Share mine = share(low_parts, rank, threads);
        for (size_t part = mine.first; part < mine.last; ++part) {
            begin(layer, LOW_PASS, part);
            clear_marginals(0, chunk);
            const Share own = share(count, int(part), int(low_parts));
            for (size_t m = own.first; m < own.last; ++m)
                low_chunks(apart ? (m & (top - 1)) | (m & ~(top - 1)) << 1 : m, apart, to);
            if (first_diagonal) add_diagonal(false, 0, shape.low);
        }
        if (last_diagonal && shape.high == 0 && mine.first < mine.last) {
            clear_marginals(0, chunk);
            phases_of(true, planes(to, 0), planes(to, 0), 0, chunk, 0);
            add_diagonal(true, 0, shape.low);
        }
        wait(*task.team);
        now = to;
    }
    // One chunk, and the one so far `apart` from it if any.
    void low_chunks(size_t first, size_t apart, int to) {
        const size_t chunk = size_t(1) << shape.low, pair[2] = {first, first ^ apart};
        const int inner = shape.low < S::K + INNER ? shape.low : S::K + INNER;
        V row[2] = {};
        for (size_t column = 0; column < chunk; column += size_t(1) << inner)
            for (int i = 0; i < (apart ? 2 : 1); ++i)
                row[i] += low_part(pair[i] * chunk + column, size_t(1) << inner, to, column);
        for (int i = 0; i < (apart ? 2 : 1); ++i) {
            for (int p = 0; p < PLANES; ++p) {
                const Rows<T> all = rows_of(planes(to, pair[i] * chunk), p, S::W);
                turn_rows<T, BACK>(all, all, all, chunk / S::W, S::W, inner - S::K, shape.low - S::K,
                                   turns.bit + S::K, sums + S::K);
            }
            if (BACK && PLANES == 2 && first_diagonal) space.own.rows[pair[i]] = S::total(row[i]);
        }
        add_turns(0, shape.low);
    }

    void high_pass(int layer) {
        if (shape.high == 0) return;
        const size_t tiles = size_t(1) << (shape.low - shape.tile), wide = size_t(1) << shape.tile;
        high_parts = shape.parts_of(tiles);
        const size_t own = tiles / high_parts * wide;  // a part's columns, which no other part has
        int bits = shape.tile;
        while (size_t(1) << bits < own) ++bits;
        const Share mine = share(high_parts, rank, threads);
        for (size_t part = mine.first; part < mine.last; ++part) {
            begin(layer, HIGH_PASS, part);
            clear_marginals(part * own, own);
            for (size_t column = part * own; column < (part + 1) * own; column += wide) high_tile(column, wide);
            if (BACK && PLANES == 2 && last_diagonal)
                for (size_t r = 0; r < size_t(1) << shape.high; ++r) space.own.rows[r] = S::total(space.own.row_sum[r]);
            if (last_diagonal) add_diagonal(true, part * own, bits);
            add_turns(shape.low, shape.bits);
        }
        wait(*task.team);
    }
    // Rows come from memory with the first turns and go back with the last, or with the diagonal after them.
    void high_tile(size_t column, size_t wide) {
        const size_t rows = size_t(1) << shape.high, stride = size_t(1) << shape.low;
        const Planes<T> state = planes(now, column), &tile = space.own.tile;
        for (int p = 0; p < PLANES; ++p) {
            const Rows<T> outside = rows_of(state, p, stride), inside = rows_of(tile, p, wide);
            turn_rows<T, BACK>(outside, inside, last_diagonal ? inside : outside, rows, wide, 0, shape.high,
                               turns.bit + shape.low, sums + shape.low);
        }
        if (last_diagonal)
            for (size_t r = 0; r < rows; ++r) {
                Planes<T> from = tile, to = state;
                for (int p = 0; p < 2; ++p) {
                    from.psi[p] += r * wide, to.psi[p] += r * stride;
                    if constexpr (BACK) from.phi[p] += r * wide, to.phi[p] += r * stride;
                }
                const V row = phases_of(true, from, to, r * stride + column, wide, column);
                if constexpr (BACK && PLANES == 2) space.own.row_sum[r] += row;
            }
    }

    // --- gradients, by parts ------------------------------------------------------------------------------

    double* sums_of(int layer, Pass pass, size_t part) const {
        return space.gradient[layer & 1] + (pass * shape.parts + part) * circuit.kinds * MOST_BITS;
    }
    // What follows is this part's: its gradient is empty.
    void begin(int layer, Pass pass, size_t part) {
        if constexpr (BACK) {
            gradient = sums_of(layer, pass, part);
            for (int i = 0; i < circuit.kinds * MOST_BITS; ++i) gradient[i] = 0;
        }
    }
    void clear_marginals(size_t first, size_t count) {
        if constexpr (BACK && PLANES == 2) {
            for (size_t i = first; i < first + count; i += S::W) S::store(space.own.columns + i, V{});
            for (size_t r = 0; r < size_t(1) << shape.high; ++r) {
                space.own.rows[r] = 0;
                space.own.row_sum[r] = V{};
            }
        }
    }
    void add_turns(int first, int last) {
        if constexpr (BACK) {
            add_turn_gradients<T>(sums, first, last, turns.weight, gradient + (circuit.before ? MOST_BITS : 0));
        }
    }
    // From the 2**bits columns from `first` on, the higher bits of which are the same, and from all rows.
    void add_diagonal(bool last, size_t first, int bits) {
        if constexpr (BACK && PLANES == 2) {
            double* out = gradient + (last ? 0 : circuit.before ? 2 : 1) * MOST_BITS;
            add_marginals(space.own.columns + first, bits, out);
            const double half = double(space.own.columns[first]) / 2;
            for (int j = bits; j < shape.low; ++j) out[j] += (first >> j & 1) ? -half : half;
            add_marginals(space.own.rows, shape.high, out + shape.low);
        }
    }
    // All parts' sums of a layer whose last pass is over, by one thread: the others write to the other buffer.
    void collect(int layer) {
        if (rank != 0) return;
        T* out = static_cast<T*>(task.gradient) + size_t(layer) * circuit.qubits * circuit.kinds;
        const int rotations = circuit.kinds - (circuit.entangler == CONTROLLED ? 3 : 0);
        const int pairs = circuit.entangler_of(layer) == CONTROLLED ? circuit.pairs : 0;
        for (int q = 0; q < circuit.qubits; ++q)
            for (int kind = 0; kind < circuit.kinds; ++kind) {
                double found = 0;
                auto add = [&](Pass pass, size_t parts) {
                    for (size_t k = 0; k < parts; ++k)
                        found += sums_of(layer, pass, k)[kind * MOST_BITS + circuit.qubits - 1 - q];
                };
                if (kind < rotations) add(LOW_PASS, low_parts), add(HIGH_PASS, high_parts);
                else if (q < pairs) add(PAIR_PASS, shape.pair_parts);
                out[q * circuit.kinds + kind] = T(found);
            }
    }

    // --- entanglers with angles, one pass a pair ----------------------------------------------------------

    void controlled_pass(int layer, int k) {
        const int rotations = circuit.kinds - 3;
        const T* angle = angles(layer) + k * circuit.kinds + rotations;
        const auto gate = controlled_gate<T>(circuit, circuit.pairs_of(layer) + 2 * k, angle, BACK);
        const Share mine = share(shape.pair_parts, rank, threads);
        for (size_t part = mine.first; part < mine.last; ++part) {
            Matrix m = {};
            turn_controlled<T, BACK>(gate, psi(), phi(), circuit.amplitudes(), int(part), int(shape.pair_parts), m);
            if constexpr (BACK) {
                double found[3] = {};
                add_controlled_gradients(gate, m, found);
                double* const out = sums_of(layer, PAIR_PASS, part) + rotations * MOST_BITS + circuit.qubits - 1 - k;
                for (int i = 0; i < 3; ++i) out[i * MOST_BITS] = found[i];
            }
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
        const int first = circuit.first, gathers = circuit.layers - (first == 0 ? 1 : first);
        now = circuit.entangler == CNOT ? gathers & 1 : 0;
        const Share mine = my_vectors();
        const T* given = static_cast<const T*>(task.state);
        for (int p = 0; p < PLANES; ++p)
            for (size_t i = mine.first; i < mine.last; i += S::W)
                S::store(psi()[p] + i, first == 0 ? V{} : S::load(given + p * circuit.amplitudes() + i));
        if (first == 0 && rank == 0) psi()[0][0] = 1;
        wait(*task.team);
        for (int layer = first; layer < circuit.layers; ++layer) {
            prepare(layer);
            through(layer - 1);
            low_pass(layer, layer == 0 ? 1 : chunks());  // the first turns act on one chunk: all others are zero yet
            high_pass(layer);
            if (circuit.entangler_of(layer) == CONTROLLED)
                for (int k = 0; k < circuit.pairs; ++k) controlled_pass(layer, k);
        }
        through(circuit.layers - 1);
        square();
    }
    // p[y] = |psi[source[y]]|**2: the last entangler is applied to nothing but the probabilities.
    void square() {
        T* p = static_cast<T*>(task.p);
        const size_t outcomes = size_t(1) << circuit.qubits;
        fetch_vectors(psi(), PLANES, [&](size_t i, const V* found) {
            V a = found[0] * found[0];
            if (PLANES == 2) a += found[PLANES - 1] * found[PLANES - 1];
            if (i + S::W <= outcomes) S::store(p + i, a);
            else for (size_t j = 0; i + j < outcomes; ++j) p[i + j] = a[j];
        });
    }
    // Calls `use` with each of this thread's vectors, fetched from `planes` planes through the entangler at hand.
    template <class Use> INLINE void fetch_vectors(const T* const* in, int planes, Use use) {
        const Share mine = my_vectors();
        uint32_t x = map.columns.of(fetch == MAPPED ? mine.first : 0);
        for (size_t i = mine.first; i < mine.last; i += S::W) {
            V found[2];
            for (int p = 0; p < planes; ++p) {
                if (fetch != MAPPED) found[p] = S::load(in[p] + i);
                else if (map.sources == 1) found[p] = map.template pick<1>(in[p], x);
                else if (map.sources == 2) found[p] = map.template pick<2>(in[p], x);
                else found[p] = map.template pick<0>(in[p], x);
            }
            use(i, found);
            x ^= map.step_of(i, 0);
        }
    }

    void backward() {
        through(circuit.layers - 1);
        start();
        wait(*task.team);
        for (int layer = circuit.layers - 1; layer >= circuit.first; --layer) {
            prepare(layer);
            if (circuit.entangler_of(layer) == CONTROLLED)
                for (int k = circuit.pairs - 1; k >= 0; --k) controlled_pass(layer, k);
            if (layer == circuit.layers - 1) fetch = AS_IT_IS;
            else through(layer);
            low_pass(layer, chunks());
            high_pass(layer);
            collect(layer);
        }
    }
    // psi as forward left it, and phi = 2 v psi with v fetched back through the last entangler.
    void start() {
        const T *v = static_cast<const T*>(task.v), *state = static_cast<const T*>(task.state);
        const size_t outcomes = size_t(1) << circuit.qubits;
        T padded[1 << FEWEST_BITS] = {};
        if (outcomes < size_t(1) << FEWEST_BITS) {
            for (size_t i = 0; i < outcomes; ++i) padded[i] = v[i];
            v = padded;
        }
        fetch_vectors(&v, 1, [&](size_t i, const V* found) {
            for (int p = 0; p < PLANES; ++p) {
                const V a = S::load(state + p * circuit.amplitudes() + i);
                S::store(psi()[p] + i, a);
                S::store(phi()[p] + i, S::all(2) * found[0] * a);
            }
        });
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
