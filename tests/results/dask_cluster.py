"""A Dask scheduler and workers as real processes on the loopback device."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

WAIT = 120  # s: how long a loaded machine may take for what takes 2 s alone


def wait_for(condition, what):
    end = time.monotonic() + WAIT
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"waited {WAIT} s for {what}")
        time.sleep(0.02)


@contextmanager
def started(command, log):
    """Run a Dask command; kill it at the end."""
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=file,
            stderr=file,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def cluster(folder: Path, workers: int):
    """Start a cluster; give its address, the scheduler's process and those of the workers."""
    log = folder / "scheduler.log"
    loopback = ["--host", "127.0.0.1"]
    command = ["distributed.cli.dask_scheduler", *loopback, "--port", "0", "--no-dashboard"]
    with started(command, log) as scheduler:
        wait_for(lambda: "Scheduler at:" in log.read_text(), "the scheduler")
        address = log.read_text().partition("Scheduler at:")[2].split()[0]
        command = ["distributed.cli.dask_worker", address, *loopback, "--no-dashboard"]
        command += ["--nthreads", "1", "--no-nanny", "--memory-limit", "0"]
        logs = [folder / f"worker{w}.log" for w in range(workers)]
        contexts = [started([*command, "--local-directory", str(folder)], log) for log in logs]
        processes = [context.__enter__() for context in contexts]
        try:
            for log in logs:
                wait_for(lambda log=log: "Registered to:" in log.read_text(), "a worker")
            yield address, scheduler, processes
        finally:
            for context in contexts:
                context.__exit__(None, None, None)
