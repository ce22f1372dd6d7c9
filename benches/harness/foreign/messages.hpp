// Items of some length through Boost's message_queue, as fast as they go.
#pragma once
#include "sides.hpp"
#include <algorithm>
#include <boost/interprocess/ipc/message_queue.hpp>
#include <sstream>

namespace ipc = boost::interprocess;

constexpr uint64_t END = UINT64_MAX - 1;
constexpr int NUMBER_BITS = 56;

struct Board {
    Meeting meeting;
    alignas(128) std::atomic<bool> over{false};
    alignas(128) std::atomic<uint32_t> through{0};
    alignas(128) std::atomic<uint64_t> paused{0};
};

/// One end of a queue, and the message that it copies from, or to: its number stands in the first and in the last word.
struct End {
    ipc::message_queue &queue;
    std::vector<uint64_t> message;
    End(ipc::message_queue &queue, size_t length) : queue(queue), message(length / 8, 7) {}
    size_t length() const { return message.size() * 8; }
    void put(uint64_t number) {
        message.front() = message.back() = number;
        queue.send(message.data(), length(), 0);
    }
    uint64_t get() {
        size_t got = 0;
        unsigned priority = 0;
        queue.receive(message.data(), length(), got, priority);
        ensure(got == length() && message.front() == message.back(), "a message is torn");
        return message.front();
    }
};

/// Items between two looks at the clock, and before the first.
inline uint64_t round_of(const End &end) { return std::clamp<uint64_t>((4 << 20) / end.length(), 1, 256); }
inline uint64_t warm_up_of(const End &end) { return 4 * round_of(end); }

/// Over all sides the sums tell a loss or a doubling.
inline void add(Tally &tally, uint64_t item) {
    tally.items++;
    tally.sums[0] += item;
    tally.sums[1] += item * item;
}

inline void produce(Board &board, End end, uint32_t pairs, uint64_t which, uint64_t time, Tally &tally) {
    uint64_t next = which << NUMBER_BITS;
    auto put = [&](uint64_t items) {
        for (; items > 0; items--, next++) {
            end.put(next);
            add(tally, next);
        }
    };
    put(warm_up_of(end));
    board.meeting.meet(2 * pairs);
    Switches before;
    tally.start = now();
    while (!board.over) {
        put(round_of(end));
        if (now() - tally.start > time) board.over = true;
    }
    before.into(tally);
    if (++board.through == pairs) // only the last one knows that nothing more comes
        for (uint32_t each = 0; each < pairs; each++) end.put(END);
    tally.figure = tally.items - warm_up_of(end);
}

inline void consume(Board &board, End end, uint32_t pairs, Tally &tally) {
    uint64_t next[2] = {0, 0};
    auto take = [&](uint64_t item) {
        uint64_t &expected = next[item >> NUMBER_BITS & 1];
        uint64_t number = item & ((uint64_t(1) << NUMBER_BITS) - 1);
        ensure(pairs == 1 ? item == expected : number >= expected, "an item was lost, doubled or out of order");
        expected = number + 1;
        add(tally, item);
    };
    for (uint64_t left = warm_up_of(end); left > 0; left--) take(end.get());
    board.meeting.meet(2 * pairs);
    Switches before;
    for (uint64_t item; (item = end.get()) != END;) take(item);
    tally.end = now();
    before.into(tally);
}

/// Items, seconds, sleeps, preemptions. Where there are two pairs, one of each kind is on each core.
inline std::string messages(uint32_t pairs, size_t length, size_t places, uint64_t time, const int *cores) {
    ipc::message_queue queue(ipc::create_only, "items", places, length);
    Shared<Board> board;
    std::vector<Side> sides;
    for (uint32_t which = 0; which < pairs; which++)
        sides.push_back({cores[which], [&, which](Tally &tally) {
            produce(*board.at, End(queue, length), pairs, which, time, tally);
        }});
    for (uint32_t which = 0; which < pairs; which++)
        sides.push_back({cores[1 - which], [&](Tally &tally) {
            consume(*board.at, End(queue, length), pairs, tally);
        }});
    uint64_t start = UINT64_MAX, end = 0, sleeps = 0, preempted = 0, sums[3] = {};
    double items = 0;
    for (Tally &tally : run(sides)) {
        bool producer = tally.start > 0;
        if (producer) start = std::min(start, tally.start);
        end = std::max(end, tally.end);
        sleeps += tally.sleeps, preempted += tally.preempted, items += tally.figure;
        uint64_t sign = producer ? 1 : -1;
        sums[0] += sign * tally.items, sums[1] += sign * tally.sums[0], sums[2] += sign * tally.sums[1];
    }
    ensure(!sums[0] && !sums[1] && !sums[2], "what arrived is not what was put");
    std::ostringstream out;
    out << uint64_t(items) << ' ' << (end - start) / 1e9 << ' ' << sleeps << ' ' << preempted;
    return out.str();
}
