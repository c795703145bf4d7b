"""Compare the closed-form risks with a simulation on many random configurations.

    python benchmarks/theory_vs_simulation.py --configurations 200 --trials 4000

prints how many configurations and risks were compared, the largest |z|, the Bonferroni
threshold at a family-wise false-alarm rate of 1 %, and the seconds taken; it exits with 1 if
the threshold is passed.
"""

import argparse
import sys
import time

import numpy as np

from clcore.simulate import bonferroni, draw_configuration, largest_score, simulate_risks, z_scores
from clcore.theory import Problem, expected_risks


def main() -> int:
    """Run the comparison and print its result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--configurations", type=int, default=200)
    parser.add_argument("--trials", type=int, default=4000, help="per configuration")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    options = parser.parse_args()

    rng = np.random.default_rng(options.seed)
    begin = time.perf_counter()
    scores, precision, simulating = [], [], 0.0
    regimes = {"m = 0": 0, "m < n": 0, "m > n": 0}
    for index in range(options.configurations):
        tasks, updates = draw_configuration(rng)
        for update, n in zip(updates, tasks.samples, strict=True):
            m = sum(int(tasks.sizes[b]) for b in update.trainable)
            regimes["m = 0" if m == 0 else "m < n" if m < n else "m > n"] += 1
        expected = expected_risks(Problem.from_tasks(tasks), updates)
        start = time.perf_counter()
        estimate = simulate_risks(tasks, updates, options.trials, index, options.device).risks
        simulating += time.perf_counter() - start
        z = z_scores(expected, estimate)
        scores.append(z.ravel())
        compared = np.isfinite(z)
        precision.append((estimate.standard_error[1:] / expected[1:].clip(1e-300))[compared])
    largest, comparisons = largest_score(np.concatenate(scores))
    threshold = bonferroni(comparisons)
    updates_made = ", ".join(f"{count} with {name}" for name, count in regimes.items())
    trials = options.configurations * options.trials
    print(f"configurations       {options.configurations} ({updates_made})")
    print(f"risks compared       {comparisons}")
    print(f"largest |z|          {largest:.2f}  (threshold {threshold:.2f})")
    print(f"relative std. error  {np.median(np.concatenate(precision)):.2%} (median)")
    print(
        f"sequences simulated  {trials} on {options.device}, {trials / simulating:,.0f} per second"
    )
    print(f"seconds              {time.perf_counter() - begin:.1f}")
    return int(largest > threshold)


if __name__ == "__main__":
    sys.exit(main())
