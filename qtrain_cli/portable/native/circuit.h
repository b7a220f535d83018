// One circuit from |0...0>: gate after gate, qubit 0 (the highest bit) first, each an operation on pairs of amplitudes
// that knows of no other pair. So neither blocks nor vectors change a bit; blocks are what keeps amplitudes near.

constexpr int CHUNK_BITS = 11, TILE_BITS = 5;  // amplitudes of a chunk, rows of a tile
constexpr size_t TILE_WIDTH = 64;

// RY on all pairs of amplitudes 2**bit apart: (a, b) -> (c a - s b, s a + c b).
inline void turn(double* __restrict x, size_t size, int bit, double s, double c) {
    const size_t apart = size_t(1) << bit;
    if (apart == 1) {
        for (size_t i = 0; i < size; i += 2) {
            const double a = x[i], b = x[i + 1];
            x[i] = c * a - s * b;
            x[i + 1] = s * a + c * b;
        }
        return;
    }
    for (size_t first = 0; first < size; first += 2 * apart)
        for (size_t i = first; i < first + apart; ++i) {
            const double a = x[i], b = x[i + apart];
            x[i] = c * a - s * b;
            x[i + apart] = s * a + c * b;
        }
}

// Amplitudes times c + i s.
inline void phase(double* __restrict re, double* __restrict im, size_t count, double s, double c) {
    for (size_t i = 0; i < count; ++i) {
        const double a = re[i], b = im[i];
        re[i] = c * a - s * b;
        im[i] = s * a + c * b;
    }
}

// RZ: c - i s where the bit is 0, c + i s where it is 1.
inline void rotate_phases(double* re, double* im, size_t size, int bit, double s, double c) {
    const size_t apart = size_t(1) << bit;
    for (size_t first = 0; first < size; first += 2 * apart) {
        phase(re + first, im + first, apart, -s, c);
        phase(re + first + apart, im + first + apart, apart, s, c);
    }
}

// All rotations of some qubits, from the highest bit down. `bit` is where the lowest of them lies in these amplitudes.
inline void rotate(const Walk& w, int layer, int first, int count, double* re, double* im, size_t size, int bit) {
    for (int q = first; q < first + count; ++q) {
        const size_t at = (size_t(layer) * w.qubits + q) * w.stride;
        const int place = bit + first + count - 1 - q;
        for (int k = 0; k < w.turns; ++k) {
            const double s = w.sine[at + k], c = w.cosine[at + k];
            if (w.kinds[k] == 'Y') {
                turn(re, size, place, s, c);
                if (im) turn(im, size, place, s, c);
            } else {
                rotate_phases(re, im, size, place, s, c);
            }
        }
    }
}

inline void load(double* tile, const double* from, size_t rows, size_t width, size_t apart) {
    for (size_t r = 0; r < rows; ++r) std::memcpy(tile + r * width, from + r * apart, width * sizeof(double));
}
inline void store(const double* tile, double* to, size_t rows, size_t width, size_t apart) {
    for (size_t r = 0; r < rows; ++r) std::memcpy(to + r * apart, tile + r * width, width * sizeof(double));
}

// The rotations of `count` qubits above the chunks, tile by tile.
inline void rotate_rows(Walk& w, int layer, int first, int count, double* tile) {
    const int low = w.qubits - first - count, width_bits = 6;
    const size_t apart = size_t(1) << low, rows = size_t(1) << count, size = rows * TILE_WIDTH;
    double* const tile_im = w.im ? tile + size : nullptr;
    for (size_t block = 0; block < size_t(1) << w.qubits; block += rows * apart)
        for (size_t column = block; column < block + apart; column += TILE_WIDTH) {
            load(tile, w.re + column, rows, TILE_WIDTH, apart);
            if (w.im) load(tile_im, w.im + column, rows, TILE_WIDTH, apart);
            rotate(w, layer, first, count, tile, tile_im, size, width_bits);
            store(tile, w.re + column, rows, TILE_WIDTH, apart);
            if (w.im) store(tile_im, w.im + column, rows, TILE_WIDTH, apart);
        }
}

