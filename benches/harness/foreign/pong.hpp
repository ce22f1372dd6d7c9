// One item to the other side and one back.
#pragma once
#include "messages.hpp"
#include <cmath>

/// For so long, and says how long it was.
inline uint64_t stay_busy(uint64_t nanoseconds) {
    if (nanoseconds == 0) return 0;
    uint64_t start = now();
    while (now() - start < nanoseconds) {}
    return now() - start;
}

/// Round trips in nanoseconds: the median, what 99 % and 99.9 % do not exceed; how often both slept, and how many. Each side is busy for `pause` before it
/// puts an item, which does not count.
inline std::string pong(uint64_t pause, uint64_t time, const int *cores) {
    constexpr uint64_t WARM_UP = 200;
    ipc::message_queue there(ipc::create_only, "there", 1024, 8), back(ipc::create_only, "back", 1024, 8);
    Shared<Board> board;
    auto serve = [&](Tally &tally) {
        End put(there, 8), get(back, 8);
        std::vector<uint64_t> trips;
        uint64_t next = 0;
        auto trip = [&] {
            uint64_t start = now(), outside = stay_busy(pause);
            put.put(next);
            ensure(get.get() == next++, "another item came back");
            uint64_t took = now() - start;
            return took - std::min(took, outside + board->paused);
        };
        board->meeting.meet(2);
        while (next < WARM_UP) trip();
        Switches before;
        for (uint64_t start = now(); now() - start < time;) trips.push_back(trip());
        before.into(tally);
        put.put(END);
        ensure(!trips.empty(), "there was no round trip");
        std::sort(trips.begin(), trips.end());
        auto within = [&](double share) { return trips[size_t(std::ceil(trips.size() * share)) - 1]; };
        tally.figure = trips[trips.size() / 2];
        tally.tails = {within(0.99), within(0.999)};
        tally.items = trips.size();
    };
    auto answer = [&](Tally &tally) {
        End put(back, 8), get(there, 8);
        Switches before;
        board->meeting.meet(2);
        for (uint64_t expected = 0, got; (got = get.get()) != END; expected++) {
            ensure(got == expected, "an item was lost, doubled or out of order");
            board->paused = stay_busy(pause);
            if (got + 1 == WARM_UP) before = Switches();
            put.put(got);
        }
        before.into(tally);
    };
    auto sides = run({{cores[0], serve}, {cores[1], answer}});
    std::ostringstream out;
    out << sides[0].figure << ' ' << sides[0].tails[0] << ' ' << sides[0].tails[1] << ' ' << sides[0].sleeps + sides[1].sleeps << ' ' << sides[0].items;
    return out.str();
}
