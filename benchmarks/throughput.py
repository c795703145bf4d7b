"""Images per second of this package and its peers, side by side in one run.

    python benchmarks/throughput.py DATA [--avalanche VENV] [--repeats 3] [--only TEXT] [--out FILE]

DATA is the folder of the data sets (MNIST in torchvision's layout). VENV is a virtual
environment with `torch==2.13.* torchvision==0.28.* avalanche-lib==0.6.0`, made for this alone.
Contenders run one after the other, the whole round repeated, so that a change of the machine's
speed meets them all; what counts are the ratios. With `--only` the contenders whose name has TEXT
are measured again and take their places in FILE. Needs a machine that does nothing else.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent / "contenders"
# A training image, forward and backward; the first layer passes no slope to the pixels.
FLOP_PER_IMAGE = 6 * (784 * 256 + 256 * 256 + 256 * 10) - 2 * 784 * 256
BATCH, SMALL_BATCH = 128, 10
CONVOLUTIONAL = 327e6  # of ResNet-18, width 20, 3 × 32 × 32


def matrix_peak(dtype: torch.dtype, size: int = 2048, seconds: float = 0.5) -> float:
    """Return GFLOP/s of the best square matrix product within some seconds."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    best, until = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        a @ b
        best = max(best, 2 * size**3 / (time.perf_counter() - began) / 1e9)
    return best


def processor() -> str:
    """Return the processor's model, with the matrix units that it has."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in found.items()}
    name = facts.get("model name", platform.machine())
    units = [u for u in ("avx512f", "avx512_bf16", "amx_bf16") if u in facts.get("flags", "")]
    return f"{name} ({', '.join(units)})" if units else name


def contenders(avalanche: Path | None, batch: int) -> dict[str, list[str]]:
    """Return the command of each contender at the Permuted MNIST job, by its name.

    Replicas by the dozen and bf16 are measured at the usual batch size alone.
    """
    peers: dict[str, list[str]] = {}
    if avalanche:
        python = str(avalanche / "bin" / "python")
        peers["Avalanche, as documented"] = [python, "avalanche_documented.py", str(batch)]
        peers["Avalanche, expert"] = [python, "avalanche_expert.py", str(batch)]
    loop = [sys.executable, "plain_loop.py", str(batch)]
    cores = str(os.cpu_count())

    def ours(replicas: int, processes: str = "1", bf16: str = "0") -> list[str]:
        return [sys.executable, "engine.py", str(batch), str(replicas), processes, bf16]

    jobs = peers | {
        "plain loop, DataLoader": [*loop, "1"],
        "plain loop, indexed tensor": [*loop, "0"],
        "clcore, 1 replica": ours(1),
        "clcore, 8 replicas": ours(8),
        f"clcore, 8 replicas, {cores} processes": ours(8, cores),
    }
    if batch != BATCH:
        return {f"{name}, batch {batch}": command for name, command in jobs.items()}
    return jobs | {
        "clcore, 32 replicas": ours(32),
        f"clcore, 8 replicas, {cores} processes, bf16": ours(8, cores, "1"),
        f"clcore, 16 replicas, {cores} processes, bf16": ours(16, cores, "1"),
    }


def convolutional() -> dict[str, list[str]]:
    """Return the commands of the contenders at training steps of ResNet-18, width 20."""
    cores = str(os.cpu_count())
    ways = {"1 process": ("1", "1"), f"{cores} processes": (cores, "1")}
    stacked = {f"{cores} replicas, 1 process": ("1", cores)}
    rows = {"plain loop": ("0", ways), "clcore": ("1", ways), "clcore, bf16": ("2", ways | stacked)}
    return {
        f"ResNet-18, {name}, {way}": [sys.executable, "resnet.py", kind, *numbers]
        for name, (kind, ways) in rows.items()
        for way, numbers in ways.items()
    }


def measure(command: list[str], data: Path) -> dict[str, float]:
    """Run one contender in a process of its own; return what it reported."""
    line = [command[0], str(HERE / command[1]), str(data.resolve()), *command[2:]]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(line)} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _replaced(old: dict[str, Any], new: dict[str, Any], only: str) -> dict[str, Any]:
    """Return the rows with those of a name replaced, at the place of the first of them."""
    names = list(old)
    place = next((i for i, name in enumerate(names) if only in name), len(names))
    before = [name for name in names[:place] if only not in name]
    after = [name for name in names[place:] if only not in name]
    return {n: old[n] for n in before} | new | {n: old[n] for n in after}


def main() -> None:
    """Measure, print the table, keep it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--avalanche", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}
    peaks = dict.fromkeys(kinds, 0.0)
    jobs = contenders(options.avalanche, BATCH) | convolutional()
    jobs |= contenders(options.avalanche, SMALL_BATCH)
    jobs = {name: command for name, command in jobs.items() if options.only in name}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in jobs}
    for _ in range(options.repeats):
        for name, command in jobs.items():
            # Before each: a virtual machine's speed changes within a run.
            peaks = {k: max(peaks[k], matrix_peak(kind)) for k, kind in kinds.items()}
            runs[name].append(measure(command, options.data))
            last = runs[name][-1]
            print(f"  {name}: {last['images'] / last['seconds']:,.0f} images/s", flush=True)
    rows = {}
    for name, found in runs.items():
        speed = statistics.median(f["images"] / f["seconds"] for f in found)
        rows[name] = {
            "images_per_second": round(speed),
            "gflops": round(speed * (CONVOLUTIONAL if "ResNet" in name else FLOP_PER_IMAGE) / 1e9),
            "training_gflops": None
            if "training_seconds" not in found[0]
            else round(
                statistics.median(f["images"] / f["training_seconds"] for f in found)
                * FLOP_PER_IMAGE
                / 1e9
            ),
            # That of the parent says nothing where children do the work.
            "megabytes": None
            if "processes" in name
            else round(statistics.median(f["megabytes"] for f in found)),
            "accuracy": None if "ResNet" in name else round(found[0]["accuracy"], 4),
        }
    result: dict[str, Any] = {
        "batch": BATCH,
        "cpus": os.cpu_count(),
        "processor": processor(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "peak_gflops": {k: round(v) for k, v in peaks.items()},
        "rows": rows,
    }
    print(f"matrix peak: {peaks['fp32']:.0f} GFLOP/s fp32, {peaks['bf16']:.0f} bf16")
    for name, row in rows.items():
        print(
            f"{name:42s} {row['images_per_second']:>9,} images/s  "
            f"{100 * row['gflops'] / peaks['fp32']:5.1f} % of the fp32 peak  "
            f"{row['training_gflops'] or '-':>5} GFLOP/s while training  "
            f"{row['megabytes'] or '-':>6} MB  Avg.Acc {row['accuracy']}"
        )
    if options.out and options.only:
        kept = json.loads(options.out.read_text(encoding="utf-8"))
        result = kept | {"rows": _replaced(kept["rows"], rows, options.only)}
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
