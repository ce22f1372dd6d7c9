"""Items through queues and pipes, as fast as they go, and there and back."""
import math
import statistics
import time

from sides import Switches, context, ensure, run

CAPACITY = 1024
BATCH = 256
END = (1 << 64) - 2


def one_by_one(queue):
    """An item is a Python int."""

    def put(first, count):
        for item in range(first, first + count):
            queue.put(item)

    return put, lambda: [queue.get()]


def python_queue():
    return one_by_one(context.Queue(CAPACITY))


def simple_queue():
    return one_by_one(context.SimpleQueue())


def faster_fifo(many):
    """As large as in its README."""
    import faster_fifo as module

    queue = module.Queue(1000 * 1000)
    if not many:
        return one_by_one(queue)

    def put(first, count):
        for item in range(first, first + count, BATCH):
            queue.put_many(list(range(item, min(item + BATCH, first + count))))

    return put, lambda: queue.get_many(max_messages_to_get=BATCH)


QUEUES = {
    "Queue": python_queue,
    "SimpleQueue": simple_queue,
    "faster_fifo": lambda: faster_fifo(False),
    "get_many": lambda: faster_fifo(True),
}


def messages(name, ms, *cores):
    return traffic(*QUEUES[name](), BATCH, ms, cores)


def whole_bytes(length, ms, *cores):
    """The item's number stands in the first and in the last word of a message that was there before."""
    reader, writer = context.Pipe(duplex=False)
    message = bytearray(length)

    def put(first, count):
        for item in range(first, first + count):
            message[:8] = message[-8:] = item.to_bytes(8, "little")
            writer.send_bytes(message)

    def get():
        got = reader.recv_bytes()
        ensure(len(got) == length and got[:8] == got[-8:], "a message is torn")
        return [int.from_bytes(got[:8], "little")]

    return traffic(put, get, max(1, min(BATCH, (4 << 20) // length)), ms, cores)


def traffic(put, get, in_round, ms, cores):
    """Items, seconds, sleeps, preemptions."""
    warmed_up, warm = context.Pipe(duplex=False)

    def produce():
        put(0, in_round)
        warmed_up.recv()
        items, before, start = in_round, Switches(), time.monotonic_ns()
        while time.monotonic_ns() - start < ms * 1_000_000:
            put(items, in_round)
            items += in_round
        switches = before.since()
        put(END, 1)
        return start, items, *switches

    def consume():
        before, items = None, 0
        while True:
            got = get()
            if got[0] == items and got[-1] == items + len(got) - 1:
                ensure(len(got) < 3 or got == list(range(items, items + len(got))), "items are out of order")
                items += len(got)
            else:
                ensure(got.pop() == END and got == list(range(items, items + len(got))), "lost, doubled or disordered")
                return time.monotonic_ns(), items + len(got), *before.since()
            if before is None and items == in_round:
                before = Switches()
                warm.send(None)

    (start, put_items, *there), (end, got_items, *here) = run(cores, produce, consume)
    ensure(put_items == got_items, f"{put_items} were put, {got_items} arrived")
    return put_items - in_round, (end - start) / 1e9, there[0] + here[0], there[1] + here[1]


def pong(ms, *cores):
    """Round trips of eight bytes in nanoseconds: the median, what 99 % and 99.9 % do not exceed; sleeps of both sides, trips."""
    near, far = context.Pipe()
    warm_up = 100

    def serve():
        def trip(number):
            item = number.to_bytes(8, "little")
            start = time.monotonic_ns()
            near.send_bytes(item)
            back = near.recv_bytes()
            took = time.monotonic_ns() - start
            ensure(back == item, "another item came back")
            return took

        for number in range(warm_up):
            trip(number)
        trips, before, start = [], Switches(), time.monotonic_ns()
        while time.monotonic_ns() - start < ms * 1_000_000:
            trips.append(trip(warm_up + len(trips)))
        slept = before.since()[0]
        near.send_bytes(b"")
        trips.sort()
        tails = [trips[math.ceil(len(trips) * share) - 1] for share in (0.99, 0.999)]
        return statistics.median(trips), *tails, slept, len(trips)

    def answer():
        before, expected = Switches(), 0
        while item := far.recv_bytes():
            ensure(int.from_bytes(item, "little") == expected, "lost, doubled or disordered")
            expected += 1
            if expected == warm_up:
                before = Switches()
            far.send_bytes(item)
        return before.since()[0]

    (median, p99, p999, slept, trips), other = run(cores, serve, answer)
    return median, p99, p999, slept + other, trips
