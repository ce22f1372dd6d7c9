// Processes that measure: forked, pinned to a core, and memory that they share.
#pragma once
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <new>
#include <sched.h>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <vector>

using std::uint64_t;

/// A result that no peer may have.
struct Wrong : std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline void ensure(bool fine, const char *what) {
    if (!fine) throw Wrong(what);
}

inline uint64_t clock_of(clockid_t which) {
    timespec time;
    clock_gettime(which, &time);
    return time.tv_sec * uint64_t(1000000000) + time.tv_nsec;
}

inline uint64_t now() { return clock_of(CLOCK_MONOTONIC); }

/// Anonymous memory, shared with what is forked later; nothing remains of it.
template <typename T> struct Shared {
    T *at;
    Shared() {
        void *place = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        ensure(place != MAP_FAILED, "mmap");
        at = new (place) T();
    }
    Shared(const Shared &) = delete;
    ~Shared() { munmap(at, sizeof(T)); }
    T *operator->() const { return at; }
};

/// What a side did.
struct Tally {
    uint64_t start, end, items, sleeps, preempted, sums[2];
    double figure;
    std::array<uint64_t, 2> tails;
    char wrong[96];
};

/// Context switches of one side: those that it asked for, those that it suffered.
struct Switches {
    uint64_t sleeps, preempted;
    Switches() {
        rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        sleeps = usage.ru_nvcsw;
        preempted = usage.ru_nivcsw;
    }
    void into(Tally &tally) const {
        Switches after;
        tally.sleeps = after.sleeps - sleeps;
        tally.preempted = after.preempted - preempted;
    }
};

/// A point that so many processes pass together; whoever waits lets others have the core.
struct Meeting {
    std::atomic<uint32_t> came{0};
    void meet(uint32_t n) {
        uint32_t turn = came.fetch_add(1) / n + 1;
        while (came.load() < turn * n) sched_yield();
    }
};

inline void pin(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    ensure(sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");
}

struct Side {
    int core;
    std::function<void(Tally &)> job;
};

/// Each in a forked child, pinned. One that fails takes the others with it, for they would wait for it.
inline std::vector<Tally> run(const std::vector<Side> &sides) {
    constexpr size_t MOST = 4;
    Shared<std::array<Tally, MOST>> tallies;
    std::array<Tally, MOST> &all = *tallies.at;
    std::vector<pid_t> children;
    for (size_t which = 0; which < sides.size() && which < MOST; which++) {
        pid_t parent = getpid(), child = fork();
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent) _exit(1);
            try {
                pin(sides[which].core);
                sides[which].job(all[which]);
            } catch (const std::exception &error) {
                snprintf(all[which].wrong, sizeof all[which].wrong, "%s", error.what());
                _exit(1);
            }
            _exit(0);
        }
        children.push_back(child);
    }
    bool failed = false;
    for (size_t ended = 0; ended < children.size(); ended++) {
        int status = 1;
        if (waitpid(-1, &status, 0) > 0 && status == 0) continue;
        if (!failed)
            for (pid_t child : children)
                if (child > 0) kill(child, SIGKILL); // one that was waited for: nobody has its number so soon
        failed = true;
    }
    for (size_t which = 0; which < children.size(); which++)
        if (all[which].wrong[0]) throw Wrong(all[which].wrong);
    ensure(!failed, "a side ended badly");
    return {all.begin(), all.begin() + children.size()};
}
