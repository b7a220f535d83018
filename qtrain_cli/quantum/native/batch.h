// What a student's batch is asked to do, as plain data: its circuit (samples.h) and its convolutions (front.h).
//
// Both put the samples into the lanes of vectors, W at a time: every gate and every weight is then one number for
// all lanes, nothing is shuffled within a vector, and entanglers only move vectors.
#pragma once

#include <cstddef>
#include <cstdint>

namespace qtrain {

constexpr int MOST_SAMPLE_QUBITS = 10;
constexpr int MOST_STAGES = 8;
constexpr int MOST_KERNEL = 5;

// One circuit a sample with shared angles: reps of (Hadamards, a diagonal of the features), then the ansatz.
struct Samples {
    int qubits, layers, reps, count;  // n, L, R, N
    int terms, outputs;               // T, k
    bool before;                      // an RZ before each RY
    const int32_t* mask;              // (T,): the bits that a term's string of Z stands on
    const float* scale;               // (T,)
    const int32_t* source;            // (L, 2**n): out[y] = sign[y] in[source[y]] after a layer's turns
    const float* sign;                // (L, 2**n)
    const float* observables;         // (k, 2**n)
    const float* theta;               // (L, n, r), r = 2 with `before`, else 1
    const float* x;                   // (N, n)
    float* e;                         // (N, k): written by forward
    const float* v;                   // (N, k): the cotangent, read by backward
    float *by_theta, *by_x;           // written by backward
    void* work;

    size_t outcomes() const { return size_t(1) << qubits; }
    size_t angles() const { return size_t(layers) * qubits * (before ? 2 : 1); }
};

// One convolution with its halving: (before, height, width) -> (after, rows, columns).
struct Stage {
    int before, after, kernel, height, width, rows, columns;
    size_t places() const { return size_t(rows) * columns; }
    size_t inputs() const { return size_t(before) * height * width; }
    size_t outputs() const { return size_t(after) * places(); }
    size_t weights() const { return size_t(after) * before * kernel * kernel; }
};

// Convolutions, and one spatial filter a channel. Weights are one array: w, b of each stage, then w, b of the filters.
struct Convolutions {
    int count, stages;  // N
    Stage stage[MOST_STAGES];
    const float *weights, *images;  // images (N, C, H, W)
    float* out;                     // (N, channels): written by forward
    float* state;                   // written by forward, read by backward
    const float* v;                 // (N, channels)
    float* gradient;                // as weights: written by backward
    void* work;

    const Stage& last() const { return stage[stages - 1]; }
    size_t numbers() const {
        size_t sum = last().outputs() + last().after;
        for (int s = 0; s < stages; ++s) sum += stage[s].weights() + stage[s].after;
        return sum;
    }
    // Vectors that `state` keeps of W samples: the images, then what each stage gave and where it came from.
    size_t kept() const {
        size_t sum = stage[0].inputs();
        for (int s = 0; s < stages; ++s) sum += 2 * stage[s].outputs();
        return sum;
    }
    // Vectors of `work`: the gradients by what each stage gave, and by all weights.
    size_t worked() const {
        size_t sum = numbers();
        for (int s = 0; s < stages; ++s) sum += stage[s].outputs();
        return sum;
    }
};

struct BatchKernel {
    int lanes;
    size_t (*sample_bytes)(const Samples&, bool backward);
    void (*samples_forward)(const Samples&);
    void (*samples_backward)(const Samples&);
    void (*front_forward)(const Convolutions&);
    void (*front_backward)(const Convolutions&);
};

const BatchKernel& batch_kernel();  // of the instruction set in use

}  // namespace qtrain
