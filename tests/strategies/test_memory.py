"""Reservoir sampling: against one sample at a time, and uniform over all that was shown."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import pytest
import torch
from scipy.stats import chi2

from clcore.errors import InputError
from clcore.seeds import generator
from clcore.strategies.memory import Memory
from clcore.training import Batch

SIZES = [1, 2, 5, 8, 30]
FALSE_ALARMS = 1e-4  # how often a right memory would fail one chi-square test, were seeds drawn


def shown(counts: Sequence[int], size: int, first: Sequence[int], task: int = 0) -> Batch:
    """Return a batch whose rows count on from `first`; label 2 · row, and −1 as padding."""
    within = torch.arange(size)
    rows = torch.tensor(first)[:, None] + within
    rows[within >= torch.tensor(counts)[:, None]] = -1
    images, weights = torch.zeros(len(counts), size, 1), torch.zeros(len(counts), size)
    return Batch(images, 2 * rows, weights, counts, rows, task)


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    return [generator(seed, "strategy", 0) for seed in seeds]


def fill(memory: Memory, batches: Sequence[Sequence[int]], draws: list[torch.Generator]) -> None:
    """Show each replica its samples 0, 1, …, so many of them a batch; the batch is the task."""
    first = [0] * len(draws)
    for task, counts in enumerate(batches):
        batch = shown(counts, max(*counts, 1), first, task)
        memory.add(batch, draws, tenths=batch.rows.double() / 10)
        first = [one + count for one, count in zip(first, counts, strict=True)]


# Three replicas: one falls behind, one idles at the end.
BATCHES = [(4, 4, 4), (4, 1, 4), (4, 3, 2), (4, 4, 0), (3, 4, 0), (4, 2, 0)]


def one_at_a_time(
    size: int, batches: Sequence[int], draws: torch.Generator
) -> list[tuple[int, int]]:
    """Algorithm R, as Vitter writes it, for one replica: the (row, task) that it keeps."""
    reservoir: list[tuple[int, int]] = []
    row = 0
    for task, count in enumerate(batches):
        for chance in torch.rand(count, dtype=torch.float64, generator=draws).tolist():
            if row < size:
                reservoir.append((row, task))
            else:
                place = int(chance * (row + 1))
                if place < size:
                    reservoir[place] = (row, task)
            row += 1
    return reservoir


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(5))
def test_one_sample_at_a_time(size: int, seed: int) -> None:
    seeds = [seed, seed + 10, seed + 20]
    memory, draws = Memory(size), generators(seeds)
    fill(memory, BATCHES, draws)
    assert memory.shown.tolist() == [23, 18, 10]
    for r, other in enumerate(generators(seeds)):
        expected = one_at_a_time(size, [counts[r] for counts in BATCHES], other)
        rows, tasks = memory.kept["rows"][r], memory.kept["tasks"][r]
        filled = len(expected)
        assert list(zip(rows.tolist(), tasks.tolist(), strict=True))[:filled] == expected
        assert torch.equal(memory.kept["labels"][r, :filled], 2 * rows[:filled])
        assert torch.equal(memory.kept["tenths"][r, :filled], rows[:filled].double() / 10)
        assert not memory.kept["labels"][r, filled:].any()
        assert draws[r].get_state().equal(other.get_state())


@pytest.mark.parametrize("size", SIZES)
def test_alone_or_among_others(size: int) -> None:
    memory, draws = Memory(size), generators([0, 1, 2])
    fill(memory, BATCHES, draws)
    found = memory.sample(6, draws)
    for r in range(3):
        one, own = Memory(size), generators([r])
        fill(one, [counts[r : r + 1] for counts in BATCHES], own)
        assert all(values[r].equal(one.kept[n][0]) for n, values in memory.kept.items())
        assert all(values[r].equal(found[n][r]) for n, values in found.items())
        assert one.sample(6, own)["rows"][0].equal(found["rows"][r])


def uniform(observed: Sequence[int]) -> bool:
    expected = sum(observed) / len(observed)
    statistic = sum((count - expected) ** 2 / expected for count in observed)
    return bool(chi2.sf(statistic, len(observed) - 1) > FALSE_ALARMS)


@pytest.mark.parametrize("batches", [[6], [1] * 6, [4, 2], [2, 4], [3, 3], [5, 1]])
def test_every_subset_is_equally_likely(batches: list[int]) -> None:
    """3 of 6 samples can be kept in 20 ways; each of 4,000 replicas keeps one of them."""
    replicas = 4000
    memory = Memory(3)
    fill(memory, [[count] * replicas for count in batches], generators(range(replicas)))
    kept = Counter(tuple(sorted(rows)) for rows in memory.kept["rows"].tolist())
    subsets = list(combinations(range(6), 3))
    assert set(kept) == set(subsets)
    assert uniform([kept[subset] for subset in subsets])


@pytest.mark.parametrize(("size", "counts"), [(4, (9, 4)), (10, (4, 7))])
def test_samples_are_drawn_uniformly_from_what_is_kept(size: int, counts: tuple[int, int]) -> None:
    memory, draws = Memory(size), generators([0, 1])
    fill(memory, [counts], draws)
    found = memory.sample(4000, draws)
    assert {n: v.shape for n, v in found.items()} == dict.fromkeys(memory.kept, (2, 4000))
    assert torch.equal(found["labels"], 2 * found["rows"])
    for r, count in enumerate(counts):
        drawn = Counter(found["rows"][r].tolist())
        kept = memory.kept["rows"][r, : min(count, size)].tolist()
        assert sorted(drawn) == sorted(kept)
        assert uniform([drawn[row] for row in kept])


def test_samples_of_a_batch_may_have_tasks_of_their_own() -> None:
    memory = Memory(4)
    tasks = torch.tensor([[2, 0, 1]])
    memory.add(shown([3], 3, [0])._replace(tasks=tasks), generators([0]))
    assert memory.kept["tasks"].tolist() == [[2, 0, 1, 0]]


def test_what_else_is_kept_has_its_type_and_shape() -> None:
    memory = Memory(4)
    kept = torch.arange(12.0).view(1, 3, 4)
    memory.add(shown([3], 3, [0]), generators([0]), logits=kept, flags=kept > 3)
    kept.zero_()  # the memory has a copy
    assert memory.kept["logits"].tolist()[0][:3] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert memory.kept["flags"].dtype == torch.bool
    assert memory.sample(2, generators([0]))["logits"].shape == (1, 2, 4)


def test_empty() -> None:
    assert Memory(3).sample(2, generators([0])) == {}


@pytest.mark.parametrize("size", [0, -3])
def test_bad_size(size: int) -> None:
    with pytest.raises(InputError, match=f"memory of {size} samples: keep at least 1"):
        Memory(size)
