"""Pools of two workers; a task is `abs`, which every pool can hand over."""
import os
import statistics
import time

from sides import end_with, ensure

WORKERS = 2


def python_pool():
    import multiprocessing

    pool = multiprocessing.Pool(WORKERS)
    return lambda items: pool.map(abs, items, chunksize=1), lambda item: pool.apply(abs, (item,))


def futures(pool):
    """An executor's `map` has a chunk size of one unless told otherwise."""
    return lambda items: list(pool.map(abs, items)), lambda item: pool.submit(abs, item).result()


def executor():
    import concurrent.futures

    return futures(concurrent.futures.ProcessPoolExecutor(WORKERS))


def loky():
    """Its workers are executed anew."""
    import loky as module

    return futures(module.ProcessPoolExecutor(WORKERS, initializer=end_with, initargs=(os.getpid(),)))


def mpire():
    """Its workers start for each `map` unless they are to be kept."""
    import mpire as module

    pool = module.WorkerPool(n_jobs=WORKERS, keep_alive=True)
    return lambda items: pool.map(abs, items, chunk_size=1), lambda item: pool.apply(abs, (item,))


POOLS = {"Pool": python_pool, "ProcessPoolExecutor": executor, "loky": loky, "mpire": mpire}
made = {}
TASKS = 100


def pool(name, ms):
    """Thousands of empty tasks per second in one `map`, and microseconds for one task alone, there and back."""
    if name not in made:
        made[name] = POOLS[name]()
        mapped(made[name][0], TASKS)  # starts the workers
    map_all, apply = made[name]
    rate = mapped(map_all, TASKS)
    rate = mapped(map_all, max(TASKS, int(rate * ms / 1000 / 2)))
    trips, start = [], time.monotonic_ns()
    while time.monotonic_ns() - start < ms * 1_000_000 / 2:
        item, before = len(trips), time.monotonic_ns()
        result = apply(-item)
        trips.append(time.monotonic_ns() - before)
        ensure(result == item, "another result came back")
    return rate / 1000, statistics.median(trips) / 1000


def mapped(map_all, tasks):
    """Tasks per second."""
    items, expected = range(-tasks, 0), list(range(tasks, 0, -1))
    start = time.monotonic()
    results = map_all(items)
    took = time.monotonic() - start
    ensure(results == expected, "the results of a map")
    return tasks / took


def other_maps(ms):
    """Thousands of empty tasks per second: in chunks as large as usual, and taken one after the other, in order or not."""
    import multiprocessing

    if "other" not in made:
        made["other"] = multiprocessing.Pool(WORKERS)
    pool = made["other"]
    maps = (
        lambda items: pool.map(abs, items),
        lambda items: list(pool.imap(abs, items)),
        lambda items: sorted(pool.imap_unordered(abs, items), reverse=True),
    )
    rates = []
    for map_all in maps:
        mapped(map_all, TASKS)
        rate = mapped(map_all, TASKS)
        rates.append(mapped(map_all, max(TASKS, int(rate * ms / 1000 / 3))) / 1000)
    return rates


def start_of_pool(workers):
    """Microseconds until it is made, until its first result, until it is gone, and for that last step alone."""
    import multiprocessing

    times = [[], [], [], []]
    for item in range(5):
        start = time.monotonic_ns()
        pool = multiprocessing.Pool(workers)
        made = time.monotonic_ns()
        ensure(pool.apply(abs, (-item,)) == item, "the first result")
        used = time.monotonic_ns()
        pool.terminate()
        pool.join()
        gone = time.monotonic_ns()
        for series, took in zip(times, (made - start, used - start, gone - start, gone - used)):
            series.append(took)
    return [statistics.median(series) / 1000 for series in times]
