"""Runs that are killed, interrupted or doubled: every record is whole and that of a serial run."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clcore.__main__ import main

sys.path.insert(0, str(Path(__file__).parent))
from dask_cluster import cluster, wait_for

RUNS = 12
GRID = """
dataset = "digits"
seeds = [0, 1]
stream = {name = "permuted", fractions = [1.0, 0.2]}
network = {name = "mlp", hidden = [32]}
strategy = [{name = "initialized"}, {name = "frozen"}, {name = "hybrid"}]
[[budget]]
epochs = 5
batch = 16
learning_rate = 0.05
"""
KILLS = 12


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    path = tmp_path_factory.mktemp("grid") / "grid.toml"
    more = "".join(
        f"[[budget]]\nepochs = 5\nbatch = 16\nlearning_rate = {rate}\n" for rate in (0.1, 0.2, 0.3)
    )
    path.write_text(GRID + more)
    return path


@pytest.fixture(scope="module")
def serial(grid, tmp_path_factory):
    folder = tmp_path_factory.mktemp("serial")
    assert run_serially(grid, folder) == 0
    found = numbers(folder)
    assert len(found) == RUNS
    return found


def run_serially(grid, folder):
    return main(["run", str(grid), "--results", str(folder), "--workers", "1"])


def numbers(folder):
    """Return what the records of a folder say, without their provenance."""
    found = {}
    for path in recorded(folder):
        content = json.loads(path.read_text())
        del content["provenance"]
        found[path.name] = content
    return found


def recorded(folder):
    return sorted(folder.glob("*.json"))


def started(grid, folder, *options):
    """Start the command line in a group of processes of its own."""
    command = [sys.executable, "-m", "clcore", "run", str(grid), "--results", str(folder)]
    return subprocess.Popen(
        [*command, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that starts the tests in the background has SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for_a_record(process, folder):
    wait_for(lambda: recorded(folder) or process.poll() is not None, "a record")


def test_kills_at_random_moments_lose_nothing(grid, serial, tmp_path):
    context = multiprocessing.get_context("forkserver")  # imports once, not for each kill
    context.set_forkserver_preload(["clcore.__main__"])
    draws = random.Random(0)
    kills = parts = grids = 0
    while kills < KILLS:
        grids += 1
        folder = tmp_path / f"records{grids}"
        while kills < KILLS and len(recorded(folder)) < RUNS:
            options = ["run", str(grid), "--results", str(folder), "--workers", "1"]
            process = context.Process(target=main, args=(options,))
            before, more = len(recorded(folder)), draws.choice([0, 0, 1, 2])
            process.start()
            wait_for(
                lambda p=process, f=folder, n=before + more: (
                    not p.is_alive() or len(recorded(f)) >= n
                ),
                "records",
            )
            time.sleep(draws.uniform(0, 0.3))
            process.kill()
            process.join()
            kills += process.exitcode == -signal.SIGKILL
            assert numbers(folder).items() <= serial.items()
        parts += len(list(folder.glob(".*.part")))
        assert run_serially(grid, folder) == 0
        assert numbers(folder) == serial
    print(
        f"{kills} kills in {grids} grids, {parts} while a record was being written; 0 lost, wrong"
    )


def children(process):
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in text.split()]


def ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def is_worker(pid):
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find workers")
@pytest.mark.parametrize(
    ("what", "code"), [("Ctrl-C", 130), ("command killed", -9), ("worker killed", 3)]
)
def test_worker_processes(grid, serial, tmp_path, what, code):
    process = started(grid, tmp_path, "--workers", "2")
    wait_for_a_record(process, tmp_path)
    begun = children(process)
    workers = [pid for pid in begun if is_worker(pid)]
    assert len(workers) == 2
    if what == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        os.kill(process.pid if what == "command killed" else workers[0], signal.SIGKILL)
    error = process.communicate()[1]
    assert process.returncode == code, error
    assert "Traceback" not in error
    if code > 0:
        assert "the same command goes on from there" in error
    wait_for(lambda: all(map(ended, begun)), "the worker processes to end")
    assert 0 < len(recorded(tmp_path)) < RUNS
    assert numbers(tmp_path).items() <= serial.items()
    assert run_serially(grid, tmp_path) == 0
    assert numbers(tmp_path) == serial


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find workers")
def test_ctrl_c_is_for_the_command_not_its_workers(grid, serial, tmp_path):
    process = started(grid, tmp_path, "--workers", "2")
    wait_for(
        lambda: process.poll() is not None or sum(map(is_worker, children(process))) == 2,
        "the workers to start",
    )
    for pid in filter(is_worker, children(process)):
        os.kill(pid, signal.SIGINT)
    error = process.communicate()[1]
    assert process.returncode == 0, error
    assert numbers(tmp_path) == serial


def test_two_commands_at_the_same_time(grid, serial, tmp_path):
    both = [started(grid, tmp_path, "--workers", "1") for _ in range(2)]
    for process in both:
        error = process.communicate()[1]
        assert process.returncode == 0, error
    assert numbers(tmp_path) == serial
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(serial)


def test_the_dask_scheduler_dies_then_a_worker_of_the_next(grid, serial, tmp_path, monkeypatch):
    # How long Dask looks for the dead scheduler; 30 s if nobody says.
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "8s")
    folder = tmp_path / "records"
    with cluster(tmp_path, 2) as (address, scheduler, _):
        process = started(grid, folder, "--scheduler", address)
        wait_for_a_record(process, folder)
        scheduler.kill()
        error = process.communicate()[1]
        assert process.returncode == 3, error
        assert f"{address} is gone: start it again" in error
        assert "Traceback" not in error
        before = numbers(folder)
        assert 0 < len(before) < RUNS
        assert before.items() <= serial.items()
    with cluster(tmp_path, 2) as (address, _, workers):
        process = started(grid, folder, "--scheduler", address)
        wait_for(lambda: len(recorded(folder)) > len(before) or process.poll() is not None, "more")
        workers[0].kill()
        workers[0].wait()
        assert len(recorded(folder)) < RUNS
        error = process.communicate()[1]
        assert process.returncode == 0, error
    assert numbers(folder) == serial
