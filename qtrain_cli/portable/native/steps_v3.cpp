// The steps with vectors of 32 bytes, for processors that have AVX2; empty elsewhere. FMA stays out of it.
#include <cmath>
#include <cstring>
#include <initializer_list>

#include "steps.h"

#if QTRAIN_MORE_STEPS
// After the standard library: what it has inline must run on every processor.
#pragma GCC target("avx2")
namespace qtrain_portable {
#include "steps.inc"
const Steps steps_v3 = STEPS;
}  // namespace qtrain_portable
#endif
