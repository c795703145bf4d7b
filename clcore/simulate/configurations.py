"""Random task sequences and plans on which theory and simulation are compared."""

import numpy as np

from clcore.theory import LinearTasks, Update

# Least |m - n|: risks have finite moments of order below (|m - n| + 1) / 2, so with 10 their
# variance can be estimated; with 3 it is infinite.
MARGIN = 10


def draw_configuration(rng: np.random.Generator) -> tuple[LinearTasks, tuple[Update, ...]]:
    """Draw a sequence that mixes regimes, trainable sets, gains and noise.

    1 to 4 blocks of 1 to 20 parameters, 2 to 4 tasks. An update trains a random set of
    blocks, sometimes none, over- or underparameterized with equal chance where both are
    possible, and |m - n| ≥ 10; half of the gains are 1, the others uniform in [0, 1].

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all choices.
    """
    sizes = rng.integers(1, 21, size=rng.integers(1, 5))
    tasks, parameters = int(rng.integers(2, 5)), int(sizes.sum())
    common = rng.normal(size=parameters)
    spread = rng.uniform(0, 1.5)
    updates, samples = [], []
    for _ in range(tasks):
        count = 0 if rng.random() < 0.1 else rng.integers(1, len(sizes) + 1)
        blocks = rng.permutation(len(sizes))[:count]
        m = int(sizes[blocks].sum())
        whole = rng.random(len(blocks)) < 0.5
        gains = np.where(whole, 1.0, rng.uniform(size=len(blocks)))
        updates.append(Update(blocks.tolist(), gains.tolist()))
        if m > MARGIN and rng.random() < 0.5:
            samples.append(int(rng.integers(1, m - MARGIN + 1)))
        else:
            samples.append(int(rng.integers(m + MARGIN, m + 2 * MARGIN + 20)))
    drawn = LinearTasks(
        sizes=sizes,
        truths=common + spread * rng.normal(size=(tasks, parameters)),
        samples=samples,
        noise=rng.uniform(0, 1.5, size=tasks) * (rng.random(tasks) < 0.8),
        start=rng.normal(size=parameters) * rng.integers(0, 2),
    )
    return drawn, tuple(updates)
