// The Python module: checks sizes, sets the processor's arithmetic to what IEEE 754 says, gives up the lock.
//
//     sine_cosine(x, sine, cosine)      float64 of one size
//     tangent(x, out)
//     product(left, right, rows, terms, columns, out)
//     walk(shape, pairs, sine, cosine, tables, amplitudes)
//     use(name)                         the instruction set: base, v3 or best; for tests
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cfenv>
#include <cstring>

#include "steps.h"

namespace qtrain_portable {
namespace {

// A buffer of Python, given back at the end of the call.
struct Buffer {
    Py_buffer view = {};
    ~Buffer() {
        if (view.obj != nullptr) PyBuffer_Release(&view);
    }
    bool holds(size_t bytes) const {
        if (size_t(view.len) == bytes) return true;
        PyErr_Format(PyExc_ValueError, "a buffer has %zd bytes; needed: %zu", view.len, bytes);
        return false;
    }
    template <class Item> Item* as() const { return view.len ? static_cast<Item*>(view.buf) : nullptr; }
};

// Another library may have asked for other roundings, or for zeros in the place of subnormal numbers.
struct PlainArithmetic {
    std::fenv_t before;
    PlainArithmetic() {
        std::fegetenv(&before);
        std::fesetenv(FE_DFL_ENV);
    }
    ~PlainArithmetic() { std::fesetenv(&before); }
};

struct Named {
    const char* name;
    const Steps* steps;
};

Named named(const char* name) {
    const bool best = std::strcmp(name, "best") == 0;
#if QTRAIN_MORE_STEPS
    if (__builtin_cpu_supports("avx2") && (best || std::strcmp(name, "v3") == 0)) return {"v3", &steps_v3};
#endif
    return best || std::strcmp(name, "base") == 0 ? Named{"base", &steps_base} : Named{nullptr, nullptr};
}

Named chosen = named("best");

template <class Work> PyObject* without_lock(Work work) {
    Py_BEGIN_ALLOW_THREADS;
    {
        const PlainArithmetic plain;
        work();
    }
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

PyObject* sine_cosine(PyObject*, PyObject* args) {
    Buffer x, sine, cosine;
    if (!PyArg_ParseTuple(args, "y*w*w*", &x.view, &sine.view, &cosine.view) || !sine.holds(size_t(x.view.len)) ||
        !cosine.holds(size_t(x.view.len)))
        return nullptr;
    return without_lock([&] {
        chosen.steps->sine_cosine(x.as<double>(), size_t(x.view.len) / 8, sine.as<double>(), cosine.as<double>());
    });
}

PyObject* tangent(PyObject*, PyObject* args) {
    Buffer x, out;
    if (!PyArg_ParseTuple(args, "y*w*", &x.view, &out.view) || !out.holds(size_t(x.view.len))) return nullptr;
    return without_lock([&] { chosen.steps->tangent(x.as<double>(), size_t(x.view.len) / 8, out.as<double>()); });
}

PyObject* product(PyObject*, PyObject* args) {
    Buffer left, right, out;
    Py_ssize_t rows, terms, columns;
    if (!PyArg_ParseTuple(args, "y*y*nnnw*", &left.view, &right.view, &rows, &terms, &columns, &out.view)) return nullptr;
    constexpr Py_ssize_t MOST = Py_ssize_t(1) << 30;
    if (rows < 0 || terms < 1 || columns < 0 || rows > MOST || terms > MOST || columns > MOST) {
        PyErr_SetString(PyExc_ValueError, "no such product");
        return nullptr;
    }
    if (!left.holds(8 * size_t(rows) * size_t(terms)) || !right.holds(8 * size_t(terms) * size_t(columns)) ||
        !out.holds(8 * size_t(rows) * size_t(columns)))
        return nullptr;
    return without_lock([&] {
        chosen.steps->product(left.as<double>(), right.as<double>(), size_t(rows), size_t(terms), size_t(columns),
                              out.as<double>());
    });
}

struct WalkCall {
    Walk walk = {};
    Buffer pairs, sine, cosine, source_high, source_low, sign_high, sign_low, sign_mask, parity;
    Buffer re, im, spare_re, spare_im;

    bool read() {
        Walk& w = walk;
        w.turns = int(std::strlen(w.kinds));
        w.stride = w.turns + (w.coupled ? 3 : 0);
        const bool fits = w.qubits >= 1 && w.qubits <= MOST_QUBITS && w.layers >= 1 && w.layers <= 50000000 &&
                          w.period >= 1 && w.period <= MOST_QUBITS && w.low_bits >= 0 && w.low_bits <= w.qubits &&
                          w.turns >= 1 && w.stride <= MOST_KINDS && std::strspn(w.kinds, "YZ") == size_t(w.turns);
        if (!fits || (!im.view.len && (w.coupled || std::strchr(w.kinds, 'Z')))) {
            PyErr_SetString(PyExc_ValueError, "no such circuit");
            return false;
        }
        return sizes() && tables();
    }
    bool sizes() {
        Walk& w = walk;
        const size_t angles = size_t(w.layers) * size_t(w.qubits) * size_t(w.stride), state = size_t(8) << w.qubits;
        const bool swapped = source_high.view.len != 0;
        w.sine = sine.as<double>(), w.cosine = cosine.as<double>();
        w.re = re.as<double>(), w.im = im.as<double>();
        w.spare_re = spare_re.as<double>(), w.spare_im = spare_im.as<double>();
        return sine.holds(8 * angles) && cosine.holds(8 * angles) && re.holds(state) &&
               (!w.im || im.holds(state)) && spare_re.holds(swapped ? state : 0) &&
               spare_im.holds(swapped && w.im ? state : 0);
    }
    // What tables point at lies within the state.
    bool tables() {
        Walk& w = walk;
        const size_t high = size_t(w.period) << (w.qubits - w.low_bits), low = size_t(w.period) << w.low_bits;
        w.pairs = pairs.as<int32_t>();
        w.source_high = source_high.as<int32_t>(), w.source_low = source_low.as<int32_t>();
        w.sign_high = sign_high.as<uint8_t>(), w.sign_low = sign_low.as<uint8_t>();
        w.sign_mask = sign_mask.as<int32_t>(), w.parity = parity.as<uint8_t>();
        if (w.coupled) return pairs.holds(8 * size_t(w.qubits)) && within(w.pairs, 2 * size_t(w.qubits), w.qubits);
        if (w.source_high)
            return source_high.holds(4 * high) && source_low.holds(4 * low) &&
                   within(w.source_high, high, 1 << w.qubits) && within(w.source_low, low, 1 << w.qubits);
        return sign_high.holds(high) && sign_low.holds(low) && sign_mask.holds(4 * high) &&
               parity.holds(size_t(1) << w.low_bits) && within(w.sign_mask, high, 1 << w.low_bits);
    }
    static bool within(const int32_t* number, size_t count, int32_t below) {
        for (size_t i = 0; i < count; ++i)
            if (number[i] < 0 || number[i] >= below) {
                PyErr_SetString(PyExc_ValueError, "a table points outside");
                return false;
            }
        return true;
    }
};

PyObject* walk(PyObject*, PyObject* args) {
    WalkCall c;
    Walk& w = c.walk;
    if (!PyArg_ParseTuple(args, "(iiiispp)y*y*y*(y*y*y*y*y*y*)(w*w*w*w*)", &w.qubits, &w.layers, &w.period, &w.low_bits,
                          &w.kinds, &w.coupled, &w.final_rotation, &c.pairs.view, &c.sine.view, &c.cosine.view,
                          &c.source_high.view, &c.source_low.view, &c.sign_high.view, &c.sign_low.view,
                          &c.sign_mask.view, &c.parity.view, &c.re.view, &c.im.view, &c.spare_re.view,
                          &c.spare_im.view) ||
        !c.read())
        return nullptr;
    bool elsewhere = false;
    PyObject* const none = without_lock([&] { elsewhere = chosen.steps->walk(w); });
    Py_XDECREF(none);
    return PyBool_FromLong(elsewhere);
}

PyObject* use(PyObject*, PyObject* args) {
    const char* name;
    if (!PyArg_ParseTuple(args, "s", &name)) return nullptr;
    const Named found = named(name);
    if (found.name == nullptr) return PyErr_Format(PyExc_ValueError, "this processor does not run '%s'", name);
    chosen = found;
    return PyUnicode_FromString(chosen.name);
}

PyMethodDef METHODS[] = {{"sine_cosine", sine_cosine, METH_VARARGS, "sine_cosine(x, sine, cosine)"},
                         {"tangent", tangent, METH_VARARGS, "tangent(x, out)"},
                         {"product", product, METH_VARARGS, "product(left, right, rows, terms, columns, out)"},
                         {"walk", walk, METH_VARARGS, "walk(shape, pairs, sine, cosine, tables, amplitudes)"},
                         {"use", use, METH_VARARGS, "use(name): the instruction set from now on; returns its name"},
                         {nullptr, nullptr, 0, nullptr}};

PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_steps", "Arithmetic of the same bits everywhere.", -1, METHODS,
                      nullptr, nullptr, nullptr, nullptr};

}  // namespace
}  // namespace qtrain_portable

PyMODINIT_FUNC PyInit__steps() { return PyModule_Create(&qtrain_portable::MODULE); }
