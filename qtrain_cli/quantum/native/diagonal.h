// All RZ of a layer as one diagonal, and the gradient of their angles from marginal sums.
//
//     RZ = diag(1, exp(i theta))  up to a phase that no probability and no gradient sees
//     phase[x] = high[x >> LOW] * low[x mod 2**LOW]
//     dC/dtheta_j = 1/2 sum_x (-1)**x_j w[x]        w = Im(conj(phi) chi)
//
// w is summed once over all high bits (`columns`) and once over all low bits (`rows`): two additions an amplitude
// for all n angles. Undoing a diagonal leaves w as it is, so it is read on the same pass.

constexpr int LOW = 8;

template <class T> struct Phases {
    T *low_re, *low_im, *high_re, *high_im;
    int low_bits;
};

// Fills 2**bits products of exp(+-i theta) by doubling.
template <class T> void phase_table(T* re, T* im, const double* theta, int bits, double sign) {
    re[0] = 1;
    im[0] = 0;
    for (int j = 0; j < bits; ++j) {
        const T c = T(std::cos(theta[j])), s = T(sign * std::sin(theta[j]));
        const size_t half = size_t(1) << j;
        for (size_t x = 0; x < half; ++x) {
            const T a = re[x], b = im[x];
            re[x + half] = a * c - b * s;
            im[x + half] = a * s + b * c;
        }
    }
}

// Two planes each of psi and phi.
template <class T> struct Planes {
    T *psi[2], *phi[2];
};

// Turns `length` amplitudes from outcome `index` on, on the way from one place to another or to the same; backward
// it also sums w into `columns` and into the result.
template <class T, bool BACK>
typename Simd<T>::V turn_phases(const Planes<T>& from, const Planes<T>& to, size_t index, size_t length,
                                const Phases<T>& phases, T* columns) {
    using S = Simd<T>;
    using V = typename S::V;
    const size_t low = size_t(1) << phases.low_bits, run = length < low ? length : low;
    V row = {};
    for (size_t start = 0; start < length; start += run) {
        const size_t x = index + start;
        const V hr = S::all(phases.high_re[x >> phases.low_bits]), hi = S::all(phases.high_im[x >> phases.low_bits]);
        const T *lr = phases.low_re + (x & (low - 1)), *li = phases.low_im + (x & (low - 1));
        for (size_t i = 0; i < run; i += S::W) {
            const V tr = S::load(lr + i), ti = S::load(li + i);
            const V er = tr * hr - ti * hi, ei = tr * hi + ti * hr;
            const size_t k = start + i;
            const V a = S::load(from.psi[0] + k), b = S::load(from.psi[1] + k);
            S::store(to.psi[0] + k, a * er - b * ei);
            S::store(to.psi[1] + k, a * ei + b * er);
            if constexpr (BACK) {
                const V f = S::load(from.phi[0] + k), g = S::load(from.phi[1] + k), w = f * b - g * a;
                S::store(to.phi[0] + k, f * er - g * ei);
                S::store(to.phi[1] + k, f * ei + g * er);
                S::store(columns + k, S::load(columns + k) + w);
                row += w;
            }
        }
    }
    return row;
}

// gradient[j] += 1/2 sum_x (-1)**x_j w[x] for all bits of 2**bits numbers, by folding them in halves; of w their
// sum is left, w[0].
template <class T> void add_marginals(T* w, int bits, double* gradient) {
    using S = Simd<T>;
    for (int j = bits - 1; j >= 0; --j) {
        const size_t half = size_t(1) << j;
        typename S::V sums = {};
        size_t x = 0;
        for (; x + S::W <= half; x += S::W) {
            const auto a = S::load(w + x), b = S::load(w + x + half);
            sums += a - b;
            S::store(w + x, a + b);
        }
        T difference = S::total(sums);
        for (; x < half; ++x) {
            const T a = w[x], b = w[x + half];
            difference += a - b;
            w[x] = a + b;
        }
        gradient[j] += double(difference) / 2;
    }
}
