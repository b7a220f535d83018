// The kernel with vectors of 64 bytes, for x86-64-v4 processors; empty elsewhere.
#include <cmath>
#include <cstdint>
#include <initializer_list>

#include "kernels.h"

#if QTRAIN_MORE_KERNELS
// After the standard library: what it has inline must run on every processor.
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,bmi,bmi2,lzcnt,popcnt,prefer-vector-width=512")
#define VECTOR_BYTES 64
#include "kernels.inc"

const qtrain::Kernel qtrain::kernel_v4 = KERNEL;
const qtrain::BatchKernel qtrain::batch_kernel_v4 = BATCH_KERNEL;
#endif
