// Sine and cosine, and the hyperbolic tangent: the steps of ../functions.py, in the same order.
// Included once for each instruction set, in a namespace of its own.

constexpr double FACTORIALS[] = {
    1.0, 1.0, 2.0, 6.0, 24.0, 120.0, 720.0, 5040.0, 40320.0, 362880.0, 3628800.0, 39916800.0, 479001600.0,
    6227020800.0, 87178291200.0, 1307674368000.0, 20922789888000.0, 355687428096000.0};
constexpr double TWO_PI = 6.283185307179586, TWO_BY_PI = 2.0 / 3.141592653589793;
constexpr double HALF_PI[] = {1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21};
constexpr double LOG_2[] = {0.6931471803691238, 1.9082149292705877e-10}, BY_LOG_2 = 1.0 / 0.6931471805599453;
constexpr double MOST_ANGLE = 1048576.0, FLAT = 20.0;
// Added and taken off again it rounds to a whole number, half to even; the sum's low bits are that number.
constexpr double ROUNDER = 6755399441055744.0;
constexpr size_t BLOCK = 512;

inline int64_t bits_of(double x) {
    int64_t word;
    std::memcpy(&word, &x, 8);
    return word;
}
inline double double_of(int64_t word) {
    double x;
    std::memcpy(&x, &word, 8);
    return x;
}
// x with the sign bit of `sign`, and x with its sign changed where `bit` is 1.
inline double with_sign(double x, double sign) {
    return double_of((bits_of(x) & INT64_MAX) | (bits_of(sign) & INT64_MIN));
}
inline double turned(double x, int64_t bit) { return double_of(bits_of(x) ^ int64_t(uint64_t(bit) << 63)); }

// One angle of at most MOST_ANGLE.
inline void sine_cosine_of(double x, double& sine, double& cosine) {
    const double rounded = x * TWO_BY_PI + ROUNDER, n = rounded - ROUNDER;
    const double first = x - n * HALF_PI[0], w = n * HALF_PI[1], r0 = first - w;
    const double tail = n * HALF_PI[2] - ((first - r0) - w);
    const double r = r0 - tail, t = (r0 - r) - tail, z = r * r;
    double s = 1.0 / FACTORIALS[17], c = 1.0 / FACTORIALS[16];
    for (int k = 7; k >= 1; --k) s = s * z + (k % 2 ? -1.0 : 1.0) / FACTORIALS[2 * k + 1];
    for (int k = 7; k >= 2; --k) c = c * z + (k % 2 ? -1.0 : 1.0) / FACTORIALS[2 * k];
    const double half = 0.5 * z, most = 1.0 - half;
    const double sine_r = r + ((r * z) * s + t);
    const double cosine_r = most + (((1.0 - most) - half) + ((z * z) * c - r * t));
    const int64_t quarter = bits_of(rounded), odd = -(quarter & 1);
    const int64_t of_sine = bits_of(sine_r), of_cosine = bits_of(cosine_r);
    sine = turned(double_of((of_sine & ~odd) | (of_cosine & odd)), quarter >> 1 & 1);
    cosine = turned(double_of((of_cosine & ~odd) | (of_sine & odd)), (quarter + 1) >> 1 & 1);
}

void sine_cosine(const double* x, size_t count, double* sine, double* cosine) {
    double part[BLOCK];
    for (size_t first = 0; first < count; first += BLOCK) {
        const size_t size = count - first < BLOCK ? count - first : BLOCK;
        for (size_t i = 0; i < size; ++i) {
            const double one = x[first + i];
            part[i] = one > MOST_ANGLE || one < -MOST_ANGLE ? std::fmod(one, TWO_PI) : one;
        }
        for (size_t i = 0; i < size; ++i) sine_cosine_of(part[i], sine[first + i], cosine[first + i]);
    }
}

inline double tangent_of(double x) {
    const double size = with_sign(x, 1.0), y = 2.0 * (size > FLAT ? FLAT : size);
    const double rounded = y * BY_LOG_2 + ROUNDER, k = rounded - ROUNDER;
    const double r = (y - k * LOG_2[0]) - k * LOG_2[1];
    double q = 1.0 / FACTORIALS[13];
    for (int j = 12; j >= 2; --j) q = q * r + 1.0 / FACTORIALS[j];
    const double p = r + (r * r) * q;
    const double scale = double_of(int64_t((uint64_t(bits_of(rounded)) + 1023) << 52));
    const double above = scale * p + (scale - 1.0);
    return with_sign(above / (above + 2.0), x);
}

void tangent(const double* __restrict x, size_t count, double* __restrict out) {
    for (size_t i = 0; i < count; ++i) out[i] = tangent_of(x[i]);
}
