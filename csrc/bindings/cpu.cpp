// The extension module _cpu: the one question that must be asked before a core is chosen.
#include <Python.h>

#include "cpu_level.hpp"

namespace {

PyObject* level(PyObject*, PyObject*) { return PyUnicode_FromString(convexrelu::cpu_level()); }

PyMethodDef methods[] = {
    {"level", level, METH_NOARGS,
     "level() -> str\n\nThe best instruction-set level of this CPU: 'baseline', 'v3' or 'v4'."},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_cpu", nullptr, 0, methods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__cpu() { return PyModuleDef_Init(&definition); }
