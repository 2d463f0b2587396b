"""What CPython's processes and pools do, line by line; facade/tests/cpython.rs says the same of shmq's.

The argument is the start method.
"""

import multiprocessing
import multiprocessing.connection
import sys
import time


def nothing():
    pass


def seven():
    return 7


def leave():
    sys.exit(7)


def fail():
    sys.stderr = None
    raise ValueError("no milk")


def sleep():
    time.sleep(60)


def pid():
    return multiprocessing.current_process().pid


def introduce(to, daemon):
    own, parent = multiprocessing.current_process(), multiprocessing.parent_process()
    said = f"{own.name} {own.daemon} {parent.name} {parent.is_alive()}"
    child = multiprocessing.get_context(sys.argv[1]).Process(target=nothing)
    try:
        child.start()
        child.join()
        said += f" {child.name.removeprefix(own._config.get('name', ''))[-2:]} {child.exitcode}"
    except AssertionError as error:
        said += f" {error}"
    to.put(said)


def square(number):
    return number * number


def add(a, b):
    return a + b


def picky(number):
    if number == 3:
        raise ValueError("not 3")
    return number


def set_up(to):
    to.put("set up")


def wait_a_little(number):
    time.sleep(0.3)
    return number


def error_of(call, *args):
    try:
        return repr(call(*args))
    except Exception as error:
        return str(error).lower().split(";")[0].split(".")[0]


def tell_of_processes(context):
    def ended(target):
        process = context.Process(target=target)
        process.start()
        process.join()
        return process.exitcode

    main = multiprocessing.current_process()
    print("main", main.name, main.daemon, multiprocessing.parent_process())
    process = context.Process(target=sleep, name="sleeper")
    print("new", process.pid, process.exitcode, process.is_alive(), process.daemon, process.name)
    print("join a new one:", error_of(process.join))
    process.start()
    process.join(0.02)
    print("started", process.pid > 0, process.exitcode, process.is_alive())
    print("start it again:", error_of(process.start))
    print("close it:", error_of(process.close))
    print("active", [child.name for child in multiprocessing.active_children()])
    print("sentinel", len(multiprocessing.connection.wait([process.sentinel], 0)))
    process.terminate()
    process.join()
    print("terminated", process.exitcode, process.is_alive())
    print("active", [child.name for child in multiprocessing.active_children()])
    print("sentinel", len(multiprocessing.connection.wait([process.sentinel], 0)))
    process.close()
    print("join a closed one:", error_of(process.join))
    process = context.Process(target=sleep)
    process.start()
    process.kill()
    process.join()
    print("killed", process.exitcode)
    print("exit codes", *map(ended, [nothing, seven, leave, fail]))
    for daemon in (False, True):
        answers = context.Queue()
        process = context.Process(target=introduce, args=(answers, daemon), name="Ada", daemon=daemon)
        process.start()
        print("a child says", answers.get())
        process.join()


def tell_of_pools(context):
    answers = context.Queue()
    pool = context.Pool(2, set_up, (answers,))
    print(answers.get(), answers.get())
    print("apply", pool.apply(square, (7,)), error_of(pool.apply, picky, (3,)))
    for chunksize in (None, 1, 3):
        print("map", pool.map(square, range(10), chunksize), pool.map(square, [], chunksize))
        print("starmap", pool.starmap(add, [(n, -2 * n) for n in range(5)], chunksize))
        print("map", error_of(pool.map, picky, range(10), chunksize))
    for chunksize in (1, 3):
        print("imap", list(pool.imap(square, range(10), chunksize)))
        print("imap_unordered", sorted(pool.imap_unordered(square, range(10), chunksize)))
    answers = pool.imap(picky, range(6))
    print("imap", [error_of(answers.__next__) for _ in range(6)])
    later = pool.apply_async(wait_a_little, (5,))
    print("later", later.ready(), error_of(later.get, 0.001) != "5")
    later.wait()
    print("later", later.ready(), later.successful(), later.get(), later.get())
    failed = pool.apply_async(picky, (3,))
    failed.wait()
    print("failed", failed.ready(), failed.successful(), error_of(failed.get))
    called = []
    pool.apply_async(square, (4,), callback=called.append).wait()
    pool.apply_async(picky, (3,), error_callback=lambda error: called.append(str(error))).wait()
    print("called", called)
    print("join an open one:", error_of(pool.join))
    later = pool.map_async(wait_a_little, range(4))
    pool.close()
    print("apply to a closed one:", error_of(pool.apply, square, (7,)))
    pool.join()
    print("closed", later.get())
    pool = context.Pool(1, maxtasksperchild=1)
    print("pids", len({pool.apply(pid) for _ in range(3)}))
    start = time.monotonic()
    pool.apply_async(sleep)
    time.sleep(0.05)
    pool.terminate()
    pool.join()
    print("terminated", time.monotonic() - start < 30)


if __name__ == "__main__":
    method = multiprocessing.get_context(sys.argv[1])
    tell_of_processes(method)
    tell_of_pools(method)
