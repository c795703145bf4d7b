"""Trials per second of the simulation and of a plain NumPy loop, side by side in one run.

    python benchmarks/simulate.py [--threads 2] [--repeats 5] [--seconds 3] [--out FILE]

Both simulate the same two tasks (n = 50 samples, P = 200 parameters in two blocks, everything
trains); that their mean risks agree is checked first. Rounds alternate, so that a change of the
machine's speed meets both; what counts is the ratio. The loop runs with all threads and with one,
because small matrices may lose by threads; the ratio is to the faster. Needs a machine that does
nothing else.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from throughput import matrix_peak, processor

from clcore.simulate import simulate_risks
from clcore.simulate.normal import fill_normal
from clcore.theory import LinearTasks, Update

SAMPLES, PARAMETERS, TASKS = 50, 200, 2
# Of one update as it is computed: Gram matrix and its Cholesky factor; residual, two triangular
# solves and the change, each twice, since a step is refined.
FLOP_PER_UPDATE = (
    2 * SAMPLES**2 * PARAMETERS
    + SAMPLES**3 / 3
    + 2 * (2 * SAMPLES * PARAMETERS + 2 * SAMPLES**2 + 2 * SAMPLES * PARAMETERS)
)


def plain_loop(tasks: LinearTasks, trials: int, seed: int) -> np.ndarray:
    """Return (trials, K) final risks, each trial by itself with `numpy.linalg.lstsq`."""
    rng = np.random.default_rng(seed)
    risks = np.empty((trials, TASKS))
    for trial in range(trials):
        theta = tasks.start.copy()
        for truth, noise in zip(tasks.truths, tasks.noise, strict=True):
            features = rng.standard_normal((SAMPLES, PARAMETERS))
            labels = features @ truth + noise * rng.standard_normal(SAMPLES)
            theta += np.linalg.lstsq(features, labels - features @ theta, rcond=None)[0]
        risks[trial] = ((theta - tasks.truths) ** 2).sum(axis=1)
    return risks


def rate(run: Callable[[int, int], object], trials: int, seconds: float, seed: int) -> float:
    """Return trials per second of `run(trials, seed)`, repeated for some seconds."""
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        run(trials, seed + done)
        done += trials
    return done / spent


def nanoseconds_per_normal(count: int = 1 << 18, repeats: int = 30) -> dict[str, float]:
    """Return the least time that one thread takes for a normal number of single precision."""
    out, torchs = torch.empty(count), torch.Generator().manual_seed(0)
    numpys = np.random.Generator(np.random.SFC64(0))
    jobs: dict[str, Callable[[], object]] = {
        "clcore": lambda: fill_normal(out, torchs),
        "PyTorch": lambda: out.normal_(generator=torchs),
        "NumPy": lambda: numpys.standard_normal(out=out.numpy(), dtype=np.float32),
    }
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            began = time.perf_counter()
            job()
            times[name].append(time.perf_counter() - began)
    return {name: round(1e9 * min(found) / count, 2) for name, found in times.items()}


def main() -> None:
    """Check, measure, print the table, keep it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(0)
    truths = rng.normal(size=(TASKS, PARAMETERS)) / PARAMETERS**0.5
    tasks = LinearTasks([PARAMETERS // 2] * 2, truths, SAMPLES, 0.5)
    plan = (Update((0, 1)),) * TASKS

    ours = simulate_risks(tasks, plan, 2000).totals
    theirs = plain_loop(tasks, 500, 1)
    error = np.hypot(ours.standard_error[-1], theirs.std(axis=0, ddof=1) / 500**0.5)
    largest = float(np.abs((ours.mean[-1] - theirs.mean(axis=0)) / error).max())
    if largest > 4:
        sys.exit(f"the two disagree: |z| = {largest:.1f}")

    load = os.getloadavg()[0]
    peak = matrix_peak(torch.float32)
    many, one, ours_name = (
        f"NumPy loop, {options.threads} threads",
        "NumPy loop, 1 thread",
        "clcore",
    )
    rounds: dict[str, list[float]] = {many: [], one: [], ours_name: []}
    for index in range(options.repeats):
        seed = 1000 * index
        for name, threads in ((many, options.threads), (one, 1)):
            with threadpool_limits(threads, user_api="blas"):
                loop = rate(lambda n, s: plain_loop(tasks, n, s), 50, options.seconds, seed)
            rounds[name].append(loop)
        rounds[ours_name].append(
            rate(lambda n, s: simulate_risks(tasks, plan, n, s), 2000, options.seconds, seed)
        )
    ratios = [c / max(a, b) for a, b, c in zip(*rounds.values(), strict=True)]
    speed = {name: statistics.median(found) for name, found in rounds.items()}
    gflops = speed[ours_name] * TASKS * FLOP_PER_UPDATE / 1e9
    result = {
        "samples": SAMPLES,
        "parameters": PARAMETERS,
        "tasks": TASKS,
        "processor": processor(),
        "cpus": os.cpu_count(),
        "threads": options.threads,
        "load_before": round(load, 2),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "largest_z": round(largest, 2),
        "peak_gflops_fp32": round(peak, 1),
        "peak_fraction": round(gflops / peak, 3),
        "gflops": round(gflops, 2),
        "ratio": round(statistics.median(ratios), 1),
        "ratios": [round(r, 1) for r in ratios],
        "nanoseconds_per_normal": nanoseconds_per_normal(),
        "trials_per_second": {name: round(value) for name, value in speed.items()},
    }
    print(f"load before {load:.2f}; both agree, largest |z| {largest:.2f}")
    print(f"matrix peak: {peak:.0f} GFLOP/s fp32, {options.threads} threads")
    for name, value in speed.items():
        print(f"{name:22s} {value:>8,.0f} trials/s")
    print(
        f"ratio {result['ratio']:.1f} (rounds: {', '.join(map(str, result['ratios']))}); "
        f"{gflops:.1f} GFLOP/s, {gflops / peak:.1%} of the peak"
    )
    print(f"a normal number, ns: {result['nanoseconds_per_normal']}")
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
