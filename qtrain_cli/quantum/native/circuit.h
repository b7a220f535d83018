// What a call is asked to do, as plain data: one circuit's shape, where its numbers are, and who works on it.
//
// Bit j of an outcome belongs to qubit n - 1 - j (wire 0 is the most significant bit). States have at least
// 2**FEWEST_BITS amplitudes, so that one vector of any instruction set fits: bits beyond the qubits are never
// turned, and their amplitudes stay zero. A state is planar: one plane of reals, or a real and an imaginary one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace qtrain {

constexpr int FEWEST_BITS = 4;
constexpr int MOST_BITS = 32;

// The limits of circuit.py. Within them no product of a circuit's sizes leaves 64 bits.
constexpr int MOST_QUBITS = 26;
constexpr int64_t MOST_ANGLES = 50'000'000;     // of all circuits together
constexpr int64_t MOST_OUTCOMES = 1 << 28;
constexpr int MOST_THREADS = 1024;              // more are not started

enum Entangler : int { NONE = 0, CNOT = 1, CZ = 2, CONTROLLED = 3 };

struct Circuit {
    int qubits, layers, circuits;  // n, L, b
    int first;                     // layers that the given state has behind it, but for their last entangler
    int kinds;                     // r, angles of a qubit in a layer
    bool before, after;            // an RZ before and after the RY
    Entangler entangler;
    bool final_rotation;           // the last layer has no entangler
    int period, pairs;             // layers until the pairs repeat, pairs of a layer
    const int32_t* pair;           // (period, pairs, 2): the two qubits of each pair

    int bits() const { return qubits < FEWEST_BITS ? FEWEST_BITS : qubits; }
    size_t amplitudes() const { return size_t(1) << bits(); }
    int planes() const { return before || after || entangler == CONTROLLED ? 2 : 1; }
    size_t angles() const { return size_t(layers) * qubits * kinds; }  // of one circuit
    Entangler entangler_of(int layer) const { return final_rotation && layer == layers - 1 ? NONE : entangler; }
    const int32_t* pairs_of(int layer) const { return pair + size_t(layer % period) * pairs * 2; }
};

// Threads that walk one circuit together: all of them reach `wait` before any of them leaves it.
struct Team;
int size_of(const Team&);
void wait(Team&);

// One circuit's numbers, float; `work` is what `work_bytes` asked for.
struct Task {
    const Circuit* circuit;
    const void* theta;   // (L, n, r)
    void* state;         // (planes, 2**bits): given to forward if it has layers behind it, written, read by backward
    void* p;             // (2**n,): written by forward
    const void* v;       // (2**n,): the cotangent, read by backward
    void* gradient;      // (L, n, r): written by backward, from layer `first` on
    void* work;
    Team* team;
};

// The same code, once for each instruction set.
struct Kernel {
    size_t (*work_bytes)(const Circuit&, bool backward, int threads);
    void (*forward)(const Task&, int rank);
    void (*backward)(const Task&, int rank);
};

}  // namespace qtrain
