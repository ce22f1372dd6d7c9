// interprocess_mutex around a counter in shared memory: lock, add one, unlock.
#pragma once
#include "sides.hpp"
#include <algorithm>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>
#include <sstream>

struct alignas(256) Counter {
    boost::interprocess::interprocess_mutex mutex;
    uint64_t count = 0;
    void bump() {
        boost::interprocess::scoped_lock<boost::interprocess::interprocess_mutex> lock(mutex);
        count = count + 1;
    }
};

/// Between two looks at the clock.
constexpr uint64_t ROUND = 256;

/// Nanoseconds on the core for each. Each call takes another place in a page: one may collide with the stack.
inline std::string lock_alone(uint64_t time, int core) {
    static Shared<std::array<Counter, 16>> counters;
    static size_t turn = 0;
    Counter &counter = (*counters.at)[turn++ % 16];
    pin(core);
    for (uint64_t each = 0; each < ROUND; each++) counter.bump();
    uint64_t before = counter.count, operations = 0, start = clock_of(CLOCK_PROCESS_CPUTIME_ID), took = 0;
    for (; took < time; took = clock_of(CLOCK_PROCESS_CPUTIME_ID) - start)
        for (uint64_t each = 0; each < 16 * ROUND; each++, operations++) counter.bump();
    ensure(counter.count - before == operations, "the count");
    return std::to_string(double(took) / operations);
}

/// Operations of both sides, seconds, sleeps, preemptions.
inline std::string locks(uint64_t time, const int *cores) {
    struct Ring {
        Meeting meeting;
        alignas(256) std::atomic<bool> over{false};
        Counter counter;
    };
    Shared<Ring> ring;
    auto side = [&](Tally &tally) {
        auto round = [&] {
            for (uint64_t each = 0; each < ROUND; each++) ring->counter.bump();
            tally.items += ROUND;
        };
        round();
        ring->meeting.meet(2);
        Switches before;
        tally.start = now();
        while (!ring->over) {
            round();
            if (now() - tally.start > time) ring->over = true;
        }
        tally.end = now();
        before.into(tally);
    };
    auto sides = run({{cores[0], side}, {cores[1], side}});
    Tally &a = sides[0], &b = sides[1];
    ensure(ring->counter.count == a.items + b.items, "the count");
    std::ostringstream out;
    out << a.items << ' ' << b.items << ' ' << (std::max(a.end, b.end) - std::min(a.start, b.start)) / 1e9 << ' '
        << a.sleeps + b.sleeps << ' ' << a.preempted + b.preempted;
    return out.str();
}
