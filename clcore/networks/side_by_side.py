"""Replicas that cannot be stacked, side by side: on a thread, or in a branch of a graph, each."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

BRANCHES = 16  # of a graph: torch has 32 streams

Result = TypeVar("Result")


def side_by_side(
    work: Callable[[int], Result], replicas: int, device: torch.device
) -> list[Result]:
    """Return `work(r)` of each replica, on as many threads as torch may use.

    Two replicas on a thread each are faster than one after the other on both: small operations
    do not divide. A GPU gets one replica after the other; where this is recorded for a CUDA graph,
    each replica is a branch of it.

    Parameters
    ----------
    work : callable
        Must touch nothing of other replicas.
    replicas : int
        How many there are.
    device : torch.device
        Where they are.
    """
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return _branches(work, replicas)
    threads = torch.get_num_threads()
    if device.type != "cpu" or min(replicas, threads) == 1:
        return [work(r) for r in range(replicas)]
    return list(_pool(threads).map(work, range(replicas)))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Return threads in each of which torch uses that thread alone."""
    all_here = threading.Barrier(threads)

    def alone(_: int) -> None:
        # A thread takes over the setting of the process at its first question, not later.
        torch.get_num_threads()
        torch.set_num_threads(1)
        all_here.wait()  # so that no thread answers twice

    pool = ThreadPoolExecutor(threads, thread_name_prefix="replica")
    list(pool.map(alone, range(threads)))
    torch.set_num_threads(threads)
    return pool


def _branches(work: Callable[[int], Result], replicas: int) -> list[Result]:
    """Return `work(r)` of each replica, on streams that part from the current one and meet it."""
    here, found = torch.cuda.current_stream(), []
    streams = [_stream(r % BRANCHES) for r in range(replicas)]
    for r, stream in enumerate(streams):
        stream.wait_stream(here)
        with torch.cuda.stream(stream):
            found.append(work(r))
    for stream in streams:
        here.wait_stream(stream)
    return found


@cache
def _stream(number: int) -> torch.cuda.Stream:
    """Return a stream: a backward pass must take that of its forward pass."""
    return torch.cuda.Stream()
