// A student's circuit for a batch: W samples in the lanes of each vector, forward and backward (kernel.md).
//
//     f(s, x) = sum_t scale_t g_t(s) (-1)**|mask_t & x|          g: x_j of one qubit, prod (pi - x_j) of several
//     psi <- exp(-i f) H psi, R times; then L layers of RZ, RY and an entangler; e = observables |psi|**2
//
// f is a Walsh-Hadamard transform of T numbers, and so is the way back from w = Im(conj(phi) psi) to their gradient.
// Backward runs the circuit again, and keeps nothing between the two calls.

using F = Simd<float>;
using FV = F::V;
using FI = F::I;

// sin and cos of |a| < MOST_PHASE: by quarters of a turn, a rest in -pi/4 .. pi/4, Cephes' polynomials for it.
constexpr float MOST_PHASE = 8192;
INLINE void sine_cosine(FV a, FV& sine, FV& cosine) {
    const FV magic = F::all(12582912.0f);  // 1.5 * 2**23: the sum's last bits are the nearest whole number
    const FV shifted = a * F::all(0.636619772f) + magic;
    const FV turns = shifted - magic;
    const FI quarter = (FI)shifted;
    FV r = a - turns * F::all(1.5703125f);
    r = r - turns * F::all(4.837512969970703125e-4f);
    r = r - turns * F::all(7.5497899548918821e-8f);
    const FV z = r * r;
    const FV s = ((F::all(-1.9515295891e-4f) * z + F::all(8.3321608736e-3f)) * z - F::all(1.6666654611e-1f)) * z * r + r;
    const FV c = ((F::all(2.443315711809948e-5f) * z - F::all(1.388731625493765e-3f)) * z +
                  F::all(4.166664568298827e-2f)) * z * z - F::all(0.5f) * z + F::all(1.0f);
    const FI odd = (quarter & 1) != 0;
    const FV one = odd ? c : s, other = odd ? s : c;
    sine = (quarter & 2) != 0 ? -one : one;
    cosine = ((quarter + 1) & 2) != 0 ? -other : other;
}

// Unnormalised: out[y] = sum_x (-1)**|x & y| in[x].
INLINE void walsh(FV* a, size_t outcomes) {
    for (size_t half = 1; half < outcomes; half *= 2)
        for (size_t start = 0; start < outcomes; start += 2 * half)
            for (size_t i = start; i < start + half; ++i) {
                const FV one = a[i], other = a[i + half];
                a[i] = one + other;
                a[i + half] = one - other;
            }
}

struct Plane {
    FV *re, *im;
};

struct SampleSweep {
    const Samples& task;
    const size_t d;
    Arena arena;
    FV *cosine, *sine, *spare, *w;
    Plane psi, phi;
    FV *by_phase, *by_turn;             // (L, 2**n) and (L, n): sums over the batch
    float *phase_re, *phase_im, *turn;  // (L, 2**n), and (L, n, 2): cos and sin of half the RY

    SampleSweep(const Samples& task, bool backward) : task(task), d(task.outcomes()), arena{static_cast<char*>(task.work)} {
        for (FV** each : {&cosine, &sine, &spare, &psi.re, &psi.im}) *each = arena.take<FV>(d);
        phase_re = arena.take<float>(task.layers * d);
        phase_im = arena.take<float>(task.layers * d);
        turn = arena.take<float>(size_t(task.layers) * task.qubits * 2);
        if (!backward) return;
        for (FV** each : {&w, &phi.re, &phi.im}) *each = arena.take<FV>(d);
        by_phase = arena.take<FV>(task.layers * d);
        by_turn = arena.take<FV>(size_t(task.layers) * task.qubits);
    }

    void prepare() {
        const int n = task.qubits, r = task.before ? 2 : 1;
        for (int l = 0; l < task.layers; ++l) {
            double z[MOST_SAMPLE_QUBITS] = {};
            for (int j = 0; j < n; ++j) {
                const float* angle = task.theta + (size_t(l) * n + (n - 1 - j)) * r;
                if (task.before) z[j] = angle[0];
                turn[(size_t(l) * n + j) * 2] = float(std::cos(double(angle[r - 1]) / 2));
                turn[(size_t(l) * n + j) * 2 + 1] = float(std::sin(double(angle[r - 1]) / 2));
            }
            if (task.before) phase_table<float>(phase_re + l * d, phase_im + l * d, z, n, 1);
        }
    }

    // --- the features of W samples, transposed ------------------------------------------------------------

