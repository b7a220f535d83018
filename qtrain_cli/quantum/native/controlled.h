// Controlled U3 = ControlledPhaseShift(a0), CRY(a1), ControlledPhaseShift(a2): one 2x2 matrix where control = 1.
//
//     U = [[c, -s e^(i a0)], [s e^(i a2), c e^(i (a0 + a2))]]      c, s = cos, sin(a1 / 2)
//
// All three gradients follow from the overlap m[a, b] = sum conj(phi_a) chi_b on that subspace. With the phase of
// a2 and then the rotation undone, m' and m'':
//
//     dC/da2 = -Im m[1,1]     dC/da1 = 1/2 Re(m'[1,0] - m'[0,1])     dC/da0 = -Im m''[1,1]

template <class T> struct ControlledGate {
    using V = typename Simd<T>::V;
    int control, target;       // bits
    double cosine, sine, first, second;
    V re[4], im[4];            // out0 = u[0] x0 + u[1] x1, out1 = u[2] x0 + u[3] x1, with each lane's own factors
    bool partner_in_vector;
    typename Simd<T>::I partner;

    void set(int lane_target, int i, double r, double j) { re[lane_target][i] = T(r); im[lane_target][i] = T(j); }
};

template <class T> ControlledGate<T> controlled_gate(const Circuit& circuit, const int32_t* pair, const T* angle,
                                                     bool inverse) {
    using S = Simd<T>;
    ControlledGate<T> g = {};
    g.control = circuit.qubits - 1 - pair[0];
    g.target = circuit.qubits - 1 - pair[1];
    g.cosine = std::cos(double(angle[1]) / 2);
    g.sine = std::sin(double(angle[1]) / 2);
    g.first = angle[0];
    g.second = angle[2];
    g.partner_in_vector = g.target < S::K;
    g.partner = S::lane_numbers() ^ S::all_int(g.partner_in_vector ? 1 << g.target : 0);
    // The inverse is the conjugate transpose: the phases change places and signs.
    const double sign = inverse ? -1 : 1, up = inverse ? -g.second : g.first, down = inverse ? -g.first : g.second;
    const double sine = sign * g.sine, both = sign * (g.first + g.second);
    for (int i = 0; i < S::W; ++i) {
        const bool on = g.control >= S::K || (i >> g.control & 1);
        const double c = on ? g.cosine : 1, s = on ? sine : 0, turn = on ? both : 0;
        g.set(0, i, c, 0);
        g.set(1, i, -s * std::cos(up), -s * std::sin(up));
        g.set(2, i, s * std::cos(down), s * std::sin(down));
        g.set(3, i, c * std::cos(turn), c * std::sin(turn));
        if (g.partner_in_vector && (i >> g.target & 1)) {  // this lane is an x1: itself first, then its partner
            g.set(0, i, c * std::cos(turn), c * std::sin(turn));
            g.set(1, i, s * std::cos(down), s * std::sin(down));
        }
    }
    return g;
}

// conj(f) a, added to a sum of its own for each lane.
template <class T> struct Overlap {
    typename Simd<T>::V re, im;
    INLINE void add(const typename Simd<T>::V* f, const typename Simd<T>::V* a) {
        re += f[0] * a[0] + f[1] * a[1];
        im += f[0] * a[1] - f[1] * a[0];
    }
};

// m in the order 00, 01, 10, 11.
struct Matrix { double re[4], im[4]; };

template <class T> INLINE void turn_pair(const ControlledGate<T>& g, typename Simd<T>::V* x, typename Simd<T>::V* y) {
    const auto a = x[0], b = x[1], c = y[0], d = y[1];
    x[0] = g.re[0] * a - g.im[0] * b + g.re[1] * c - g.im[1] * d;
    x[1] = g.re[0] * b + g.im[0] * a + g.re[1] * d + g.im[1] * c;
    y[0] = g.re[2] * a - g.im[2] * b + g.re[3] * c - g.im[3] * d;
    y[1] = g.re[2] * b + g.im[2] * a + g.re[3] * d + g.im[3] * c;
}

template <class T> INLINE void fetch_pair(const ControlledGate<T>& g, T* const* plane, size_t at, size_t other,
                                          typename Simd<T>::V* x, typename Simd<T>::V* y) {
    for (int p = 0; p < 2; ++p) {
        x[p] = Simd<T>::load(plane[p] + at);
        y[p] = g.partner_in_vector ? Simd<T>::pick(x[p], g.partner) : Simd<T>::load(plane[p] + other);
    }
}

