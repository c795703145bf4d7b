import itertools
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.stats import norm

from clcore.networks import MLP
from clcore.streams import Dataset, Stream, Task, from_arrays, permuted
from clcore.streams.batches import Batch, View, moved, samples, training_batches
from clcore.training import Run

# ------------------------------------------------------------------ how images are shown


def naive(dataset: Dataset, row: int, task: Task, flat: bool) -> np.ndarray:
    """Return one image, in float64: normalized by channel, then reordered.

    A black pixel is black in the channel where it is shown.
    """
    floats = dataset.train_images.numpy().astype(np.float64)
    image: np.ndarray = floats[row].copy()
    black = np.zeros_like(image)
    for c in range(len(image)):
        for shown in (image, black):
            shown[c] = (shown[c] - floats[:, c].mean()) / floats[:, c].std()
    if task.pixels is not None:
        places = [
            image.flat[p] if p >= 0 else black.flat[i] for i, p in enumerate(task.pixels.tolist())
        ]
        image = np.array(places).reshape(image.shape)
    return image.ravel() if flat else image


def with_black(task: Task, number: int, seed: int) -> Task:
    """Return a task that shows a third of its pixels as black."""
    pixels = torch.arange(number) if task.pixels is None else task.pixels.clone()
    chosen = torch.randperm(number, generator=torch.Generator().manual_seed(seed))
    pixels[chosen[: number // 3]] = -1
    return task._replace(pixels=pixels)


def tasks_of(dataset: Dataset, seed: int) -> tuple[Task, ...]:
    """Return a task as it is, two permuted ones, two with black pixels, one with noise."""
    stream = permuted(dataset, [1.0, 0.5], seed=seed)
    number = dataset.train_images[0].numel()
    black = [with_black(task, number, seed) for task in stream.tasks[:2]]
    return (*stream.tasks, *black, stream.tasks[1]._replace(noise=25.0))


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("name", ["gray", "color"])
@pytest.mark.parametrize("arrived", [(0, 0), (1, 2), (0, 1), (3, 0), (4, 1)])
def test_view(
    name: str, flat: bool, arrived: tuple[int, ...], request: pytest.FixtureRequest
) -> None:
    """Two replicas, of which none, both, or one sees permuted pixels, or black ones."""
    dataset: Dataset = request.getfixturevalue(name)
    tasks = [tasks_of(dataset, 0)[k] for k in arrived]
    rows = torch.tensor([[3, 0, 69], [5, 5, 1]])
    shown = View(dataset.train_images, dataset, [(task,) for task in tasks], flat).show(rows, 0)
    assert shown.dtype == torch.float32
    for r, task in enumerate(tasks):
        expected = np.stack([naive(dataset, row, task, flat) for row in rows[r].tolist()])
        np.testing.assert_allclose(shown[r], expected, rtol=1e-5, atol=1e-5)


def test_view_of_images_other_than_those_normalized_by(color: Dataset) -> None:
    view = View(color.test_images, color, [permuted(color, [], seed=0).tasks], flat=False)
    shown = view.show(torch.tensor([[2]]), 0)
    expected = (color.test_images[2].double() - color.mean.double()[:, None, None]) / (
        color.deviation.double()[:, None, None]
    )
    np.testing.assert_allclose(shown[0, 0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("name", ["gray", "color"])
def test_view_of_many_tasks_against_one_image_at_a_time(
    name: str, flat: bool, moves: bool, request: pytest.FixtureRequest
) -> None:
    dataset: Dataset = request.getfixturevalue(name)
    streams = [tasks_of(dataset, seed) for seed in (3, 4)]
    draws = torch.Generator().manual_seed(5)
    tasks = torch.stack([torch.randperm(12, generator=draws) % 6 for _ in streams])
    rows = torch.randint(70, tasks.shape, generator=draws)
    given = torch.randint(2, (*tasks.shape, 3), generator=draws) if moves else None
    together = View(dataset.train_images, dataset, streams, flat).show(rows, tasks, given)
    for r, n in itertools.product(range(2), range(12)):
        row, k = int(rows[r, n]), int(tasks[r, n])
        move = None if given is None else given[r, n].view(1, 1, 3)
        one = View(dataset.train_images, dataset, [streams[r]], flat)
        assert together[r, n].equal(one.show(torch.tensor([[row]]), k, move)[0, 0])
        if not moves and streams[r][k].noise == 0:
            expected = naive(dataset, row, streams[r][k], flat)
            np.testing.assert_allclose(together[r, n], expected, rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------ noise


def plain(level: int, channels: int = 1, images: int = 200) -> Dataset:
    """Return images of one grey level; the normalization is switched off."""
    pixels = np.full((images, channels, 16, 16), level, dtype=np.uint8)
    dataset = from_arrays("plain", pixels, np.arange(images) % 2, pixels[:-1], pixels[:-1, 0, 0, 0])
    ones = torch.ones(channels)
    return dataset._replace(mean=0 * ones, deviation=ones)


def noisy(dataset: Dataset, *levels: float) -> tuple[Task, ...]:
    task = Task(torch.arange(200), torch.arange(199), torch.arange(2))
    return tuple(task._replace(noise=level) for level in levels)


@pytest.mark.parametrize("channels", [1, 3])
def test_noise_is_as_strong_as_asked(channels: int) -> None:
    dataset = plain(128, channels)
    view = View(dataset.train_images, dataset, [noisy(dataset, 20.0, 0.0)], flat=False)
    shown = view.show(torch.arange(200)[None], 0)[0].double()
    assert shown.equal(shown.round())
    for c in range(channels):  # 51,200 values: the standard error of the deviation is 0.06
        assert shown[:, c].std().item() == pytest.approx((400 + 1 / 12) ** 0.5, abs=0.3)
        assert shown[:, c].mean().item() == pytest.approx(128, abs=0.4)
    # Neither pixels, nor channels, nor images have the same noise.
    flat = shown.flatten(1)
    for values in (flat, flat.T):
        angles = torch.corrcoef(values[:100])[~torch.eye(100, dtype=torch.bool)]
        assert angles.abs().max() < 0.4
    assert view.show(torch.arange(200)[None], 1).eq(128).all()


@pytest.mark.parametrize(("level", "bound", "inside"), [(250, 255, 4.5), (3, 0, 2.5)])
def test_noise_leaves_grey_levels(level: int, bound: int, inside: float) -> None:
    dataset = plain(level)
    view = View(dataset.train_images, dataset, [noisy(dataset, 50.0)], flat=True)
    shown = view.show(torch.arange(200)[None], 0)
    assert shown.min() >= 0
    assert shown.max() <= 255
    share = shown.eq(bound).double().mean().item()
    assert share == pytest.approx(norm.sf(inside / 50), abs=0.01)


def test_an_image_always_has_the_same_noise() -> None:
    dataset = plain(128)
    streams = [noisy(dataset, 10.0, 20.0), noisy(dataset, 20.0, 10.0)]
    view = View(dataset.train_images, dataset, streams, flat=True)
    first = view.show(torch.tensor([[7, 8], [9, 7]]), torch.tensor([[0, 0], [0, 1]]))
    assert first[0, 0].equal(first[1, 1])
    assert not first[0, 0].equal(first[0, 1])
    again = View(dataset.train_images, dataset, streams[1:], flat=True)
    assert again.show(torch.tensor([[9, 7]]), torch.tensor([[0, 1]]))[0].equal(first[1])
    # The same pattern, twice as strong, up to rounding.
    stronger = view.show(torch.tensor([[7], [7]]), 1)[0, 0]
    assert ((stronger - 128) - 2 * (first[0, 0] - 128)).abs().max() <= 1.5


@pytest.mark.parametrize(("held_out", "as_many"), [(False, False), (False, True), (True, False)])
def test_judged_images_have_noise_of_their_own(held_out: bool, as_many: bool) -> None:
    dataset = plain(128)
    test_images = dataset.train_images[: 200 if as_many else 199]
    dataset = dataset._replace(test_images=test_images, test_labels=torch.zeros(len(test_images)))
    stream = Stream("noisy", dataset, noisy(dataset, 20.0), "domain", 2, held_out)
    run = Run([stream], MLP(256, [2], 2), [0], dataset, torch.zeros(1))
    rows = torch.arange(199)[None]
    one, other = (view.show(rows, 0).flatten() for view in (run._trained, run._judged))
    assert abs(torch.corrcoef(torch.stack([one, other]))[0, 1].item()) < 0.03


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


def streams_of(dataset: Dataset, replicas: tuple[int, ...]) -> list[Stream]:
    """Replica r trains on rows r, r + 1, …, and answers class c on unit (c + r) mod 3.

    So it does in the first task; in the second one it has three rows less, shows black, and has
    three units of its own.
    """
    found = []
    for r in replicas:
        rows, units = torch.arange(r, r + COUNTS[r]), (torch.arange(3) + r) % 3
        first = Task(rows, torch.arange(r + 1), units)
        second = Task(rows[3:], torch.arange(2), units + 3, torch.tensor([-1]))
        found.append(Stream("numbered", dataset, (first, second), "task", 6, False))
    return found


def seen(dataset: Dataset, replicas: tuple[int, ...], epochs: int = 3, task: int = 0) -> list[Seen]:
    streams = streams_of(dataset, replicas)
    of = samples(streams, (0,), dataset.train_labels)
    view = View(dataset.train_images, dataset, [s.tasks for s in streams], flat=True)
    seeds = [SEEDS[r] for r in replicas]
    found = [Seen([], [], []) for _ in replicas]
    for batch in training_batches(of, view, seeds, task, epochs, SIZE):
        images, labels, weights, counts, rows, tasks = batch
        assert images.shape == (len(replicas), SIZE, 1)
        assert rows.equal(images[..., 0].long())
        assert tasks == 0
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
    streams = streams_of(numbered, (0, 0))
    of = samples(streams, (0,), numbered.train_labels)
    view = View(numbered.train_images, numbered, [s.tasks for s in streams], flat=True)
    batch = next(training_batches(of, view, [1, 2], 0, 1, SIZE))
    assert not torch.equal(batch.images[0], batch.images[1])


def test_batch_larger_than_the_task(numbered: Dataset) -> None:
    streams = streams_of(numbered, (2,))
    of = samples(streams, (0,), numbered.train_labels)
    view = View(numbered.train_images, numbered, [s.tasks for s in streams], flat=True)
    batches = list(training_batches(of, view, [0], 0, 2, 64))
    assert [batch.counts for batch in batches] == [[5], [5]]
    assert batches[0].weights.sum().item() == pytest.approx(1)


# ------------------------------------------------------------------ samples of several tasks


@pytest.mark.parametrize("judged", [False, True])
@pytest.mark.parametrize("tasks", [(0,), (1,), (0, 1), (1, 0)])
def test_samples_against_a_loop(numbered: Dataset, tasks: tuple[int, ...], judged: bool) -> None:
    streams = streams_of(numbered, (0, 1, 2))
    found = samples(streams, tasks, numbered.train_labels, judged=judged)
    for r, stream in enumerate(streams):
        expected = []
        for k in tasks:
            task = stream.tasks[k]
            for row in (task.test if judged else task.train).tolist():
                unit = int(task.outputs[row % 3])
                expected.append((row, unit, k))
        assert found.counts[r] == len(expected)
        whose = torch.as_tensor(found.tasks).expand_as(found.rows)
        kept = (of[r, : found.counts[r]].tolist() for of in (found.rows, found.labels, whose))
        assert list(zip(*kept, strict=True)) == expected
    assert found.rows.shape == found.labels.shape == (3, max(found.counts))


def test_batches_of_several_tasks(numbered: Dataset) -> None:
    """Each epoch has every sample of both tasks once, each shown as its own task shows it."""
    streams = streams_of(numbered, (0, 1, 2))
    of = samples(streams, (0, 1), numbered.train_labels)
    view = View(numbered.train_images, numbered, [s.tasks for s in streams], flat=True)
    batches = list(training_batches(of, view, SEEDS, 1, 2, SIZE))
    for r, stream in enumerate(streams):
        met = []
        for batch in batches:
            assert isinstance(batch.tasks, torch.Tensor)
            for n in range(batch.counts[r]):
                row, k = int(batch.rows[r, n]), int(batch.tasks[r, n])
                assert batch.images[r, n].item() == (0 if k else row)
                assert batch.labels[r, n] == stream.tasks[k].outputs[row % 3]
                met.append((k, row))
        everything = sorted((k, row) for k in (0, 1) for row in stream.tasks[k].train.tolist())
        half = len(everything)
        assert sorted(met[:half]) == sorted(met[half:]) == everything
        assert met[:half] != met[half:]
        assert {k for k, _ in met[: half // 2]} == {0, 1}  # mixed, not one after the other


def test_batch_behind_another() -> None:
    def made(size: int, counts: list[int], tasks: int | torch.Tensor) -> Batch:
        draws = torch.Generator().manual_seed(size)
        images, weights = torch.rand(2, size, 3, generator=draws), torch.rand(2, size)
        rows = torch.randint(9, (2, size), generator=draws)
        return Batch(images, rows + 1, weights, counts, rows, tasks)

    front = made(2, [2, 2], torch.tensor([[0, 1], [1, 0]]))
    behind = made(3, [3, 1], 2)
    found = behind.after(front)
    assert list(found.counts) == [5, 3]
    assert isinstance(found.tasks, torch.Tensor)
    assert found.tasks.tolist() == [[0, 1, 2, 2, 2], [1, 0, 2, 2, 2]]
    for name in ("images", "labels", "weights", "rows"):
        whole = getattr(found, name)
        assert whole[:, :2].equal(getattr(front, name))
        assert whole[:, 2:].equal(getattr(behind, name))


# ------------------------------------------------------------------ augmentation


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
    of = samples(streams, (0,), color.train_labels)
    view = View(color.train_images, color, [s.tasks for s in streams], flat=False)
    together = list(training_batches(of, view, seeds, 0, 2, SIZE, augment=True))
    for r, seed in enumerate(seeds):
        own = samples(streams[r : r + 1], (0,), color.train_labels)
        alone_view = View(color.train_images, color, [streams[r].tasks], flat=False)
        alone = list(training_batches(own, alone_view, [seed], 0, 2, SIZE, augment=True))
        unmoved = list(training_batches(own, alone_view, [seed], 0, 2, SIZE))
        assert len(alone) == len(unmoved) == len(together)
        for one, other, still in zip(alone, together, unmoved, strict=True):
            assert one.images[0].equal(other.images[r])
            assert one.labels.equal(still.labels)
        assert any(not a.images.equal(b.images) for a, b in zip(alone, unmoved, strict=True))
    half = len(together) // 2
    assert any(
        not a.images.equal(b.images) for a, b in zip(together[:half], together[half:], strict=True)
    )
