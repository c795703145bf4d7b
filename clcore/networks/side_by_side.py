"""Replicas that cannot be stacked, side by side: one thread each."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

Result = TypeVar("Result")


def side_by_side(
    work: Callable[[int], Result], replicas: int, device: torch.device
) -> list[Result]:
    """Return `work(r)` of each replica, on as many threads as torch may use.

    Two replicas on a thread each are faster than one after the other on both: small operations
    do not divide. A GPU has its own ways, and gets one replica after the other.

    Parameters
    ----------
    work : callable
        Must touch nothing of other replicas.
    replicas : int
        How many there are.
    device : torch.device
        Where they are.
    """
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
