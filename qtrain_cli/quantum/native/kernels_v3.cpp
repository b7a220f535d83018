// The kernel with vectors of 32 bytes, for x86-64-v3 processors; empty elsewhere.
#include <cmath>
#include <cstdint>
#include <initializer_list>

#include "kernels.h"

#if QTRAIN_MORE_KERNELS
// After the standard library: what it has inline must run on every processor.
#pragma GCC target("avx2,fma,bmi,bmi2,lzcnt,popcnt")
#define VECTOR_BYTES 32
#include "kernels.inc"

const qtrain::Kernel qtrain::kernel_v3 = KERNEL;
const qtrain::BatchKernel qtrain::batch_kernel_v3 = BATCH_KERNEL;
#endif
