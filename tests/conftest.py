"""What the unit tests share: one thread, and small data sets."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from clcore.streams import Dataset, from_arrays, load

torch.set_num_threads(1)


def _learnable(channels: int, side: int, train: int = 70, classes: int = 4) -> Dataset:
    """Noisy copies of one prototype a class; every channel has its own brightness and contrast."""
    draws = np.random.default_rng(20)
    prototypes = draws.uniform(-1, 1, (classes, channels, side, side))
    level = np.array([90.0, 120.0, 150.0])[:channels, None, None]
    contrast = np.array([50.0, 30.0, 15.0])[:channels, None, None]

    def part(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = draws.permutation(np.arange(count) % classes)
        noisy = prototypes[labels] + draws.normal(0, 0.6, (count, channels, side, side))
        return (level + contrast * noisy).clip(0, 255).astype(np.uint8), labels

    return from_arrays(f"synthetic{channels}", *part(train), *part(30))


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load("digits")


@pytest.fixture(scope="session")
def gray() -> Dataset:
    """70 + 30 images of 1 × 4 × 4 pixels in 4 classes."""
    return _learnable(1, 4)


@pytest.fixture(scope="session")
def color() -> Dataset:
    """70 + 30 images of 3 × 8 × 8 pixels in 4 classes."""
    return _learnable(3, 8)


@pytest.fixture(scope="session")
def learnable() -> Callable[..., Dataset]:
    return _learnable
