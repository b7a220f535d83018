// A student's batch from Python: checks sizes and tables, and gives up the interpreter's lock. float32 only.
//
//     shape  = (n, L, R, N, before, mask, scale, source, sign, observables)
//     stages = flat int32: before, after, kernel, height, width of each
#include "batches.h"

#include "batch.h"
#include "buffers.h"

namespace qtrain {
namespace {

constexpr int MOST_SIDE = 1 << 14, MOST_COUNT = 1 << 24, MOST_TERMS = 5000;

template <class Task> PyObject* run_without_lock(Task& task, size_t bytes, void (*walk)(const Task&)) {
    bool memory = true;
    Py_BEGIN_ALLOW_THREADS;
    try {
        Block work(bytes);
        task.work = work.at;
        walk(task);
    } catch (const std::bad_alloc&) {
        memory = false;
    }
    Py_END_ALLOW_THREADS;
    if (!memory) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

bool refuse(const char* why) {
    PyErr_SetString(PyExc_ValueError, why);
    return false;
}

struct SamplesCall {
    Samples task = {};
    Buffer mask, scale, source, sign, observables, theta, x, e, by_theta, by_x;

    // Fills the task; false, and an exception of Python, where anything does not fit.
    bool read(int before) {
        Samples& t = task;
        t.before = before != 0;
        if (t.qubits < 1 || t.qubits > MOST_SAMPLE_QUBITS || t.layers < 1 || t.layers > 1000 || t.reps < 1 || t.reps > 100 ||
            t.count < 0 || t.count > MOST_COUNT)
            return refuse("no such circuit");
        t.terms = int(mask.view.len / 4);
        t.outputs = int(observables.view.len / 4 / Py_ssize_t(t.outcomes()));
        if (t.terms < 1 || t.terms > MOST_TERMS || t.outputs < 1 || t.outputs > 1024) return refuse("no such tables");
        const size_t d = t.outcomes(), n = size_t(t.qubits), count = size_t(t.count), k = size_t(t.outputs);
        if (!mask.is("mask", t.terms, 4) || !scale.is("scale", t.terms, 4) || !source.is("source", t.layers * d, 4) ||
            !sign.is("sign", t.layers * d, 4) || !observables.is("observables", k * d, 4) ||
            !theta.is("theta", t.angles(), 4) || !x.is("features", count * n, 4) || !e.is("outputs", count * k, 4))
            return false;
        t.mask = static_cast<const int32_t*>(mask.view.buf);
        t.source = static_cast<const int32_t*>(source.view.buf);
        for (int i = 0; i < t.terms; ++i)
            if (t.mask[i] < 1 || size_t(t.mask[i]) >= d) return refuse("a term on no qubits");
        for (size_t i = 0; i < t.layers * d; ++i)
            if (t.source[i] < 0 || size_t(t.source[i]) >= d) return refuse("an outcome that is none");
        t.scale = static_cast<const float*>(scale.view.buf);
        t.sign = static_cast<const float*>(sign.view.buf);
        t.observables = static_cast<const float*>(observables.view.buf);
        t.theta = static_cast<const float*>(theta.view.buf);
        t.x = static_cast<const float*>(x.view.buf);
        t.e = static_cast<float*>(e.view.buf);
        t.v = t.e;
        return true;
    }
    bool read_gradients() {
        task.by_theta = static_cast<float*>(by_theta.view.buf);
        task.by_x = static_cast<float*>(by_x.view.buf);
        return by_theta.is("by_theta", task.angles(), 4) && by_x.is("by_x", size_t(task.count) * task.qubits, 4);
    }
};

struct FrontCall {
    Convolutions task = {};
    Buffer stages, weights, images, out, state, gradient;

    bool read_stages() {
        const int32_t* row = static_cast<const int32_t*>(stages.view.buf);
        task.stages = int(stages.view.len / 20);
        if (task.stages < 1 || task.stages > MOST_STAGES || stages.view.len % 20 != 0) return refuse("no such stages");
        for (int k = 0; k < task.stages; ++k, row += 5) {
            Stage& s = task.stage[k];
            s = {row[0], row[1], row[2], row[3], row[4], 0, 0};
            for (int i = 0; i < 5; ++i)
                if (row[i] < 1 || row[i] > MOST_SIDE) return refuse("no such stage");
            if ((s.kernel != 3 && s.kernel != 5) || s.height <= s.kernel || s.width <= s.kernel)
                return refuse("no such kernel");
            s.rows = (s.height - s.kernel + 1) / 2;
            s.columns = (s.width - s.kernel + 1) / 2;
            const Stage* const was = k ? &task.stage[k - 1] : nullptr;
            if (was && (s.before != was->after || s.height != was->rows || s.width != was->columns))
                return refuse("a stage that does not follow the one before it");
        }
        return true;
    }
    bool read() {
        if (!read_stages()) return false;
        if (task.count < 0 || task.count > MOST_COUNT) return refuse("no such batch");
        const size_t lanes = size_t(batch_kernel().lanes), blocks = (size_t(task.count) + lanes - 1) / lanes;
        task.weights = static_cast<const float*>(weights.view.buf);
        task.out = static_cast<float*>(out.view.buf);
        task.v = task.out;
        task.state = static_cast<float*>(state.view.buf);
        if (reinterpret_cast<uintptr_t>(task.state) % 64 != 0) return refuse("the state does not begin on a cache line");
        return weights.is("weights", task.numbers(), 4) && out.is("out", size_t(task.count) * task.last().after, 4) &&
               state.is("state", blocks * task.kept() * lanes, 4);
    }
    size_t bytes() const { return task.worked() * size_t(batch_kernel().lanes) * 4; }
};

bool parse(PyObject* args, const char* format, SamplesCall& c, int& before, Buffer* more, Buffer* last) {
    Samples& t = c.task;
    return PyArg_ParseTuple(args, format, &t.qubits, &t.layers, &t.reps, &t.count, &before, &c.mask.view, &c.scale.view,
                            &c.source.view, &c.sign.view, &c.observables.view, &c.theta.view, &c.x.view, &c.e.view,
                            more ? &more->view : nullptr, last ? &last->view : nullptr);
}

}  // namespace

PyObject* lanes(PyObject*, PyObject*) { return PyLong_FromLong(batch_kernel().lanes); }

PyObject* samples_forward(PyObject*, PyObject* args) {
    SamplesCall c;
    int before;
    if (!parse(args, "(iiiipy*y*y*y*y*)y*y*w*", c, before, nullptr, nullptr) || !c.read(before)) return nullptr;
    return run_without_lock(c.task, batch_kernel().sample_bytes(c.task, false), batch_kernel().samples_forward);
}

PyObject* samples_backward(PyObject*, PyObject* args) {
    SamplesCall c;
    int before;
    if (!parse(args, "(iiiipy*y*y*y*y*)y*y*y*w*w*", c, before, &c.by_theta, &c.by_x) || !c.read(before) ||
        !c.read_gradients())
        return nullptr;
    return run_without_lock(c.task, batch_kernel().sample_bytes(c.task, true), batch_kernel().samples_backward);
}

PyObject* front_forward(PyObject*, PyObject* args) {
    FrontCall c;
    if (!PyArg_ParseTuple(args, "y*iy*y*w*w*", &c.stages.view, &c.task.count, &c.weights.view, &c.images.view,
                          &c.out.view, &c.state.view) ||
        !c.read() || !c.images.is("images", size_t(c.task.count) * c.task.stage[0].inputs(), 4))
        return nullptr;
    c.task.images = static_cast<const float*>(c.images.view.buf);
    return run_without_lock(c.task, c.bytes(), batch_kernel().front_forward);
}

PyObject* front_backward(PyObject*, PyObject* args) {
    FrontCall c;
    if (!PyArg_ParseTuple(args, "y*iy*y*y*w*", &c.stages.view, &c.task.count, &c.weights.view, &c.state.view,
                          &c.out.view, &c.gradient.view) ||
        !c.read() || !c.gradient.is("gradient", c.task.numbers(), 4))
        return nullptr;
    c.task.gradient = static_cast<float*>(c.gradient.view.buf);
    return run_without_lock(c.task, c.bytes(), batch_kernel().front_backward);
}

}  // namespace qtrain
