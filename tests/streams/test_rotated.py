import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.linear_model import LogisticRegression

from clcore.errors import InputError
from clcore.streams import Dataset, from_arrays, rotated
from clcore.streams.torchvision_import import torchvision_datasets

ANGLES = (0.0, 1.0, 17.0, 37.0, 45.0, 77.3, 90.0, 123.4, 143.0, 180.0, 225.0, 270.0, -30.0, 725.0)


def made(channels: int, height: int, width: int) -> Dataset:
    """Return two images a part, all of whose pixels are above 0."""
    draws = np.random.default_rng(height * width + channels)
    images = draws.integers(1, 256, (2, channels, height, width), dtype=np.uint8)
    return from_arrays("made", images, np.arange(2), images, np.arange(2))


def order(dataset: Dataset, angle: float) -> torch.Tensor:
    pixels = rotated(dataset, [angle], seed=0).tasks[0].pixels
    assert pixels is not None
    return pixels


def shown(images: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Return images in an order of pixels, one by one."""
    found = torch.zeros_like(images)
    for image, result in zip(images.flatten(1), found.flatten(1), strict=True):
        for place, pixel in enumerate(pixels.tolist()):
            if pixel >= 0:
                result[place] = image[pixel]
    return found


def rotate(image: Any, angle: float) -> Any:
    torchvision_datasets()  # makes torchvision importable
    from torchvision.transforms import functional

    return functional.rotate(image, angle)


def of_torchvision(image: torch.Tensor, angle: float) -> torch.Tensor:
    """Return torchvision's rotation of a photograph, as in the code of Buzzega et al."""
    channels = image.permute(1, 2, 0).numpy()
    photograph = Image.fromarray(channels if len(image) == 3 else channels[..., 0])
    turned = np.array(rotate(photograph, angle))
    return torch.from_numpy(turned).reshape(*image.shape[1:], -1).permute(2, 0, 1)


@pytest.mark.parametrize("angle", ANGLES)
def test_digits_turn_as_torchvision_turns_them(digits: Dataset, angle: float) -> None:
    images = digits.train_images[:20]
    found = shown(images, order(digits, angle))
    assert torch.equal(found, torch.stack([of_torchvision(image, angle) for image in images]))
    assert torch.equal(found, rotate(images, angle))  # the same of tensors


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([1, 3]), st.integers(1, 12), st.integers(1, 12), st.floats(-720, 720, width=32)
)
def test_images_of_any_shape_turn_as_torchvision_turns_them(
    channels: int, height: int, width: int, angle: float
) -> None:
    dataset = made(channels, height, width)
    found = shown(dataset.train_images, order(dataset, angle))
    for one, image in zip(found, dataset.train_images, strict=True):
        assert torch.equal(one, of_torchvision(image, angle))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 20, 31)])
def test_rounding_aside_tensors_turn_equally(shape: tuple[int, int, int]) -> None:
    """Of tensors, torchvision computes in float32, and rounds a few ties the other way."""
    dataset = made(*shape)
    for angle in np.random.default_rng(1).uniform(0, 180, 20):
        found = shown(dataset.train_images[:1], order(dataset, angle))
        differ = (found != rotate(dataset.train_images[:1], angle)).any(1)
        assert differ.sum() <= 4


def test_quarter_turns_are_those_of_a_table() -> None:
    """Worked by hand: counter-clockwise, the right column becomes the top row."""
    table = made(1, 3, 3)
    assert order(table, 90).tolist() == [2, 5, 8, 1, 4, 7, 0, 3, 6]
    assert order(table, 180).tolist() == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert order(table, -90).tolist() == [6, 3, 0, 7, 4, 1, 8, 5, 2]
    assert order(table, 360).tolist() == list(range(9))


def test_what_comes_from_outside_is_black() -> None:
    """A wide image, upright: nothing stands left and right of it."""
    pixels = order(made(1, 1, 5), 90).tolist()
    assert pixels == [-1, -1, 2, -1, -1]


def test_every_channel_turns_alike(color: Dataset) -> None:
    channels = order(color, 30).view(3, 64)
    for channel in (1, 2):
        black = channels[0] < 0
        assert torch.equal(channels[channel] < 0, black)
        assert torch.equal(channels[channel][~black], channels[0][~black] + 64 * channel)


def test_task_k_has_angle_k(digits: Dataset) -> None:
    stream = rotated(digits, [0, 90, 45], seed=3)
    assert len(stream.tasks) == 3
    for task, angle in zip(stream.tasks, (0, 90, 45), strict=True):
        assert task.pixels is not None
        assert torch.equal(task.pixels, order(digits, angle))


