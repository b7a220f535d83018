// The entries of the Python module for a student's batch.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

namespace qtrain {

PyObject* lanes(PyObject*, PyObject*);
PyObject* samples_forward(PyObject*, PyObject* args);
PyObject* samples_backward(PyObject*, PyObject* args);
PyObject* front_forward(PyObject*, PyObject* args);
PyObject* front_backward(PyObject*, PyObject* args);

}  // namespace qtrain
