// The tables of all compiled kernels.
#pragma once

#include "batch.h"
#include "circuit.h"

// GCC compiles one file for another processor than the next; other compilers get the plain kernel alone.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define QTRAIN_MORE_KERNELS 1
#else
#define QTRAIN_MORE_KERNELS 0
#endif

namespace qtrain {

extern const Kernel kernel_base;
extern const BatchKernel batch_kernel_base;
#if QTRAIN_MORE_KERNELS
extern const Kernel kernel_v3, kernel_v4;
extern const BatchKernel batch_kernel_v3, batch_kernel_v4;
#endif

}  // namespace qtrain
