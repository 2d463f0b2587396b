"""Small tasks per second of CPython's Pool: the other half of pool_throughput.rs, which runs this."""

import multiprocessing
import sys
import time


def square(number):
    return number * number


def per_second(tasks, run):
    start = time.perf_counter()
    assert run()[-1] == square(tasks - 1)
    return tasks / (time.perf_counter() - start)


def main():
    tasks, processes = map(int, sys.argv[1:])
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        pool.map(square, range(1000))  # until all workers are there

        def apply_async():
            return [later.get() for later in [pool.apply_async(square, (n,)) for n in range(tasks)]]

        for run in (
            lambda: pool.map(square, range(tasks), chunksize=1),
            lambda: pool.map(square, range(tasks)),
            apply_async,
        ):
            print(per_second(tasks, run))


main()
