// Threads that walk through one circuit together, for one call: started, kept in step, ended.
#include "team.h"

#include <exception>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace qtrain {

// Passes take microseconds: a short spin is cheaper than a sleep, and a yield lets others use the core.
constexpr int SPINS = 2000;

int size_of(const Team& team) { return team.size; }

void wait(Team& team) {
    if (team.size == 1) return;
    const int turn = team.turn.load(std::memory_order_acquire);
    if (team.arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == team.size) {
        team.arrived.store(0, std::memory_order_relaxed);
        team.turn.store(turn + 1, std::memory_order_release);
        return;
    }
    for (int spins = 0; team.turn.load(std::memory_order_acquire) == turn; ++spins) {
        if (spins > SPINS) std::this_thread::yield();
#if defined(__x86_64__)
        else _mm_pause();
#endif
    }
}

int start_and_join(int threads, const std::function<void(int)>& opened, const std::function<void(int)>& run) {
    std::vector<std::thread> others;
    std::atomic<int> gate{0};
    auto guarded = [&](int rank) {
        while (gate.load(std::memory_order_acquire) == 0) std::this_thread::yield();
        run(rank);
    };
    try {
        others.reserve(size_t(threads > 1 ? threads - 1 : 0));
        for (int rank = 1; rank < threads; ++rank) others.emplace_back(guarded, rank);
    } catch (const std::exception&) {
        // The system gives no more threads (system_error) or no memory for one (bad_alloc): those that there are do
        // all the work, and are joined.
    }
    const int size = int(others.size()) + 1;
    opened(size);
    gate.store(1, std::memory_order_release);
    run(0);
    for (auto& other : others) other.join();
    return size;
}

}  // namespace qtrain
