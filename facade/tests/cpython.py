"""Runs the scripts on standard input over CPython's queues, and prints what came of each step.

facade/tests/cpython.rs runs the same over shmq's, and compares.
"""

import functools
import multiprocessing
import multiprocessing.managers
import os
import queue
import re
import sys
import threading
import time

NOT_YET = 0.05  # how long is looked whether `join` returns, if it should not
PATIENCE = 60


def make(kind, maxsize):
    if kind == "simple":
        return multiprocessing.SimpleQueue()
    if kind == "thread":
        return queue.Queue(maxsize)
    if kind == "managed":
        return manager().JoinableQueue(maxsize)
    made = {"queue": multiprocessing.Queue, "joinable": multiprocessing.JoinableQueue}[kind](maxsize)
    # The feeder thread has sent so many: what was put is visible when as many were sent.
    made.put_count = made.sent_count = 0
    send_bytes = made._send_bytes

    def send_and_count(message):
        send_bytes(message)
        made.sent_count += 1

    made._send_bytes = send_and_count
    return made


@functools.cache
def manager():
    return multiprocessing.Manager()


def settle(q):
    """Waits for the feeder thread."""
    end = time.monotonic() + PATIENCE
    while getattr(q, "sent_count", 0) < getattr(q, "put_count", 0):
        assert time.monotonic() < end, "the feeder thread sleeps"
        time.sleep(0.0002)


def has_unfinished(q):
    if hasattr(q, "unfinished_tasks"):
        return q.unfinished_tasks > 0
    return not q._unfinished_tasks._semlock._is_zero()


def join(q):
    thread = threading.Thread(target=q.join, daemon=True)
    thread.start()
    if isinstance(q, multiprocessing.managers.BaseProxy):
        thread.join(10 * NOT_YET)  # nobody tells how many are unfinished
    else:
        thread.join(NOT_YET if has_unfinished(q) else PATIENCE)
    return "blocks" if thread.is_alive() else "joined"


def put(q, *args):
    q.put(*args)
    if hasattr(q, "put_count"):
        q.put_count += 1
    settle(q)
    return "ok"


def got(value):
    return "got " + value


def in_child(q, words):
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def work():
        # What this child puts is visible when it has ended.
        vars(q).pop("put_count", None)
        sender.send(step(q, words))

    child = multiprocessing.Process(target=work)
    child.start()
    child.join()
    return receiver.recv()


def seconds(word):
    return int(word) / 1000


def act(q, words):
    match words:
        case ["put", value]:
            return put(q, value)
        case ["put_timeout", value, ms]:
            return put(q, value, True, seconds(ms))
        case ["put_unblocked", value, ms]:
            return put(q, value, False, seconds(ms))
        case ["put_nowait", value]:
            q.put_nowait(value)
            if hasattr(q, "put_count"):
                q.put_count += 1
            settle(q)
            return "ok"
        case ["put_and_get_at_once", value]:
            q.put(value)
            return got(q.get_nowait())
        case ["put_unencodable"]:
            q.put(lambda: None)
            time.sleep(0.1)
            return "ok"
        case ["get"]:
            return got(q.get())
        case ["get_timeout", ms]:
            return got(q.get(True, seconds(ms)))
        case ["get_unblocked", ms]:
            return got(q.get(False, seconds(ms)))
        case ["get_nowait"]:
            return got(q.get_nowait())
        case ["qsize" | "empty" | "full" as name]:
            return str(getattr(q, name)())
        case ["close"]:
            q.close()
            if hasattr(q, "join_thread"):
                q.join_thread()
            return "ok"
        case ["task_done"]:
            q.task_done()
            return "ok"
        case ["join"]:
            return join(q)
        case ["shutdown", immediate]:
            q.shutdown(immediate == "immediate")
            return "ok"
        case ["child", *rest]:
            return in_child(q, rest)
    raise AssertionError(words)


def step(q, words):
    start = time.monotonic()
    try:
        return act(q, words)
    except Exception as error:
        took = time.monotonic() - start
        text = type(error).__name__
        if text not in ("Full", "Empty", "ShutDown"):
            text = re.sub("<.*>", "...", str(error))
        ms = int(words[-1]) if words[0].endswith(("_timeout", "_unblocked")) else 0
        return text + (" later" if ms > 0 and took >= 0.8 * seconds(ms) else "")


def main():
    q = None
    for line in sys.stdin:
        match line.split():
            case ["script", kind, maxsize]:
                if q is not None and hasattr(q, "close"):
                    q.close()
                q = make(kind, int(maxsize))
                print(line.strip(), flush=True)
            case words:
                print(step(q, words), flush=True)
    if manager.cache_info().currsize:
        manager().shutdown()
    # Threads that wait for what will not come stay behind.
    os._exit(0)


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    main()
