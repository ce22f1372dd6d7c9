"""Python's peers: one request a line, figures in one line back, until standard input ends.

A job ends with milliseconds and two cores, where it needs them."""
import importlib
import sys

import channels
import locks
import managers
import pools
import starts
from sides import Wrong


def have(module):
    try:
        importlib.import_module(module)
        return [1]
    except ImportError:
        return ["missing", module, "is not there: benches/harness/foreign/make-venv.sh"]


JOBS = {
    "have": have,
    "messages": channels.messages,
    "bytes": channels.whole_bytes,
    "pong": channels.pong,
    "lock": locks.alone,
    "locks": locks.contended,
    "start": starts.start,
    "pool": pools.pool,
    "other_maps": pools.other_maps,
    "start_of_pool": pools.start_of_pool,
    "manager": managers.manager,
}


def main():
    print("ready", flush=True)
    for line in sys.stdin:
        job, *arguments = line.split()
        try:
            answer = JOBS[job](*(int(argument) if argument.isdigit() else argument for argument in arguments))
        except Wrong as error:
            answer = ["wrong", error]
        print(*answer, flush=True)


if __name__ == "__main__":
    main()
