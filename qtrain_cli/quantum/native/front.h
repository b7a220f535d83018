// A student's convolutions for a batch: W images in the lanes of each vector, forward and backward (kernel.md).
//
//     y = relu(max of 2 x 2 (w * x + b))  stage by stage, then one spatial filter a channel
//
// Of each output the number of the largest of the four is kept, or -1 where relu let nothing through: the gradient
// goes there alone. A window of the halving is worked on in registers: four places of up to 5 channels forward;
// backward all weights of a pair of channels, or the (K + 1)**2 inputs of the window.

struct Window {
    FV value;
    FI from;
};

// The largest of four, the first of equals, and no number if the first is none.
INLINE Window largest(const FV* a) {
    Window out = {a[0], FI{}};
    for (int p = 1; p < 4; ++p) {
        const FI more = a[p] > out.value;
        out.value = more ? a[p] : out.value;
        out.from = more ? F::all_int(p) : out.from;
    }
    const FI none = out.value <= FV{};
    out.value = none ? FV{} : out.value;
    out.from = none ? F::all_int(-1) : out.from;
    return out;
}

// C channels of the output from `first` on. w: (after, before, K, K).
template <int C>
void convolve_channels(const Stage& s, int first, const float* w, const float* b, const FV* x, FV* y, FI* from) {
    const int K = s.kernel;
    const size_t plane = size_t(s.height) * s.width, filter = size_t(s.before) * K * K;
    for (int row = 0; row < s.rows; ++row)
        for (int column = 0; column < s.columns; ++column) {
            FV sum[C][4];
            for (int c = 0; c < C; ++c)
                for (int p = 0; p < 4; ++p) sum[c][p] = F::all(b[first + c]);
            const float* weight = w + first * filter;
            for (int i = 0; i < s.before; ++i)
                for (int ky = 0; ky < K; ++ky)
                    for (int kx = 0; kx < K; ++kx, ++weight) {
                        const FV* at = x + i * plane + size_t(2 * row + ky) * s.width + 2 * column + kx;
                        const FV a[4] = {at[0], at[1], at[s.width], at[s.width + 1]};
#pragma GCC unroll 5
                        for (int c = 0; c < C; ++c)
#pragma GCC unroll 4
                            for (int p = 0; p < 4; ++p) sum[c][p] += F::all(weight[c * filter]) * a[p];
                    }
            for (int c = 0; c < C; ++c) {
                const Window out = largest(sum[c]);
                const size_t place = (first + c) * s.places() + size_t(row) * s.columns + column;
                y[place] = out.value;
                from[place] = out.from;
            }
        }
}

inline void convolve(const Stage& s, const float* w, const float* b, const FV* x, FV* y, FI* from) {
    const int parts = (s.after + 4) / 5;
    for (int part = 0; part < parts; ++part) {
        const int first = s.after * part / parts, channels = s.after * (part + 1) / parts - first;
        if (channels == 1) convolve_channels<1>(s, first, w, b, x, y, from);
        if (channels == 2) convolve_channels<2>(s, first, w, b, x, y, from);
        if (channels == 3) convolve_channels<3>(s, first, w, b, x, y, from);
        if (channels == 4) convolve_channels<4>(s, first, w, b, x, y, from);
        if (channels == 5) convolve_channels<5>(s, first, w, b, x, y, from);
    }
}

// by_w (after, before, K, K) and by_b (after,) get their sums over all places of W images added.
template <int K>
void add_weight_gradients(const Stage& s, const FV* x, const FV* v, const FI* from, FV* by_w, FV* by_b) {
    const size_t plane = size_t(s.height) * s.width;
    for (int c = 0; c < s.after; ++c)
        for (int i = 0; i < s.before; ++i) {
            FV sum[K * K] = {}, total = {};
            for (int row = 0; row < s.rows; ++row)
                for (int column = 0; column < s.columns; ++column) {
                    const size_t place = c * s.places() + size_t(row) * s.columns + column;
                    const FV g = v[place];
                    const FI where = from[place];
                    total += where < 0 ? FV{} : g;
                    const FV* const window = x + i * plane + size_t(2 * row) * s.width + 2 * column;
#pragma GCC unroll 4
                    for (int p = 0; p < 4; ++p) {
                        const FV a = where == F::all_int(p) ? g : FV{};
                        const FV* const at = window + size_t(p >> 1) * s.width + (p & 1);
#pragma GCC unroll 5
                        for (int ky = 0; ky < K; ++ky)
#pragma GCC unroll 5
                            for (int kx = 0; kx < K; ++kx) sum[ky * K + kx] += a * at[size_t(ky) * s.width + kx];
                    }
                }
            for (int k = 0; k < K * K; ++k) by_w[(size_t(c) * s.before + i) * K * K + k] += sum[k];
            if (i == 0) by_b[c] += total;
        }
}