inline void rotate_layer(Walk& w, int layer) {
    alignas(64) double tile[2 * TILE_WIDTH << TILE_BITS];
    const int chunk = w.qubits < CHUNK_BITS ? w.qubits : CHUNK_BITS, above = w.qubits - chunk;
    for (int first = 0; first < above; first += TILE_BITS)
        rotate_rows(w, layer, first, above - first < TILE_BITS ? above - first : TILE_BITS, tile);
    const size_t size = size_t(1) << chunk;
    for (size_t at = 0; at < size_t(1) << w.qubits; at += size)
        rotate(w, layer, above, chunk, w.re + at, w.im ? w.im + at : nullptr, size, 0);
}

// CNOTs: amplitude x comes from source_high[x's high bits] ^ source_low[x's low bits].
inline void permute(const Walk& w, int number, const double* from, double* to) {
    const size_t rows = size_t(1) << (w.qubits - w.low_bits), width = size_t(1) << w.low_bits;
    const int32_t *high = w.source_high + number * rows, *low = w.source_low + number * width;
    for (size_t r = 0; r < rows; ++r)
        for (size_t i = 0; i < width; ++i) to[r * width + i] = from[high[r] ^ low[i]];
}

// CZs: the sign of x is sign_high ^ sign_low ^ parity(low bits & mask of the high ones).
inline void change_signs(const Walk& w, int number, double* x) {
    const size_t rows = size_t(1) << (w.qubits - w.low_bits), width = size_t(1) << w.low_bits;
    const uint8_t *high = w.sign_high + number * rows, *low = w.sign_low + number * width;
    const int32_t* mask = w.sign_mask + number * rows;
    for (size_t r = 0; r < rows; ++r)
        for (size_t i = 0; i < width; ++i) {
            const int bit = high[r] ^ low[i] ^ w.parity[i & size_t(mask[r])];
            x[r * width + i] = turned(x[r * width + i], bit);
        }
}

// The controlled gates of one pair: phase, RY, phase on the target where the control is 1.
inline void couple(Walk& w, int control, int target, const double* sine, const double* cosine) {
    const int high = w.qubits - 1 - (control < target ? control : target);
    const int low = w.qubits - 1 - (control < target ? target : control);
    const size_t control_bit = size_t(1) << (w.qubits - 1 - control), bit = size_t(1) << (w.qubits - 1 - target);
    const size_t outer = size_t(1) << high, inner = size_t(1) << low;
    for (size_t top = 0; top < size_t(1) << w.qubits; top += 2 * outer)
        for (size_t middle = top; middle < top + outer; middle += 2 * inner) {
            double *re = w.re + middle + control_bit, *im = w.im + middle + control_bit;
            phase(re + bit, im + bit, inner, sine[0], cosine[0]);
            for (double* x : {re, im})
                for (size_t i = 0; i < inner; ++i) {
                    const double a = x[i], b = x[i + bit];
                    x[i] = cosine[1] * a - sine[1] * b;
                    x[i + bit] = sine[1] * a + cosine[1] * b;
                }
            phase(re + bit, im + bit, inner, sine[2], cosine[2]);
        }
}

inline void couple_layer(Walk& w, int layer) {
    for (int k = 0; k < w.qubits; ++k) {
        const size_t at = (size_t(layer) * w.qubits + k) * w.stride + w.turns;
        couple(w, w.pairs[2 * k], w.pairs[2 * k + 1], w.sine + at, w.cosine + at);
    }
}

inline void swap(double*& one, double*& other) {
    double* const kept = one;
    one = other;
    other = kept;
}

inline void entangle(Walk& w, int layer) {
    const int number = layer % w.period;
    if (w.coupled) return couple_layer(w, layer);
    if (w.sign_high) {
        change_signs(w, number, w.re);
        if (w.im) change_signs(w, number, w.im);
        return;
    }
    permute(w, number, w.re, w.spare_re);
    swap(w.re, w.spare_re);
    if (w.im) {
        permute(w, number, w.im, w.spare_im);
        swap(w.im, w.spare_im);
    }
}

bool walk(Walk& w) {
    const double* const began = w.re;
    for (size_t i = 0; i < size_t(1) << w.qubits; ++i) {
        w.re[i] = i == 0 ? 1.0 : 0.0;
        if (w.im) w.im[i] = 0.0;
    }
    for (int layer = 0; layer < w.layers; ++layer) {
        rotate_layer(w, layer);
        if (!w.final_rotation || layer + 1 < w.layers) entangle(w, layer);
    }
    return w.re != began;
}
