// Boost.Interprocess, as its documentation has it: message_queue, and interprocess_mutex.
//
// One request a line, figures in one line back. The last numbers of a request are milliseconds and two cores.
#include "locks.hpp"
#include "messages.hpp"
#include "pong.hpp"
#include <iostream>

/// A message_queue wants a name, which would remain in /dev/shm if this program were killed at the wrong moment.
/// The same kind of memory has none here; it is handed to children by forking.
extern "C" int shm_open(const char *name, int, mode_t) noexcept { return memfd_create(name, MFD_CLOEXEC); }

std::string answer(std::istringstream &&request) {
    std::string job;
    uint64_t length = 0, places = 0, pairs = 0, pause = 0, ms = 0;
    int cores[2] = {};
    request >> job;
    if (job == "messages") request >> pairs >> length >> places;
    if (job == "pong") request >> pause;
    request >> ms >> cores[0] >> cores[1];
    ensure(bool(request), "the request");
    uint64_t time = ms * 1000000;
    if (job == "messages") return messages(pairs, length, places, time, cores);
    if (job == "pong") return pong(pause, time, cores);
    if (job == "lock") return lock_alone(time, cores[0]);
    if (job == "locks") return locks(time, cores);
    return "missing there is no such job";
}

int main() {
    std::cout << "ready" << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
        try {
            std::cout << answer(std::istringstream(line)) << std::endl;
        } catch (const std::exception &error) {
            std::cout << "wrong " << error.what() << std::endl;
        }
    }
}