    void features(int first, FV* x) const {
        const int n = task.qubits, here = task.count - first < F::W ? task.count - first : F::W;
        for (int j = 0; j < n; ++j) {
            x[j] = FV{};
            for (int i = 0; i < here; ++i) x[j][i] = task.x[size_t(first + i) * n + (n - 1 - j)];
        }
    }
    FV value(int term, const FV* x) const {
        const uint32_t mask = uint32_t(task.mask[term]);
        if ((mask & (mask - 1)) == 0) return x[__builtin_ctz(mask)];
        FV found = F::all(1);
        for (uint32_t rest = mask; rest; rest &= rest - 1) found *= F::all(PI) - x[__builtin_ctz(rest)];
        return found;
    }
    static constexpr float PI = 3.14159265358979323846f;

    void data_phases(const FV* x) {
        for (size_t i = 0; i < d; ++i) spare[i] = FV{};
        for (int t = 0; t < task.terms; ++t) spare[task.mask[t]] += F::all(task.scale[t]) * value(t, x);
        walsh(spare, d);
        FI beyond = {};
        for (size_t i = 0; i < d; ++i) {
            sine_cosine(spare[i], sine[i], cosine[i]);
            const FI within = (spare[i] < F::all(MOST_PHASE)) & (spare[i] > F::all(-MOST_PHASE));
            beyond |= ~within;  // or no number
        }
        for (int lane = 0; lane < F::W; ++lane)
            if (beyond[lane])
                for (size_t i = 0; i < d; ++i)
                    sine[i][lane] = std::sin(spare[i][lane]), cosine[i][lane] = std::cos(spare[i][lane]);
    }
    void by_features(const FV* x, FV* out) {
        walsh(w, d);
        for (int j = 0; j < task.qubits; ++j) out[j] = FV{};
        for (int t = 0; t < task.terms; ++t) {
            const FV g = F::all(task.scale[t]) * w[task.mask[t]];
            const uint32_t mask = uint32_t(task.mask[t]);
            for (uint32_t rest = mask; rest; rest &= rest - 1) {
                const int j = __builtin_ctz(rest);
                const uint32_t others = mask & ~(uint32_t(1) << j);
                FV product = others ? -g : g;
                for (uint32_t o = others; o; o &= o - 1) product *= F::all(PI) - x[__builtin_ctz(o)];
                out[j] += product;
            }
        }
    }

    // --- the circuit --------------------------------------------------------------------------------------

    // psi <- exp(-i f) psi, or back.
    void turn_data(Plane a, bool back) {
        for (size_t i = 0; i < d; ++i) {
            const FV re = a.re[i], im = a.im[i], s = back ? -sine[i] : sine[i];
            a.re[i] = re * cosine[i] + im * s;
            a.im[i] = im * cosine[i] - re * s;
        }
    }
    void hadamards(Plane a) {
        const FV root = F::all(float(1 / std::sqrt(double(d))));
        for (FV* plane : {a.re, a.im}) {
            walsh(plane, d);
            for (size_t i = 0; i < d; ++i) plane[i] *= root;
        }
    }
    void turn_z(Plane a, int layer, bool back) {
        for (size_t i = 0; i < d; ++i) {
            const FV c = F::all(phase_re[layer * d + i]), s = F::all(back ? -phase_im[layer * d + i] : phase_im[layer * d + i]);
            const FV re = a.re[i], im = a.im[i];
            a.re[i] = re * c - im * s;
            a.im[i] = re * s + im * c;
        }
    }
    void turn_y(FV* a, int layer, int j, bool back) {
        const float* cs = turn + (size_t(layer) * task.qubits + j) * 2;
        const FV c = F::all(cs[0]), s = F::all(back ? -cs[1] : cs[1]);
        const size_t half = size_t(1) << j;
        for (size_t start = 0; start < d; start += 2 * half)
            for (size_t i = start; i < start + half; ++i) {
                const FV one = a[i], other = a[i + half];
                a[i] = c * one - s * other;
                a[i + half] = s * one + c * other;
            }
    }
    void entangle(FV*& a, int layer, bool back) {
        const int32_t* source = task.source + layer * d;
        const float* sign = task.sign + layer * d;
        for (size_t y = 0; y < d; ++y) {
            if (back) spare[source[y]] = F::all(sign[y]) * a[y];
            else spare[y] = F::all(sign[y]) * a[source[y]];
        }
        FV* const was = a;
        a = spare;
        spare = was;
    }
    void run(const FV* x) {
        data_phases(x);
        const FV root = F::all(float(1 / std::sqrt(double(d))));
        for (size_t i = 0; i < d; ++i) psi.re[i] = root, psi.im[i] = FV{};
        turn_data(psi, false);
        for (int k = 1; k < task.reps; ++k) hadamards(psi), turn_data(psi, false);
        for (int l = 0; l < task.layers; ++l) {
            if (task.before) turn_z(psi, l, false);
            for (FV** plane : {&psi.re, &psi.im}) {
                for (int j = 0; j < task.qubits; ++j) turn_y(*plane, l, j, false);
                entangle(*plane, l, false);
            }
        }
    }
    void forward() {
        prepare();
        for (int first = 0; first < task.count; first += F::W) {
            FV x[MOST_SAMPLE_QUBITS];
            features(first, x);
            run(x);
            for (size_t i = 0; i < d; ++i) spare[i] = psi.re[i] * psi.re[i] + psi.im[i] * psi.im[i];
            for (int k = 0; k < task.outputs; ++k) {
                FV sum = {};
                for (size_t i = 0; i < d; ++i) sum += F::all(task.observables[k * d + i]) * spare[i];
                for (int i = 0; i < F::W && first + i < task.count; ++i)
                    task.e[size_t(first + i) * task.outputs + k] = sum[i];
            }
        }
    }

