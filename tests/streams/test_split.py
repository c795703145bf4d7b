import pytest
import torch

from clcore.errors import InputError
from clcore.streams import SCENARIOS, Dataset, Stream, judged_on, split


def classes(stream: Stream, task: int) -> list[int]:
    """Return the classes of a task in the order of its output units."""
    units = stream.tasks[task].outputs.tolist()
    return sorted((c for c in range(10) if units[c] >= 0), key=units.__getitem__)


@pytest.mark.parametrize("tasks", [1, 2, 5, 10])
def test_every_class_is_in_one_task(digits: Dataset, tasks: int) -> None:
    stream = split(digits, tasks, seed=3)
    assert (stream.name, len(stream.tasks), stream.scenario) == ("split", tasks, "task")
    dealt = [c for k in range(tasks) for c in classes(stream, k)]
    assert sorted(dealt) == list(range(10))
    for task in stream.tasks:
        assert int((task.outputs < 0).sum()) == 10 - 10 // tasks


@pytest.mark.parametrize(
    ("scenario", "units"),
    [
        ("task", [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]),
        ("domain", [[0, 1]] * 5),
        ("class", [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]),
    ],
)
def test_output_units(digits: Dataset, scenario: str, units: list[list[int]]) -> None:
    stream = split(digits, 5, seed=3, scenario=scenario)
    assert (stream.scenario, stream.outputs) == (scenario, 2 if scenario == "domain" else 10)
    for k, task in enumerate(stream.tasks):
        assert classes(stream, k) == classes(split(digits, 5, seed=3), k)
        assert task.outputs[classes(stream, k)].tolist() == units[k]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario_changes_no_rows(digits: Dataset, scenario: str) -> None:
    stream, other = (split(digits, 5, seed=3, scenario=s) for s in (scenario, "task"))
    for one, two in zip(stream.tasks, other.tasks, strict=True):
        assert torch.equal(one.train, two.train)
        assert torch.equal(one.test, two.test)


@pytest.mark.parametrize("holdout", [0.0, 0.3])
def test_rows_are_those_of_the_classes(digits: Dataset, holdout: float) -> None:
    stream = split(digits, 5, seed=3, holdout=holdout)
    _, judged = judged_on(stream)
    for k, task in enumerate(stream.tasks):
        assert set(digits.train_labels[task.train].tolist()) == set(classes(stream, k))
        assert set(judged[task.test].tolist()) == set(classes(stream, k))


def test_rows_are_complete_and_disjoint(digits: Dataset) -> None:
    tasks = split(digits, 5, seed=3).tasks
    assert sorted(torch.cat([t.train for t in tasks]).tolist()) == list(range(1347))
    assert sorted(torch.cat([t.test for t in tasks]).tolist()) == list(range(450))


def test_held_out_rows_are_training_rows_not_trained_on(digits: Dataset) -> None:
    tasks = split(digits, 5, seed=3, holdout=0.3).tasks
    train = torch.cat([t.train for t in tasks]).tolist()
    judged = torch.cat([t.test for t in tasks]).tolist()
    assert len(judged) == round(0.3 * 1347)
    assert sorted(train + judged) == list(range(1347))


def test_seed_decides(digits: Dataset) -> None:
    dealt = [[classes(split(digits, 5, seed=s), k) for k in range(5)] for s in (0, 0, 1)]
    assert dealt[0] == dealt[1] != dealt[2]


def test_classes_are_in_random_order(digits: Dataset) -> None:
    first = {classes(split(digits, 10, seed=s), 0)[0] for s in range(30)}
    assert len(first) >= 7  # of 10; 30 fair draws hit at least 7 with probability 0.9999


@pytest.mark.parametrize("tasks", [0, -5, 3, 20])
def test_classes_that_do_not_divide(digits: Dataset, tasks: int) -> None:
    with pytest.raises(InputError, match=f"10 classes of digits do not split .* {tasks} tasks"):
        split(digits, tasks, seed=0)


def test_unknown_scenario(digits: Dataset) -> None:
    with pytest.raises(InputError, match="unknown scenario 'domian': did you mean 'domain'"):
        split(digits, 2, seed=0, scenario="domian")


def test_negative_seed(digits: Dataset) -> None:
    with pytest.raises(InputError, match="seed -1 is negative"):
        split(digits, 2, seed=-1)
