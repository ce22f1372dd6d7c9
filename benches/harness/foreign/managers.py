"""A dict of a Manager: its process on one core, who asks on another one or on the same."""
import multiprocessing.managers
import os
import statistics
import time

from sides import context, ensure, run, settle

made = {}


def manager(ms, server, client):
    """Microseconds for each get, and for each set."""
    if server not in made:
        # Its own choice of a name is a file, which would remain if all were killed.
        name = f"\0crossproc-bench.{os.getpid()}.{server}"
        made[server] = multiprocessing.managers.SyncManager(address=name, ctx=context)
        made[server].start(initializer=settle, initargs=(server,))
    shared = made[server].dict()

    def ask():
        gets, sets, start = [], [], time.monotonic_ns()
        while time.monotonic_ns() - start < ms * 1_000_000:
            item, before = len(sets), time.monotonic_ns()
            shared["key"] = item
            middle = time.monotonic_ns()
            got = shared["key"]
            gets.append(time.monotonic_ns() - middle)
            sets.append(middle - before)
            ensure(got == item, "another value came back")
        return statistics.median(gets) / 1000, statistics.median(sets) / 1000

    return run([client], ask)[0]