// by_x (before, height, width), which is written whole.
template <int K> void input_gradients(const Stage& s, const float* w, const FV* v, const FI* from, FV* by_x) {
    const size_t plane = size_t(s.height) * s.width;
    for (size_t k = 0; k < s.inputs(); ++k) by_x[k] = FV{};
    for (int i = 0; i < s.before; ++i)
        for (int row = 0; row < s.rows; ++row)
            for (int column = 0; column < s.columns; ++column) {
                FV sum[K + 1][K + 1] = {};
                for (int c = 0; c < s.after; ++c) {
                    const size_t place = c * s.places() + size_t(row) * s.columns + column;
                    const FV g = v[place];
                    const FI where = from[place];
                    const float* const weight = w + (size_t(c) * s.before + i) * K * K;
#pragma GCC unroll 4
                    for (int p = 0; p < 4; ++p) {
                        const FV a = where == F::all_int(p) ? g : FV{};
#pragma GCC unroll 5
                        for (int ky = 0; ky < K; ++ky)
#pragma GCC unroll 5
                            for (int kx = 0; kx < K; ++kx)
                                sum[(p >> 1) + ky][(p & 1) + kx] += F::all(weight[ky * K + kx]) * a;
                    }
                }
                FV* const window = by_x + i * plane + size_t(2 * row) * s.width + 2 * column;
                for (int ky = 0; ky <= K; ++ky)
                    for (int kx = 0; kx <= K; ++kx) window[size_t(ky) * s.width + kx] += sum[ky][kx];
            }
}

struct FrontSweep {
    const Convolutions& task;
    const Stage& last;
    const size_t filter;  // numbers of one spatial filter
    explicit FrontSweep(const Convolutions& task) : task(task), last(task.last()), filter(last.places()) {}

    const float* filters() const { return task.weights + task.numbers() - last.outputs() - last.after; }
    FV* kept(int block) const { return static_cast<FV*>(static_cast<void*>(task.state)) + block * task.kept(); }

    void load(int first, FV* x) const {
        const size_t numbers = task.stage[0].inputs();
        const int here = task.count - first < F::W ? task.count - first : F::W;
        if (here < F::W)
            for (size_t k = 0; k < numbers; ++k) x[k] = FV{};
        float* const to = reinterpret_cast<float*>(x);
        for (size_t start = 0; start < numbers; start += 16)  // a cache line of each image
            for (int i = 0; i < here; ++i) {
                const float* const image = task.images + size_t(first + i) * numbers;
                for (size_t k = start; k < start + 16 && k < numbers; ++k) to[k * F::W + i] = image[k];
            }
    }
    void forward() const {
        for (int first = 0, block = 0; first < task.count; first += F::W, ++block) {
            FV* x = kept(block);
            load(first, x);
            const float* w = task.weights;
            for (int k = 0; k < task.stages; ++k) {
                const Stage& s = task.stage[k];
                FV* const y = x + s.inputs() * (k == 0 ? 1 : 2);
                convolve(s, w, w + s.weights(), x, y, reinterpret_cast<FI*>(y + s.outputs()));
                w += s.weights() + s.after;
                x = y;
            }
            filter_channels(first, x);
        }
    }
    void filter_channels(int first, const FV* x) const {
        const float* const w = filters();
        for (int c = 0; c < last.after; ++c) {
            FV sum = F::all(w[last.outputs() + c]);
            for (size_t k = c * filter; k < (c + 1) * filter; ++k) sum += F::all(w[k]) * x[k];
            for (int i = 0; i < F::W && first + i < task.count; ++i) task.out[size_t(first + i) * last.after + c] = sum[i];
        }
    }

    void backward() const {
        FV* const sums = static_cast<FV*>(task.work);
        for (size_t k = 0; k < task.numbers(); ++k) sums[k] = FV{};
        for (int first = 0, block = 0; first < task.count; first += F::W, ++block) back(first, kept(block), sums);
        for (size_t k = 0; k < task.numbers(); ++k) task.gradient[k] = F::total(sums[k]);
    }
    void back(int first, const FV* x, FV* sums) const {
        const FV* in[MOST_STAGES];
        size_t before[MOST_STAGES], numbers = 0;
        for (int k = 0; k < task.stages; ++k) {
            const Stage& s = task.stage[k];
            in[k] = x;
            before[k] = numbers;
            x += s.inputs() * (k == 0 ? 1 : 2);
            numbers += s.weights() + s.after;
        }
        FV* v = sums + task.numbers();
        back_filters(first, x, sums + numbers, v);
        for (int k = task.stages - 1; k >= 0; --k) {
            const Stage& s = task.stage[k];
            const FI* from = reinterpret_cast<const FI*>(in[k] + s.inputs() * (k == 0 ? 1 : 2) + s.outputs());
            FV *by_w = sums + before[k], *by_b = by_w + s.weights(), *by_x = v + s.outputs();
            if (s.kernel == 3) add_weight_gradients<3>(s, in[k], v, from, by_w, by_b);
            else add_weight_gradients<5>(s, in[k], v, from, by_w, by_b);
            if (k == 0) break;
            if (s.kernel == 3) input_gradients<3>(s, task.weights + before[k], v, from, by_x);
            else input_gradients<5>(s, task.weights + before[k], v, from, by_x);
            v = by_x;
        }
    }
    void back_filters(int first, const FV* x, FV* sums, FV* by_x) const {
        const float* const w = filters();
        for (int c = 0; c < last.after; ++c) {
            FV v = {};
            for (int i = 0; i < F::W && first + i < task.count; ++i) v[i] = task.v[size_t(first + i) * last.after + c];
            for (size_t k = c * filter; k < (c + 1) * filter; ++k) {
                sums[k] += v * x[k];
                by_x[k] = v * F::all(w[k]);
            }
            sums[last.outputs() + c] += v;
        }
    }
};

inline void front_forward(const Convolutions& task) { FrontSweep(task).forward(); }
inline void front_backward(const Convolutions& task) { FrontSweep(task).backward(); }
