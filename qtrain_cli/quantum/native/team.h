// Threads for one call, and the barrier between passes.
#pragma once

#include <atomic>
#include <functional>

#include "circuit.h"

namespace qtrain {

struct Team {
    int size = 1;
    std::atomic<int> arrived{0}, turn{0};
};

// Starts up to `threads` threads, this one among them; tells `opened` how many there are before any of them runs.
int start_and_join(int threads, const std::function<void(int)>& opened, const std::function<void(int)>& run);

}  // namespace qtrain
