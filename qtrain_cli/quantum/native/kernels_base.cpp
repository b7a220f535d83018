// The kernel with vectors of 16 bytes, for any processor.
#include <cmath>
#include <cstdint>
#include <initializer_list>

#include "kernels.h"

#define VECTOR_BYTES 16
#include "kernels.inc"

const qtrain::Kernel qtrain::kernel_base = KERNEL;
const qtrain::BatchKernel qtrain::batch_kernel_base = BATCH_KERNEL;
