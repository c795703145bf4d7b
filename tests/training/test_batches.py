from typing import NamedTuple

import numpy as np
import pytest
import torch

from clcore.streams import Dataset, Task, from_arrays, permuted
from clcore.training import View, samples, training_batches
from clcore.training.batches import moved

# ------------------------------------------------------------------ how images are shown


def naive(dataset: Dataset, row: int, task: Task, flat: bool) -> np.ndarray:
    """Return one image, in float64: normalized by channel, then reordered."""
    floats = dataset.train_images.numpy().astype(np.float64)
    image: np.ndarray = floats[row].copy()
    for c in range(len(image)):
        image[c] = (image[c] - floats[:, c].mean()) / floats[:, c].std()
    if task.pixels is not None:
        image = np.array([image.flat[p] for p in task.pixels.tolist()]).reshape(image.shape)
    return image.ravel() if flat else image


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("name", ["gray", "color"])
@pytest.mark.parametrize("arrived", [(0, 0), (1, 2), (0, 1)])
def test_view(
    name: str, flat: bool, arrived: tuple[int, ...], request: pytest.FixtureRequest
) -> None:
    """Two replicas, of which none, both, or one sees permuted pixels."""
    dataset: Dataset = request.getfixturevalue(name)
    stream = permuted(dataset, [1.0, 0.5], seed=0)
    tasks = [stream.tasks[k] for k in arrived]
    rows = torch.tensor([[3, 0, 69], [5, 5, 1]])
    shown = View(dataset.train_images, dataset, tasks, flat).show(rows)
    assert shown.dtype == torch.float32
    for r, task in enumerate(tasks):
        expected = np.stack([naive(dataset, row, task, flat) for row in rows[r].tolist()])
        np.testing.assert_allclose(shown[r], expected, rtol=1e-5, atol=1e-5)