    // --- the way back -------------------------------------------------------------------------------------

    // phi = 2 v psi, v the cotangents of the probabilities.
    void start(int first) {
        for (size_t i = 0; i < d; ++i) spare[i] = FV{};
        for (int k = 0; k < task.outputs; ++k) {
            FV v = {};
            for (int i = 0; i < F::W && first + i < task.count; ++i) v[i] = task.v[size_t(first + i) * task.outputs + k];
            for (size_t i = 0; i < d; ++i) spare[i] += F::all(task.observables[k * d + i]) * v;
        }
        for (size_t i = 0; i < d; ++i) {
            phi.re[i] = F::all(2) * spare[i] * psi.re[i];
            phi.im[i] = F::all(2) * spare[i] * psi.im[i];
        }
    }
    FV overlap_y(const FV* a, const FV* f, int j) const {
        FV sum = {};
        const size_t half = size_t(1) << j;
        for (size_t start = 0; start < d; start += 2 * half)
            for (size_t i = start; i < start + half; ++i) sum += f[i + half] * a[i] - f[i] * a[i + half];
        return sum;
    }
    void add_w(FV* out) const {
        for (size_t i = 0; i < d; ++i) out[i] += phi.re[i] * psi.im[i] - phi.im[i] * psi.re[i];
    }
    void undo(int layer) {
        for (FV** plane : {&psi.re, &psi.im, &phi.re, &phi.im}) entangle(*plane, layer, true);
        for (int j = 0; j < task.qubits; ++j) {
            by_turn[size_t(layer) * task.qubits + j] += overlap_y(psi.re, phi.re, j) + overlap_y(psi.im, phi.im, j);
            for (FV* plane : {psi.re, psi.im, phi.re, phi.im}) turn_y(plane, layer, j, true);
        }
        if (!task.before) return;
        add_w(by_phase + layer * d);
        for (Plane each : {psi, phi}) turn_z(each, layer, true);
    }
    void backward() {
        prepare();
        for (size_t i = 0; i < task.layers * d; ++i) by_phase[i] = FV{};
        for (int i = 0; i < task.layers * task.qubits; ++i) by_turn[i] = FV{};
        for (int first = 0; first < task.count; first += F::W) {
            FV x[MOST_SAMPLE_QUBITS], by_x[MOST_SAMPLE_QUBITS];
            features(first, x);
            run(x);
            start(first);
            for (int l = task.layers - 1; l >= 0; --l) undo(l);
            for (size_t i = 0; i < d; ++i) w[i] = FV{};
            for (int k = task.reps - 1;; --k) {
                add_w(w);
                if (k == 0) break;
                for (Plane each : {psi, phi}) turn_data(each, true), hadamards(each);
            }
            by_features(x, by_x);
            for (int j = 0; j < task.qubits; ++j)
                for (int i = 0; i < F::W && first + i < task.count; ++i)
                    task.by_x[size_t(first + i) * task.qubits + (task.qubits - 1 - j)] = by_x[j][i];
        }
        collect();
    }
    void collect() {
        const int n = task.qubits, r = task.before ? 2 : 1;
        for (int l = 0; l < task.layers; ++l) {
            double z[MOST_SAMPLE_QUBITS] = {};
            if (task.before) {
                for (size_t i = 0; i < d; ++i) phase_re[i] = F::total(by_phase[l * d + i]);
                add_marginals(phase_re, n, z);
            }
            for (int j = 0; j < n; ++j) {
                float* out = task.by_theta + (size_t(l) * n + (n - 1 - j)) * r;
                if (task.before) out[0] = float(z[j]);
                out[r - 1] = F::total(by_turn[size_t(l) * n + j]) / 2;
            }
        }
    }
};

inline size_t sample_bytes(const Samples& task, bool backward) {
    Samples counted = task;
    counted.work = nullptr;
    return SampleSweep(counted, backward).arena.used;
}
inline void samples_forward(const Samples& task) { SampleSweep(task, false).forward(); }
inline void samples_backward(const Samples& task) { SampleSweep(task, true).backward(); }
