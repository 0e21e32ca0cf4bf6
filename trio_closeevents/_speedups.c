/* Masking (RFC 6455 section 5.3) at the speed of memory. Optional: masking.py does the same in Python.
 *
 * Only the limited API of Python 3.11 is used, so that one build serves all later versions. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define KEY_SIZE 4

static void
xor_with_key(unsigned char *target, const unsigned char *source, Py_ssize_t size, const unsigned char *key)
{
    unsigned char twice[8];
    uint64_t key64, word;
    Py_ssize_t at = 0;

    memcpy(twice, key, KEY_SIZE);
    memcpy(twice + KEY_SIZE, key, KEY_SIZE);
    memcpy(&key64, twice, sizeof key64);
    for (; at + 8 <= size; at += 8) {
        memcpy(&word, source + at, sizeof word);
        word ^= key64;
        memcpy(target + at, &word, sizeof word);
    }
    for (; at < size; at++) {
        target[at] = source[at] ^ key[at % KEY_SIZE];
    }
}

static PyObject *
mask(PyObject *module, PyObject *args)
{
    Py_buffer data, key;
    PyObject *result = NULL;

    (void)module;
    if (!PyArg_ParseTuple(args, "y*y*:mask", &data, &key)) {
        return NULL;
    }
    if (key.len != KEY_SIZE) {
        PyErr_Format(PyExc_ValueError, "a mask key is 4 bytes, not %zd", key.len);
    }
    else {
        result = PyBytes_FromStringAndSize(NULL, data.len);
        if (result != NULL) {
            xor_with_key((unsigned char *)PyBytes_AsString(result), data.buf, data.len, key.buf);
        }
    }
    PyBuffer_Release(&data);
    PyBuffer_Release(&key);
    return result;
}

static PyMethodDef methods[] = {
    {"mask", mask, METH_VARARGS, "Return data XORed with a key of 4 bytes, over and over."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_speedups", "Masking at the speed of memory.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    return PyModuleDef_Init(&definition);
}