def test_view_of_images_other_than_those_normalized_by(color: Dataset) -> None:
    task = permuted(color, [], seed=0).tasks[0]
    shown = View(color.test_images, color, [task], flat=False).show(torch.tensor([[2]]))
    expected = (color.test_images[2].double() - color.mean.double()[:, None, None]) / (
        color.deviation.double()[:, None, None]
    )
    np.testing.assert_allclose(shown[0, 0], expected, rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------ which samples, and when

COUNTS = (23, 17, 5)
SEEDS = (7, 8, 9)
SIZE = 5


class Seen(NamedTuple):
    """What one replica got: one batch's rows, labels and weights after the other."""

    rows: list[list[int]]
    labels: list[list[int]]
    weights: list[list[float]]


@pytest.fixture(scope="module")
def numbered() -> Dataset:
    """Images of one pixel that says their row; the normalization is switched off."""
    rows = np.arange(40, dtype=np.uint8).reshape(-1, 1, 1, 1)
    labels = np.arange(40) % 3
    dataset = from_arrays("numbered", rows, labels, rows, labels)
    return dataset._replace(mean=torch.zeros(1), deviation=torch.ones(1))


def tasks(dataset: Dataset, replicas: tuple[int, ...]) -> list[Task]:
    """Replica r trains on rows r, r + 1, …, and answers class c on unit (c + r) mod 3."""
    return [
        Task(torch.arange(r, r + COUNTS[r]), torch.arange(1), (torch.arange(3) + r) % 3)
        for r in replicas
    ]


def seen(dataset: Dataset, replicas: tuple[int, ...], epochs: int = 3, task: int = 0) -> list[Seen]:
    arrived = tasks(dataset, replicas)
    of = samples([t.train for t in arrived], dataset.train_labels, arrived)
    view = View(dataset.train_images, dataset, arrived, flat=True)
    seeds = [SEEDS[r] for r in replicas]
    found = [Seen([], [], []) for _ in replicas]
    for images, labels, weights, counts in training_batches(of, view, seeds, task, epochs, SIZE):
        assert images.shape == (len(replicas), SIZE, 1)
        for r, count in enumerate(counts):
            assert torch.equal(weights[r, count:], torch.zeros(SIZE - count))
            if count:
                found[r].rows.append(images[r, :count, 0].int().tolist())
                found[r].labels.append(labels[r, :count].tolist())
                found[r].weights.append(weights[r, :count].tolist())
    return found


def test_every_epoch_has_every_sample_once(numbered: Dataset) -> None:
    for r, replica in enumerate(seen(numbered, (0, 1, 2))):
        steps = -(-COUNTS[r] // SIZE)
        assert len(replica.rows) == 3 * steps
        epochs = [replica.rows[e * steps : (e + 1) * steps] for e in range(3)]
        for epoch in epochs:
            assert [len(batch) for batch in epoch[:-1]] == [SIZE] * (steps - 1)
            assert sorted(row for batch in epoch for row in batch) == list(range(r, r + COUNTS[r]))
        assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_weights_are_one_over_the_samples_of_the_batch(numbered: Dataset) -> None:
    for replica in seen(numbered, (0, 1, 2)):
        for batch in replica.weights:
            assert batch == pytest.approx([1 / len(batch)] * len(batch), rel=1e-6)
    last = seen(numbered, (0, 1, 2))[0].weights[4]
    assert last == pytest.approx([1 / 3] * 3)  # 23 = 4 · 5 + 3


def test_labels_are_output_units(numbered: Dataset) -> None:
    for r, replica in enumerate(seen(numbered, (0, 1, 2))):
        expected = [[(row % 3 + r) % 3 for row in batch] for batch in replica.rows]
        assert replica.labels == expected


def test_order_depends_on_the_replica_alone(numbered: Dataset) -> None:
    together = seen(numbered, (0, 1, 2))
    for r in range(3):
        assert seen(numbered, (r,)) == [together[r]]
    assert seen(numbered, (2, 0)) == [together[2], together[0]]


def test_order_depends_on_task_and_seed(numbered: Dataset) -> None:
    first = seen(numbered, (0,))[0].rows
    assert seen(numbered, (0,), task=1)[0].rows != first
    assert seen(numbered, (0,), epochs=1)[0].rows == first[:5]
    arrived = tasks(numbered, (0, 0))
    of = samples([t.train for t in arrived], numbered.train_labels, arrived)
    view = View(numbered.train_images, numbered, arrived, flat=True)
    batch = next(training_batches(of, view, [1, 2], 0, 1, SIZE))
    assert not torch.equal(batch.images[0], batch.images[1])


def test_batch_larger_than_the_task(numbered: Dataset) -> None:
    arrived = tasks(numbered, (2,))
    of = samples([t.train for t in arrived], numbered.train_labels, arrived)
    view = View(numbered.train_images, numbered, arrived, flat=True)
    batches = list(training_batches(of, view, [0], 0, 2, 64))
    assert [batch.counts for batch in batches] == [[5], [5]]
    assert batches[0].weights.sum().item() == pytest.approx(1)


def test_moved_images_against_a_loop_over_pixels() -> None:
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(1, 256, (6, 3, 5, 4), generator=draws, dtype=torch.uint8)
    moves = torch.tensor([[4, 4, 0], [4, 4, 1], [0, 8, 0], [8, 0, 1], [3, 5, 1], [6, 2, 0]])
    found = moved(images, moves)
    for n, (top, left, mirror) in enumerate(moves.tolist()):
        for y in range(5):
            for x in range(4):
                row, column = top + y - 4, left + (3 - x if mirror else x) - 4
                inside = 0 <= row < 5 and 0 <= column < 4
                expected = images[n, :, row, column].tolist() if inside else [0, 0, 0]
                assert found[n, :, y, x].tolist() == expected
    assert found[0].equal(images[0])
    assert found[1].equal(images[1].flip(2))


def test_augmentation_belongs_to_the_replica(color: Dataset) -> None:
    seeds = [3, 4]
    streams = [permuted(color, [], seed=s) for s in seeds]
    of = samples(
        [s.tasks[0].train for s in streams], color.train_labels, [s.tasks[0] for s in streams]
    )
    view = View(color.train_images, color, [s.tasks[0] for s in streams], flat=False)
    together = list(training_batches(of, view, seeds, 0, 2, SIZE, augment=True))
    for r, seed in enumerate(seeds):
        own = samples([streams[r].tasks[0].train], color.train_labels, [streams[r].tasks[0]])
        alone_view = View(color.train_images, color, [streams[r].tasks[0]], flat=False)
        alone = list(training_batches(own, alone_view, [seed], 0, 2, SIZE, augment=True))
        plain = list(training_batches(own, alone_view, [seed], 0, 2, SIZE))
        assert len(alone) == len(plain) == len(together)
        for one, other, unmoved in zip(alone, together, plain, strict=True):
            assert one.images[0].equal(other.images[r])
            assert one.labels.equal(unmoved.labels)
        assert any(not a.images.equal(b.images) for a, b in zip(alone, plain, strict=True))
    half = len(together) // 2
    assert any(
        not a.images.equal(b.images) for a, b in zip(together[:half], together[half:], strict=True)
    )
