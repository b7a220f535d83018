// The steps for any processor.
#include <cmath>
#include <cstring>
#include <initializer_list>

#include "steps.h"

namespace qtrain_portable {
#include "steps.inc"
const Steps steps_base = STEPS;
}  // namespace qtrain_portable
