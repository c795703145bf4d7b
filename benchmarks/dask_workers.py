"""How much faster two Dask workers run a grid than one, over the loopback interface.

    python benchmarks/dask_workers.py DATA [--runs 8] [--rounds 2] [--out FILE]

Each run is one replica of the Permuted MNIST job in a worker of one thread. Workers are warm:
each has run once before the clock starts. One and two workers take turns, and in coming first.
Needs a machine that does nothing else.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client

from clcore.results import Spec
from clcore.results.workers import texts
from clcore.training import Budget


@contextmanager
def cluster(workers: int) -> Iterator[str]:
    """Start a scheduler and its workers as processes; give its address."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        address_file = Path(folder) / "scheduler.json"
        common = ["--host", "127.0.0.1", "--no-dashboard"]
        scheduler = ["dask_scheduler", *common, "--port", "0"]
        scheduler += ["--scheduler-file", str(address_file)]
        worker = ["dask_worker", *common, "--scheduler-file", str(address_file)]
        worker += ["--nthreads", "1", "--local-directory", folder]
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{command[0]}", *command[1:]],
                env=environment,
                stderr=subprocess.DEVNULL,
            )
            for command in [scheduler] + [worker] * workers
        ]
        try:
            while not address_file.exists():
                time.sleep(0.1)
            address = json.loads(address_file.read_text())["address"]
            with Client(address) as client:
                client.wait_for_workers(workers)
            yield address
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()


def duration(address: str, data: str, runs: int, first: int) -> float:
    """Return the seconds that the cluster takes for some runs."""
    stream = {"name": "permuted", "fractions": [1.0] * 4}
    network = {"name": "mlp", "hidden": [256, 256]}
    budget = Budget(1, 128, 0.1)
    specs = [
        Spec("mnist", stream, network, {"name": "initialized"}, budget, (first + i,))
        for i in range(runs)
    ]
    began = time.perf_counter()
    found = list(texts(specs, data=data, scheduler=address, tick=lambda done: None))
    assert len(found) == runs
    return time.perf_counter() - began


def main() -> None:
    """Measure, print the speed-up, keep it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    data = str(options.data.resolve())
    spent: dict[int, list[float]] = {1: [], 2: []}
    for number in range(options.rounds):
        for workers in (1, 2) if number % 2 == 0 else (2, 1):
            seconds = spent[workers]
            with cluster(workers) as address:
                duration(address, data, 2 * workers, first=1000)
                seconds.append(duration(address, data, options.runs, first=0))
                print(f"  {workers} workers: {seconds[-1]:.1f} s", flush=True)
    usual = {workers: statistics.median(seconds) for workers, seconds in spent.items()}
    result = {
        "runs": options.runs,
        "rounds": options.rounds,
        "cpus": os.cpu_count(),
        "seconds": {str(workers): round(seconds, 1) for workers, seconds in usual.items()},
        "speedup": round(usual[1] / usual[2], 2),
    }
    print(f"two workers: {result['speedup']} times as fast as one")
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