def test_shape_of_the_stream(digits: Dataset) -> None:
    stream = rotated(digits, [0, 10], seed=0)
    assert (stream.name, stream.scenario, stream.outputs) == ("rotated", "domain", 10)
    assert not stream.held_out
    for task in stream.tasks:
        assert torch.equal(task.train, torch.arange(1347))
        assert torch.equal(task.test, torch.arange(450))
        assert torch.equal(task.outputs, torch.arange(10))
    held_out = rotated(digits, [0, 10], seed=0, holdout=0.2)
    assert held_out.held_out
    assert len(held_out.tasks[1].train) + len(held_out.tasks[1].test) == 1347


def angle_of(pixels: torch.Tensor | None) -> float:
    """Return by how many degrees an order turns: the mean over its pixels, far out ones first."""
    assert pixels is not None
    side = math.isqrt(len(pixels))
    middle = side // 2

    def points(places: np.ndarray) -> np.ndarray:
        return (places % side - middle) - 1j * (places // side - middle)

    found = pixels.numpy()
    turned = points(np.arange(len(found))) * points(found).conj()
    return math.degrees(np.angle(turned[found >= 0].sum()))


def test_spread_draws_angles_uniformly() -> None:
    """As Buzzega et al. draw them: from 0° to 180°."""
    dataset = made(1, 41, 41)
    tasks = [t for s in range(20) for t in rotated(dataset, [0] * 10, seed=s, spread=180).tasks]
    angles = np.sort([angle_of(task.pixels) for task in tasks])
    assert angles[0] > -0.5
    # The largest distance between the distributions: above 0.138 in one of 1000 fair draws.
    assert np.abs(angles / 180 - np.arange(0.5, 200) / 200).max() < 0.138


def test_spread_starts_at_the_angle() -> None:
    """As Lopez-Paz and Ranzato draw them: one angle out of each interval."""
    lows = np.arange(0, 90, 9)
    stream = rotated(made(1, 41, 41), lows.tolist(), seed=1, spread=9)
    drawn = np.array([angle_of(task.pixels) for task in stream.tasks]) - lows
    assert drawn.min() > -0.5
    assert drawn.max() < 9.5
    assert drawn.std() > 1


@pytest.mark.parametrize("angle", [0.0, 3.0, 77.7, 170.0])
def test_angle_is_read_off_well_enough(angle: float) -> None:
    assert angle_of(order(made(1, 41, 41), angle)) == pytest.approx(angle, abs=0.5)


def test_seed_draws_the_angles_and_nothing_else_does(digits: Dataset) -> None:
    def orders(tasks: int, seed: int, **options: float) -> list[tuple[int, ...]]:
        stream = rotated(digits, [0] * tasks, seed=seed, **options)
        return [tuple(t.pixels.tolist()) for t in stream.tasks if t.pixels is not None]

    five = orders(5, 1, spread=180)
    assert len(set(five)) == 5
    assert five == orders(5, 1, spread=180) != orders(5, 2, spread=180)
    assert five[:3] == orders(3, 1, spread=180)
    assert five == orders(5, 1, spread=180, holdout=0.3)
    assert orders(2, 1) == orders(2, 2)


def test_from_identical_to_unrelated(digits: Dataset) -> None:
    """A classifier of upright digits answers those at 90° by chance."""
    learned = LogisticRegression(max_iter=300)
    learned.fit(digits.train_images.flatten(1) / 16, digits.train_labels)

    def accuracy(angle: float) -> float:
        images = shown(digits.test_images, order(digits, angle)).flatten(1)
        return float(learned.score(images / 16, digits.test_labels))

    found = [accuracy(angle) for angle in (0, 15, 30, 60, 90)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.95
    assert found[-1] < 0.15


@pytest.mark.parametrize("angle", [math.nan, math.inf, -math.inf])
def test_bad_angle(digits: Dataset, angle: float) -> None:
    with pytest.raises(InputError, match=f"angle {angle} is not finite: give degrees"):
        rotated(digits, [0.0, angle], seed=0)


@pytest.mark.parametrize("spread", [-1.0, math.nan, math.inf])
def test_bad_spread(digits: Dataset, spread: float) -> None:
    with pytest.raises(InputError, match=f"spread {spread} of the angles: give degrees from 0"):
        rotated(digits, [0.0], seed=0, spread=spread)


def test_no_angles(digits: Dataset) -> None:
    with pytest.raises(InputError, match="no angles: give one for each task"):
        rotated(digits, [], seed=0)


def test_negative_seed(digits: Dataset) -> None:
    with pytest.raises(InputError, match="seed -2 is negative"):
        rotated(digits, [0.0], seed=-2)
