"""Processes that measure: forked, pinned to a core, each with an answer."""
import ctypes
import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
import threading

context = multiprocessing.get_context("fork")


class Wrong(Exception):
    """A result that no peer may have."""


def ensure(fine, what):
    if not fine:
        raise Wrong(what)


prctl = ctypes.CDLL(None).prctl


def end_with(parent):
    """Also when it is killed."""
    set_signal_of_parents_death = 1
    prctl(set_signal_of_parents_death, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


# Whoever forks them, also the pools.
parents = {}
os.register_at_fork(
    before=lambda: parents.update(next=os.getpid()),
    after_in_child=lambda: end_with(parents["next"]),
)


def settle(core):
    os.sched_setaffinity(0, {core})


class Switches:
    """Context switches of this process: those that it asked for, those that it suffered."""

    def __init__(self):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self.sleeps, self.suffered = usage.ru_nvcsw, usage.ru_nivcsw

    def since(self):
        """Threads of one side take turns on its core, so that nobody else has to be the reason."""
        after = Switches()
        suffered = after.suffered - self.suffered if threading.active_count() == 1 else 0
        return after.sleeps - self.sleeps, suffered


def run(cores, *jobs):
    """What the jobs return, each in a child of its own. One that fails takes the others with it: they would wait."""
    children = []
    for core, job in zip(cores, jobs):
        here, there = context.Pipe(duplex=False)
        child = context.Process(target=_side, args=(core, job, there))
        child.start()
        there.close()
        children.append((child, here))
    try:
        answers = dict(_answers([end for _, end in children]))
    except (EOFError, Wrong) as error:
        for child, _ in children:
            child.kill()
        raise Wrong(str(error) or "a side ended badly") from None
    finally:
        for child, _ in children:
            child.join()
    return [answers[end] for _, end in children]


def _answers(ends):
    while ends:
        for end in multiprocessing.connection.wait(ends):
            answer = end.recv()
            if isinstance(answer, Wrong):
                raise answer
            ends.remove(end)
            yield end, answer


def _side(core, job, there):
    try:
        settle(core)
        there.send(job())
    except Wrong as error:
        there.send(error)
    except Exception as error:
        there.send(Wrong(f"{type(error).__name__}: {error}"))
