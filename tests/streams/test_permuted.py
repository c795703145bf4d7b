import itertools

import pytest
import torch

from clcore.errors import InputError
from clcore.streams import Dataset, Task, permuted


def orders(dataset: Dataset, fractions: list[float], seed: int = 0) -> list[torch.Tensor]:
    """Return the pixel order of every task."""
    size = dataset.train_images[0].numel()
    tasks = permuted(dataset, fractions, seed=seed).tasks
    return [torch.arange(size) if t.pixels is None else t.pixels for t in tasks]


def moved(first: torch.Tensor, second: torch.Tensor) -> int:
    return int((first != second).sum())


def test_first_task_shows_the_images_as_they_are(digits: Dataset) -> None:
    assert permuted(digits, [1.0], seed=0).tasks[0].pixels is None


@pytest.mark.parametrize("name", ["digits", "color"])
def test_every_order_is_a_permutation(name: str, request: pytest.FixtureRequest) -> None:
    dataset: Dataset = request.getfixturevalue(name)
    found = orders(dataset, [1.0, 0.3, 0.0, 0.6])
    assert len(found) == 5
    for order in found:
        assert torch.equal(order.sort().values, torch.arange(dataset.train_images[0].numel()))


def test_fraction_0_repeats_the_task(digits: Dataset) -> None:
    found = orders(digits, [1.0, 0.0])
    assert torch.equal(found[1], found[2])


def test_fraction_1_mixes_all_pixels(color: Dataset) -> None:
    # A random permutation of 192 pixels leaves one in place on average, so hardly 8 or more.
    for before, after in itertools.pairwise(orders(color, [1.0, 1.0])):
        assert moved(before, after) > 184


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.9])
def test_fraction_bounds_what_moves(color: Dataset, fraction: float) -> None:
    for before, after in itertools.pairwise(orders(color, [fraction] * 4)):
        assert fraction * 192 * 0.6 < moved(before, after) <= fraction * 192 + 0.5


def test_one_pixel_cannot_move_alone(digits: Dataset) -> None:
    found = orders(digits, [1 / 64])
    assert torch.equal(found[0], found[1])


def test_tasks_start_from_the_one_before(color: Dataset) -> None:
    """Many small steps lead away from the first order."""
    found = orders(color, [0.2] * 12)
    assert moved(found[0], found[12]) > 120 > moved(found[11], found[12])


def test_seed_decides(digits: Dataset) -> None:
    assert torch.equal(orders(digits, [1.0], 5)[1], orders(digits, [1.0], 5)[1])
    assert moved(orders(digits, [1.0], 5)[1], orders(digits, [1.0], 6)[1]) > 48
    assert moved(*orders(digits, [1.0, 1.0], 5)[1:]) > 48


def test_task_does_not_depend_on_how_many_follow(digits: Dataset) -> None:
    long, short = orders(digits, [0.5, 1.0, 0.2]), orders(digits, [0.5, 1.0])
    assert all(torch.equal(a, b) for a, b in zip(long, short, strict=False))


def test_holdout_does_not_change_the_pixels(digits: Dataset) -> None:
    pixels = permuted(digits, [1.0], seed=2, holdout=0.2).tasks[1].pixels
    assert pixels is not None
    assert torch.equal(pixels, orders(digits, [1.0], 2)[1])


def test_shape_of_the_stream(digits: Dataset) -> None:
    stream = permuted(digits, [1.0, 0.5], seed=0)
    assert (stream.name, stream.scenario, stream.outputs) == ("permuted", "domain", 10)
    assert not stream.held_out
    for task in stream.tasks:
        check_all_rows(task, digits)


def check_all_rows(task: Task, dataset: Dataset) -> None:
    assert torch.equal(task.train.sort().values, torch.arange(len(dataset.train_labels)))
    assert torch.equal(task.test.sort().values, torch.arange(len(dataset.test_labels)))
    assert torch.equal(task.outputs, torch.arange(dataset.classes))


@pytest.mark.parametrize("fraction", [2.0, -0.1, float("nan")])
def test_bad_fraction(digits: Dataset, fraction: float) -> None:
    with pytest.raises(InputError, match=f"fraction {fraction} of permuted pixels is not in"):
        permuted(digits, [0.5, fraction], seed=0)


def test_negative_seed(digits: Dataset) -> None:
    with pytest.raises(InputError, match="seed -3 is negative"):
        permuted(digits, [0.5], seed=-3)
