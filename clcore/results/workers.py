"""Many runs at once: in processes of this machine, or on the workers of a Dask cluster.

Workers return the text of a record, and whoever asked for the runs writes it: a worker needs no
folder in common with anyone.
"""

import logging
import multiprocessing
import os
import signal
import threading
import uuid
from collections.abc import Callable, Generator, Iterator, MutableSequence, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple

import torch

from clcore.errors import InputError
from clcore.results.record import as_text
from clcore.results.recording import run
from clcore.results.spec import Spec

Job = tuple[int, Spec, str, str | None]  # number, spec, device, data
Tick = Callable[[float], None]


class WorkersLostError(RuntimeError):
    """Workers died, or the scheduler did; what was finished before is recorded."""


class Crew(NamedTuple):
    """Who runs: takes jobs for the text of their records, and knows how far each job is."""

    submit: Callable[[Job], Future[str]]
    fractions: Sequence[float]


def default_workers(device: str, runs: int) -> int:
    """Return how many processes train some runs best: one a core, and one alone on a GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(runs, (cores or 1) if device == "cpu" else 1))


def texts(
    specs: Sequence[Spec],
    *,
    device: str = "cpu",
    data: str | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    tick: Tick,
) -> Generator[tuple[Spec, str], None, None]:
    """Run `specs`; yield each with the text of its record, in the order in which they finish.

    On a CPU each run has one thread: its numbers are the same wherever it runs on machines of
    one kind, and processes use the cores better than threads.

    Parameters
    ----------
    device, data, workers, scheduler, tick
        See `run_and_record`; with a scheduler, the first two as the workers are to understand them.

    Raises
    ------
    InputError
        If a run's input cannot be used, or the scheduler cannot be reached.
    WorkersLostError
        If workers died and nobody took over.
    """
    jobs = [(i, spec, device, data) for i, spec in enumerate(specs)]
    if workers == 1 and scheduler is None:
        for job in jobs:
            yield job[1], _work(job, lambda i, fraction: tick(i + fraction))
        return
    with ExitStack() as stack:
        crew = stack.enter_context(
            _cluster(scheduler, len(jobs)) if scheduler else _processes(workers, len(jobs))
        )
        futures = {crew.submit(job): job[1] for job in jobs}
        pending = set(futures)
        while pending:
            done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            tick(sum(crew.fractions))
            # What is finished is handed on before another run's failure ends this.
            for future in sorted(done, key=_failed):
                yield futures[future], future.result()


def _failed(future: Future[str]) -> bool:
    return future.cancelled() or future.exception() is not None


def _work(job: Job, report: Callable[[int, float], None]) -> str:
    number, spec, device, data = job
    before = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
    try:
        outcome, checksum = run(
            spec, device=device, data=data, progress=lambda k, tasks: report(number, k / tasks)
        )
    finally:
        torch.set_num_threads(before)
    report(number, 1.0)  # also if all replicas diverged before the last task
    return as_text(spec, outcome, checksum, device)


@contextmanager
def _processes(count: int, jobs: int) -> Iterator[Crew]:
    """Give new processes with one thread each; none outlives this one or the context."""
    context = multiprocessing.get_context("spawn")
    fractions = context.RawArray("d", jobs)
    others = set(multiprocessing.active_children())
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        with ProcessPoolExecutor(count, context, _enter, (fractions,)) as executor:
            try:
                yield Crew(partial(_submit, executor), fractions)
            except BaseException as error:
                executor.shutdown(wait=False, cancel_futures=True)
                for child in set(multiprocessing.active_children()) - others:
                    child.terminate()
                if isinstance(error, BrokenExecutor):
                    raise WorkersLostError(
                        "a worker process died, perhaps for want of memory: try fewer --workers"
                    ) from error
                raise
    finally:
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = threads


def _submit(executor: ProcessPoolExecutor, job: Job) -> Future[str]:
    """Submit a job; a process that starts for it never sees Ctrl-C: who started it ends it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return executor.submit(_work_here, job)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_fractions: MutableSequence[float] = []  # of a worker process: shared with whoever started it


def _enter(fractions: MutableSequence[float]) -> None:
    """Prepare a worker process."""
    global _fractions
    _fractions = fractions
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent is gone: else it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _work_here(job: Job) -> str:
    return _work(job, _fractions.__setitem__)


@contextmanager
def _cluster(address: str, jobs: int) -> Iterator[Crew]:
    """Give the workers of a Dask cluster, which run the jobs of a worker that died again."""
    try:
        from distributed import Client, KilledWorker
    except ImportError as error:
        raise InputError(
            "--scheduler needs Dask distributed: pip install 'clcore[distributed]'"
        ) from error
    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"scheduler {address!r} cannot be reached ({type(error).__name__}: {error}): give the "
            "address that `dask scheduler` prints, such as tcp://10.0.0.1:8786"
        ) from error
    # Who lost the scheduler is told below; its own log is pages long.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    fractions = [0.0] * jobs
    topic = f"clcore-{uuid.uuid4()}"

    def hear(event: tuple[float, tuple[int, float]]) -> None:
        number, fraction = event[1]
        fractions[number] = fraction

    with client:
        client.subscribe_topic(topic, hear)
        try:
            executor = client.get_executor(pure=False)
            yield Crew(partial(executor.submit, partial(_work_there, topic)), fractions)
        except CancelledError as error:
            raise WorkersLostError(f"scheduler {address} is gone: start it again") from error
        except KilledWorker as error:
            raise WorkersLostError(f"workers of {address} died again and again: {error}") from error


def _work_there(topic: str, job: Job) -> str:
    from distributed import get_worker

    worker = get_worker()
    return _work(job, lambda number, fraction: worker.log_event(topic, (number, fraction)))
