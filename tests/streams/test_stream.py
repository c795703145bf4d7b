import importlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import clcore.streams
from clcore.errors import InputError
from clcore.streams import (
    SCENARIOS,
    Dataset,
    Stream,
    Task,
    competing,
    correlated,
    corrupted,
    judged_on,
    judged_rows,
    permuted,
    rotated,
    split,
)


@pytest.mark.parametrize(
    "name", ["corrupted", "datasets", "permuted", "rotated", "split", "stream"]
)
def test_everything_public_is_exported(name: str) -> None:
    module = importlib.import_module(f"clcore.streams.{name}")
    own = {
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
    }
    assert own
    assert own <= set(clcore.streams.__all__)


def three_tasks(dataset: Dataset, scenario: str, outputs: list[list[int]]) -> Stream:
    rows = torch.arange(3)
    tasks = tuple(Task(rows, rows, torch.tensor(units)) for units in outputs)
    return Stream("made", dataset, tasks, scenario, 5, False)


@pytest.mark.parametrize(
    ("scenario", "seen", "expected"),
    [
        ("task", 1, ["01...", "..23.", ".1..4"]),
        ("task", 3, ["01...", "..23.", ".1..4"]),
        ("domain", 1, ["01234"] * 3),
        ("domain", 3, ["01234"] * 3),
        ("class", 1, ["01..."] * 3),
        ("class", 2, ["0123."] * 3),
        ("class", 3, ["01234"] * 3),
    ],
)
def test_which_outputs_compete(
    digits: Dataset, scenario: str, seen: int, expected: list[str]
) -> None:
    """Three tasks of two classes each, worked by hand; the last one shares unit 1."""
    stream = three_tasks(digits, scenario, [[1, 0, -1, -1], [-1, -1, 3, 2], [1, -1, -1, 4]])
    found = competing(stream, seen)
    assert found.dtype == torch.bool
    assert [
        "".join(str(unit) if takes_part else "." for unit, takes_part in enumerate(row))
        for row in found.tolist()
    ] == expected


def streams(dataset: Dataset, seed: int, holdout: float, scenario: str) -> list[Stream]:
    options = {"seed": seed, "holdout": holdout}
    return [
        permuted(dataset, [0.5, 1.0], **options),
        rotated(dataset, [0, 10, 90], spread=30, **options),
        split(dataset, 5, scenario=scenario, **options),
        correlated(dataset, 4, [0.5, 0.0, 0.25, 1.0], scenario=scenario, **options),
        corrupted(dataset, 2, [0, 50], scenario=scenario, **options),
    ]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**40), st.sampled_from([0.0, 0.2, 0.7]), st.sampled_from(SCENARIOS))
def test_every_stream_is_sound(digits: Dataset, seed: int, holdout: float, scenario: str) -> None:
    for stream in streams(digits, seed, holdout, scenario):
        assert stream.held_out == (holdout > 0)
        _, judged = judged_on(stream)
        used = set()
        for k, task in enumerate(stream.tasks):
            units = task.outputs[task.outputs >= 0].tolist()
            assert len(set(units)) == len(units)  # no two classes share one
            assert set(units) <= set(range(stream.outputs))
            used |= set(units)
            # The rows are those of the task's classes, each once, and all of them.
            assert set(task.outputs[digits.train_labels[task.train]].tolist()) == set(units)
            assert set(task.outputs[judged[task.test]].tolist()) == set(units)
            assert len(set(task.train.tolist())) == len(task.train)
            assert len(set(task.test.tolist())) == len(task.test)
            if holdout:
                assert not set(task.train.tolist()) & set(task.test.tolist())
            # An answer can be right from when the task has arrived.
            assert bool(competing(stream, k + 1)[k, units].all())
            if task.pixels is not None:
                assert task.pixels.shape == (64,)
                assert bool(((task.pixels >= -1) & (task.pixels < 64)).all())
        assert used == set(range(stream.outputs))


def test_without_holdout_all_train_rows_and_all_test_rows(digits: Dataset) -> None:
    train, test = judged_rows(digits, 0, 0.0)
    assert torch.equal(train, torch.arange(1347))
    assert torch.equal(test, torch.arange(450))


def test_holdout_is_disjoint_random_and_seeded(digits: Dataset) -> None:
    train, judged = judged_rows(digits, 4, 0.25)
    assert len(judged) == round(0.25 * 1347)
    assert sorted(train.tolist() + judged.tolist()) == list(range(1347))
    assert torch.equal(judged_rows(digits, 4, 0.25)[1], judged)
    other = judged_rows(digits, 5, 0.25)[1]
    assert len(set(judged.tolist()) & set(other.tolist())) < 0.5 * len(judged)


def test_judged_images_are_those_the_rows_point_to(digits: Dataset) -> None:
    images, labels = judged_on(permuted(digits, [], seed=0))
    assert images is digits.test_images
    assert labels is digits.test_labels
    images, labels = judged_on(permuted(digits, [], seed=0, holdout=0.1))
    assert images is digits.train_images
    assert labels is digits.train_labels


@pytest.mark.parametrize("holdout", [1.5, 1.0, -0.1, float("nan")])
def test_bad_holdout(digits: Dataset, holdout: float) -> None:
    with pytest.raises(InputError, match=f"holdout {holdout} is not in"):
        judged_rows(digits, 0, holdout)


@pytest.mark.parametrize(("holdout", "takes"), [(1e-6, 0), (1 - 1e-6, 1347)])
def test_holdout_that_leaves_nothing(digits: Dataset, holdout: float, takes: int) -> None:
    with pytest.raises(
        InputError, match=f"holdout {holdout} of 1347 training images takes {takes}"
    ):
        judged_rows(digits, 0, holdout)
