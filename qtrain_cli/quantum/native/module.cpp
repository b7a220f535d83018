// The Python module: checks sizes, gives up the interpreter's lock, shares the circuits among threads.
//
//     forward(shape, theta, state, p, threads, first)            fills state and p; state has `first` layers behind it
//     backward(shape, theta, state, v, gradient, threads, first) fills gradient from layer `first` on
//     samples_*, front_*                                         a student's batch (batches.cpp)
//     shape = (n, L, b, rotations, entangler, final_rotation, period, pairs)
//
// Arrays are contiguous buffers of float; their sizes are checked here, their dtypes in native.py.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <atomic>
#include <cstring>
#include <vector>

#include "batches.h"
#include "buffers.h"
#include "kernels.h"
#include "team.h"

namespace qtrain {
namespace {

struct Level {
    const char* name;
    const Kernel* kernel;
    const BatchKernel* batch;
};

Level best_level() {
#if QTRAIN_MORE_KERNELS
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        return {"x86-64-v4", &kernel_v4, &batch_kernel_v4};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
        return {"x86-64-v3", &kernel_v3, &batch_kernel_v3};
#endif
    return {"base", &kernel_base, &batch_kernel_base};
}

Level level_named(const char* name) {
    const Level best = best_level();
    const Level all[] = {
#if QTRAIN_MORE_KERNELS
        {"x86-64-v4", &kernel_v4, &batch_kernel_v4},
        {"x86-64-v3", &kernel_v3, &batch_kernel_v3},
#endif
        {"base", &kernel_base, &batch_kernel_base}};
    bool allowed = false;  // levels stand in falling order: all from the best on can run here
    for (const Level& one : all) {
        allowed = allowed || std::strcmp(one.name, best.name) == 0;
        if (allowed && std::strcmp(one.name, name) == 0) return one;
    }
    return {nullptr, nullptr, nullptr};
}

Level level = best_level();

// Above so many qubits a circuit's memory counts: all threads share the work of one.
constexpr int MOST_APART = 18;

struct Call {
    Circuit circuit = {};
    int threads = 1;
    Buffer pairs, theta, state, other, gradient;

