// What a call of Python brings: memory to work in, and its arrays.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(_WIN32)
#include <malloc.h>
#endif

namespace qtrain {

// Windows has its own pair for memory that begins at a multiple of `unit`.
#if defined(_WIN32)
inline void* aligned(size_t unit, size_t size) { return _aligned_malloc(size, unit); }
inline void release(void* at) { _aligned_free(at); }
#else
inline void* aligned(size_t unit, size_t size) { return std::aligned_alloc(unit, size); }
inline void release(void* at) { std::free(at); }
#endif

// Memory to work in. The last block of a moderate size is kept for the next call: the system's zeroing of fresh
// pages costs as much as two layers.
struct Block {
    static constexpr size_t MOST_KEPT = size_t(1) << 28, HUGE_PAGE = size_t(1) << 21;
    char* at = nullptr;
    size_t size = 0;

    Block() = default;
    Block(Block&& other) noexcept : at(other.at), size(other.size) { other.at = nullptr; }
    explicit Block(size_t bytes) {
        const size_t unit = bytes >= HUGE_PAGE ? HUGE_PAGE : 4096;
        {
            const std::lock_guard<std::mutex> guard(lock());
            std::swap(at, kept().at);
            std::swap(size, kept().size);
        }
        if (at != nullptr && size >= bytes) return;
        release(at);
        size = (bytes + unit - 1) / unit * unit;
        at = static_cast<char*>(aligned(unit, size));
        if (at == nullptr) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
        if (unit == HUGE_PAGE) madvise(at, size, MADV_HUGEPAGE);
#endif
    }
    ~Block() {
        if (at != nullptr && size <= MOST_KEPT) {
            const std::lock_guard<std::mutex> guard(lock());
            std::swap(at, kept().at);
            std::swap(size, kept().size);
        }
        release(at);
    }
    static Block& kept() {
        static Block& block = *new Block;  // never destroyed: threads may still run while the process ends
        return block;
    }
    static std::mutex& lock() {
        static std::mutex& mutex = *new std::mutex;
        return mutex;
    }
};

// A buffer of Python, given back at the end of the call.
struct Buffer {
    Py_buffer view = {};
    ~Buffer() {
        if (view.obj != nullptr) PyBuffer_Release(&view);
    }
    bool is(const char* name, size_t items, size_t itemsize) const {
        if (size_t(view.len) == items * itemsize) return true;
        PyErr_Format(PyExc_ValueError, "%s has %zd bytes; needed: %zu", name, view.len, items * itemsize);
        return false;
    }
    char* at(size_t bytes) const { return static_cast<char*>(view.buf) + bytes; }
};

}  // namespace qtrain
