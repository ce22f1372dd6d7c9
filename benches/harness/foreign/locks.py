"""multiprocessing.Value: with its lock, add one."""
import time

from sides import Switches, context, ensure, run, settle

value = context.Value("Q", 0)


def bump(times):
    for _ in range(times):
        with value.get_lock():
            value.value += 1


def alone(ms, core, *_):
    """Nanoseconds on the core for each."""

    def side():
        before, times, start = value.value, 0, time.process_time_ns()
        while time.process_time_ns() - start < ms * 1_000_000:
            bump(256)
            times += 256
        took = time.process_time_ns() - start
        ensure(value.value - before == times, "the count")
        return took / times

    return run([core], side)


def contended(ms, *cores):
    """Operations of both sides, seconds, sleeps, preemptions."""
    before = value.value
    barrier = context.Barrier(2)

    def side():
        bump(64)
        barrier.wait()
        switches, times, start = Switches(), 64, time.monotonic_ns()
        while time.monotonic_ns() - start < ms * 1_000_000:
            bump(64)
            times += 64
        return start, time.monotonic_ns(), times, *switches.since()

    sides = run(cores, side, side)
    starts, ends, times, sleeps, suffered = zip(*sides)
    ensure(value.value - before == sum(times), "the count")
    return *times, (max(ends) - min(starts)) / 1e9, sum(sleeps), sum(suffered)
