// What one instruction set gives: the same table for all, and the same bits from each.
#pragma once

#include <cstddef>
#include <cstdint>

// GCC compiles one file for another processor than the next; other compilers get the plain one alone.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define QTRAIN_MORE_STEPS 1
#else
#define QTRAIN_MORE_STEPS 0
#endif

namespace qtrain_portable {

constexpr int MOST_QUBITS = 26, MOST_KINDS = 6;

// One circuit. Angles are their sines and cosines, (L, n, r); `im` is null where amplitudes are real.
struct Walk {
    int qubits, layers, period, low_bits;
    const char* kinds;  // of one qubit's rotations: Y and Z
    int turns, stride;  // how many those are; angles of a qubit in all
    int coupled;        // 1: three controlled gates on each of the pairs
    int final_rotation;
    const int32_t* pairs;                // (n, 2) where coupled
    const double *sine, *cosine;
    const int32_t *source_high, *source_low;  // (period, 2**(n - low_bits)), (period, 2**low_bits)
    const uint8_t *sign_high, *sign_low;      // the same shapes; null without signs
    const int32_t* sign_mask;                 // (period, 2**(n - low_bits))
    const uint8_t* parity;                    // (2**low_bits,)
    double *re, *im, *spare_re, *spare_im;    // 2**n each
};

struct Steps {
    void (*sine_cosine)(const double* x, size_t count, double* sine, double* cosine);
    void (*tangent)(const double* x, size_t count, double* out);
    void (*product)(const double* left, const double* right, size_t rows, size_t terms, size_t columns, double* out);
    bool (*walk)(Walk& walk);  // true where the result lies in the spare arrays
};

extern const Steps steps_base;
#if QTRAIN_MORE_STEPS
extern const Steps steps_v3;
#endif

}  // namespace qtrain_portable