template <class T> INLINE void put_pair(const ControlledGate<T>& g, T* const* plane, size_t at, size_t other,
                                        const typename Simd<T>::V* x, const typename Simd<T>::V* y) {
    for (int p = 0; p < 2; ++p) {
        Simd<T>::store(plane[p] + at, x[p]);
        if (!g.partner_in_vector) Simd<T>::store(plane[p] + other, y[p]);
    }
}

// Lanes of one vector where the control is 1, summed into m; `own` 0: m[0, .] of lanes that are an x0 themselves.
template <class T> void add_lanes(const ControlledGate<T>& g, const Overlap<T>* o, Matrix& m) {
    using S = Simd<T>;
    for (int i = 0; i < S::W; ++i) {
        if (g.control < S::K && !(i >> g.control & 1)) continue;
        for (int k = 0; k < (g.partner_in_vector ? 2 : 4); ++k) {
            // An x1 with its partner at hand gives m11 and m10 where an x0 gives m00 and m01.
            const int entry = g.partner_in_vector && (i >> g.target & 1) ? 3 - k : k;
            m.re[entry] += o[k].re[i];
            m.im[entry] += o[k].im[i];
        }
    }
}

// Vector number `i` of those whose bits in `fixed` (ascending) are zero.
INLINE size_t spread(size_t i, const int* fixed, int count) {
    for (int k = 0; k < count; ++k) i = (i >> fixed[k] << (fixed[k] + 1)) | (i & ((size_t(1) << fixed[k]) - 1));
    return i;
}

// Applies the gate to one of `parts` shares of all pairs; backward on psi and phi, with the overlap before it.
template <class T, bool BACK>
void turn_controlled(const ControlledGate<T>& g, T* const* psi, T* const* phi, size_t amplitudes, int part, int parts,
                     Matrix& m) {
    using S = Simd<T>;
    int fixed[2], count = 0;
    if (g.control >= S::K) fixed[count++] = g.control - S::K;
    if (!g.partner_in_vector) fixed[count++] = g.target - S::K;
    if (count == 2 && fixed[0] > fixed[1]) { const int low = fixed[1]; fixed[1] = fixed[0]; fixed[0] = low; }
    const size_t on = g.control >= S::K ? size_t(1) << g.control : 0;
    const size_t flip = g.partner_in_vector ? 0 : size_t(1) << g.target;
    const Share mine = share((amplitudes / S::W) >> count, part, parts);
    Overlap<T> o[4] = {};
    for (size_t i = mine.first; i < mine.last; ++i) {
        const size_t at = spread(i, fixed, count) * S::W | on, other = at | flip;
        typename S::V x[2], y[2], f[2], h[2];
        fetch_pair(g, psi, at, other, x, y);
        if constexpr (BACK) {
            fetch_pair(g, phi, at, other, f, h);
            o[0].add(f, x);
            o[1].add(f, y);
            o[2].add(h, x);
            o[3].add(h, y);
            turn_pair(g, f, h);
            put_pair(g, phi, at, other, f, h);
        }
        turn_pair(g, x, y);
        put_pair(g, psi, at, other, x, y);
    }
    if constexpr (BACK) add_lanes(g, o, m);
}

// The three gradients from m; `gradient` has a stride per kind.
template <class T> void add_controlled_gradients(const ControlledGate<T>& g, const Matrix& m, double* gradient) {
    const double c = g.cosine, s = g.sine, pr = std::cos(g.second), pi = std::sin(g.second);
    // phi_1 and chi_1 lose the phase e^(i a2): conj(phi_1) chi_0 gains it, conj(phi_0) chi_1 loses it.
    const double re10 = pr * m.re[2] - pi * m.im[2], im10 = pr * m.im[2] + pi * m.re[2];
    const double re01 = pr * m.re[1] + pi * m.im[1], im01 = pr * m.im[1] - pi * m.re[1];
    gradient[0] -= s * s * m.im[0] + c * c * m.im[3] - c * s * (im01 + im10);
    gradient[1] += (re10 - re01) / 2;
    gradient[2] -= m.im[3];
}
