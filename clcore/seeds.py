"""Random generators: one per replica and purpose, independent of who else is trained."""

import numpy as np
import torch

from clcore.errors import InputError

PURPOSES = (
    *("stream", "initialization", "order", "probe", "augmentation", "dropout"),
    *("strategy", "fisher"),
)


def generator(seed: int, purpose: str, *keys: int) -> torch.Generator:
    """Return a CPU generator that depends on nothing but its arguments.

    CPU generators drive everything, so that a seed means the same on every device. They use the
    low 32 bits of what they are seeded with: of n generators about n² / 2³³ pairs start alike.

    Parameters
    ----------
    seed : int
        The replica's seed, ≥ 0.
    purpose : str
        One of `PURPOSES`: draws for one purpose never shift those for another.
    *keys : int
        Further coordinates, such as the task and the epoch.

    Raises
    ------
    InputError
        If the seed is negative.
    """
    if seed < 0:
        raise InputError(f"seed {seed} is negative: choose an integer from 0")
    # As a spawn key: one long list would read (1, 2) and (1, 2, 0) as the same.
    entropy = np.random.SeedSequence(seed, spawn_key=(PURPOSES.index(purpose), *keys))
    return torch.Generator().manual_seed(int(entropy.generate_state(1, np.uint64)[0]))
