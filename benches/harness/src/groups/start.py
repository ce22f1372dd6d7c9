"""For each number on standard input: so many children by each start method, microseconds for each on standard output."""
import multiprocessing
import sys
import time

contexts = [multiprocessing.get_context(method) for method in ("fork", "forkserver", "spawn")]
code = int(sys.argv[2])


def per_child(context, children):
    start = time.monotonic()
    for _ in range(children):
        child = context.Process(target=sys.exit, args=(code,))
        child.start()
        child.join()
        if child.exitcode != code:
            sys.exit(f"wrong result: the exit code is {child.exitcode}")
        child.close()
    return (time.monotonic() - start) * 1e6 / children


print(sys.argv[1], flush=True)
for line in sys.stdin:
    print(*(per_child(context, int(line)) for context in contexts), flush=True)