    bool check_pairs() const {
        const auto* pair = static_cast<const int32_t*>(pairs.view.buf);
        for (size_t i = 0; i < size_t(circuit.period) * circuit.pairs; ++i) {
            const int32_t a = pair[2 * i], b = pair[2 * i + 1];
            if (a < 0 || b < 0 || a >= circuit.qubits || b >= circuit.qubits || a == b) {
                PyErr_Format(PyExc_ValueError, "no pair of qubits: %d and %d", int(a), int(b));
                return false;
            }
        }
        return true;
    }
    // Each size is within its limit before it is multiplied: the largest product is below 2**59.
    bool within_limits() const {
        const Circuit& c = circuit;
        if (c.qubits < 1 || c.qubits > MOST_QUBITS || c.layers < 1 || c.layers > MOST_ANGLES || c.circuits < 1 ||
            c.circuits > MOST_ANGLES || c.first < 0 || c.first >= c.layers)
            return false;
        return int64_t(c.circuits) * c.layers * c.qubits * c.kinds <= MOST_ANGLES &&
               int64_t(c.circuits) << c.qubits <= MOST_OUTCOMES &&
               c.period >= 1 && c.period <= c.qubits &&                    // cnot-ranges: n - 1
               c.pairs >= 0 && c.pairs <= c.qubits * (c.qubits - 1);       // each qubit with each other
    }
    // Fills the circuit; false, and an exception of Python, where anything does not fit.
    bool read(int entangler, int final_rotation, const char* rotations) {
        Circuit& c = circuit;
        bool known = false;
        for (const char* row : {"Y", "YZ", "ZY", "ZYZ"}) known = known || std::strcmp(rotations, row) == 0;
        known = known && entangler >= NONE && entangler <= CONTROLLED;
        c.kinds = int(std::strlen(rotations)) + (entangler == CONTROLLED ? 3 : 0);
        if (!known || threads < 1 || !within_limits()) {
            PyErr_SetString(PyExc_ValueError, "no such circuit");
            return false;
        }
        threads = threads < MOST_THREADS ? threads : MOST_THREADS;
        c.entangler = Entangler(entangler);
        c.final_rotation = final_rotation != 0;
        c.before = rotations[0] == 'Z';
        c.after = std::strchr(rotations, 'Y')[1] == 'Z';
        c.pair = static_cast<const int32_t*>(pairs.view.buf);
        const size_t b = size_t(c.circuits);
        if (c.entangler == CONTROLLED && c.pairs > c.qubits) {
            PyErr_SetString(PyExc_ValueError, "more pairs than qubits");
            return false;
        }
        return pairs.is("pairs", size_t(c.period) * c.pairs * 2, sizeof(int32_t)) && check_pairs() &&
               theta.is("theta", b * c.angles(), sizeof(float)) &&
               state.is("state", b * c.planes() * c.amplitudes(), sizeof(float)) &&
               other.is("probabilities", b << c.qubits, sizeof(float));
    }
    Task task(int k, bool backward, Team& team, char* work) {
        const size_t one = sizeof(float), angles = circuit.angles() * one;
        Task task = {};
        task.circuit = &circuit;
        task.theta = theta.at(k * angles);
        task.state = state.at(k * circuit.planes() * circuit.amplitudes() * one);
        (backward ? const_cast<void*&>(task.v) : task.p) = other.at((size_t(k) << circuit.qubits) * one);
        if (backward) task.gradient = gradient.at(k * angles);
        task.work = work;
        task.team = &team;
        return task;
    }
};

// With enough small circuits each thread takes whole ones; else all threads walk through one after the other.
void run(Call& call, bool backward) {
    const Kernel& kernel = *level.kernel;
    const auto walk = backward ? kernel.backward : kernel.forward;
    const bool apart = call.circuit.circuits >= call.threads && call.circuit.qubits <= MOST_APART;
    const size_t bytes = kernel.work_bytes(call.circuit, backward, apart ? 1 : call.threads);
    std::vector<Block> work;
    for (int t = 0; t < (apart ? call.threads : 1); ++t) work.emplace_back(bytes);
    Team together;
    std::atomic<int> next{0};
    start_and_join(
        call.threads, [&](int size) { together.size = size; },
        [&](int rank) {
            Team alone;
            if (apart)
                for (int k; (k = next.fetch_add(1)) < call.circuit.circuits;)
                    walk(call.task(k, backward, alone, work[rank].at), 0);
            else
                for (int k = 0; k < call.circuit.circuits; ++k) {
                    walk(call.task(k, backward, together, work[0].at), rank);
                    wait(together);
                }
        });
}

PyObject* run_without_lock(Call& call, bool backward) {
    bool memory = true;
    Py_BEGIN_ALLOW_THREADS;
    try {
        run(call, backward);
    } catch (const std::bad_alloc&) {
        memory = false;
    }
    Py_END_ALLOW_THREADS;
    if (!memory) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

PyObject* forward(PyObject*, PyObject* args) {
    Call call;
    Circuit& c = call.circuit;
    int entangler, final_rotation;
    const char* rotations;
    if (!PyArg_ParseTuple(args, "(iiisipiiy*)y*w*w*ii", &c.qubits, &c.layers, &c.circuits, &rotations,
                          &entangler, &final_rotation, &c.period, &c.pairs, &call.pairs.view, &call.theta.view,
                          &call.state.view, &call.other.view, &call.threads, &c.first) ||
        !call.read(entangler, final_rotation, rotations))
        return nullptr;
    return run_without_lock(call, false);
}

PyObject* backward(PyObject*, PyObject* args) {
    Call call;
    Circuit& c = call.circuit;
    int entangler, final_rotation;
    const char* rotations;
    if (!PyArg_ParseTuple(args, "(iiisipiiy*)y*y*y*w*ii", &c.qubits, &c.layers, &c.circuits,
                          &rotations, &entangler, &final_rotation, &c.period, &c.pairs, &call.pairs.view,
                          &call.theta.view, &call.state.view, &call.other.view, &call.gradient.view,
                          &call.threads, &c.first) ||
        !call.read(entangler, final_rotation, rotations) ||
        !call.gradient.is("gradient", size_t(c.circuits) * c.angles(), sizeof(float)))
        return nullptr;
    return run_without_lock(call, true);
}

PyObject* use(PyObject*, PyObject* args) {
    const char* name;
    if (!PyArg_ParseTuple(args, "s", &name)) return nullptr;
    const Level found = std::strcmp(name, "best") == 0 ? best_level() : level_named(name);
    if (found.name == nullptr) return PyErr_Format(PyExc_ValueError, "this processor does not run '%s'", name);
    level = found;
    return PyUnicode_FromString(level.name);
}

PyMethodDef METHODS[] = {
    {"forward", forward, METH_VARARGS, "forward(shape, theta, state, p, threads, first)"},
    {"backward", backward, METH_VARARGS, "backward(shape, theta, state, v, gradient, threads, first)"},
    {"lanes", lanes, METH_NOARGS, "lanes(): samples of a batch in one vector"},
    {"samples_forward", samples_forward, METH_VARARGS, "samples_forward(shape, theta, x, e)"},
    {"samples_backward", samples_backward, METH_VARARGS, "samples_backward(shape, theta, x, v, by_theta, by_x)"},
    {"front_forward", front_forward, METH_VARARGS, "front_forward(stages, count, weights, images, out, state)"},
    {"front_backward", front_backward, METH_VARARGS, "front_backward(stages, count, weights, state, v, gradient)"},
    {"use", use, METH_VARARGS, "use(name): the instruction set from now on, or 'best'; returns its name"},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_kernels", "Compiled sweeps of circuits.", -1, METHODS,
                      nullptr, nullptr, nullptr, nullptr};

}  // namespace

const BatchKernel& batch_kernel() { return *level.batch; }

}  // namespace qtrain

PyMODINIT_FUNC PyInit__kernels() { return PyModule_Create(&qtrain::MODULE); }
