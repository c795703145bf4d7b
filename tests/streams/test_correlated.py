import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clcore.errors import InputError
from clcore.streams import SCENARIOS, Dataset, Stream, correlated, judged_on, split

FRACTIONS = st.sampled_from([0.0, 0.2, 0.25, 0.4, 0.6, 0.75, 1.0])


def groups(stream: Stream) -> list[list[int]]:
    """Return the classes of each task in the order of its output units."""
    return [
        sorted((c for c in range(10) if outputs[c] >= 0), key=lambda c: int(outputs[c]))
        for outputs in (task.outputs for task in stream.tasks)
    ]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5), st.lists(FRACTIONS, max_size=7), st.integers(0, 99))
def test_tasks_share_what_they_should(
    digits: Dataset, classes: int, shared: list[float], seed: int
) -> None:
    found = groups(correlated(digits, classes, shared, seed=seed))
    assert len(found) == len(shared) + 1
    last = dict.fromkeys(range(10), -1)  # the task that last had a class
    for k, group in enumerate(found):
        assert len(set(group)) == len(group) == classes
        if k:
            kept = set(group) & set(found[k - 1])
            assert len(kept) == round(classes * Fraction(shared[k - 1]))
            for c in kept:  # in their places
                assert group.index(c) == found[k - 1].index(c)
            # Nobody who stays away has been away for longer than one who comes.
            came = [last[c] for c in set(group) - kept]
            stayed = [last[c] for c in set(range(10)) - set(group) - set(found[k - 1])]
            assert max(came, default=-1) <= min(stayed, default=k)
        last |= dict.fromkeys(group, k)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_shared_is_a_split_stream(digits: Dataset, scenario: str) -> None:
    apart = correlated(digits, 2, [0.0] * 4, seed=3, scenario=scenario)
    dealt = split(digits, 5, seed=3, scenario=scenario)
    assert (apart.outputs, apart.scenario) == (dealt.outputs, scenario)
    for one, other in zip(apart.tasks, dealt.tasks, strict=True):
        for found, expected in zip(one[:3], other[:3], strict=True):
            assert torch.equal(found, expected)


def test_all_shared_repeats_the_task(digits: Dataset) -> None:
    first, second = correlated(digits, 4, [1.0], seed=0, scenario="domain").tasks
    for one, other in zip(first[:3], second[:3], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("holdout", [0.0, 0.3])
def test_rows_are_all_those_of_the_classes(digits: Dataset, holdout: float) -> None:
    stream = correlated(digits, 3, [0.4, 0.7], seed=1, holdout=holdout)
    _, judged = judged_on(stream)
    whole = correlated(digits, 3, [0.4, 0.7], seed=1)
    for task, unlimited, group in zip(stream.tasks, whole.tasks, groups(stream), strict=True):
        assert set(digits.train_labels[task.train].tolist()) == set(group)
        assert set(judged[task.test].tolist()) == set(group)
        if holdout:
            rows = torch.cat([task.train, task.test]).sort().values
            assert torch.equal(rows, unlimited.train)
        else:
            count = sum((digits.train_labels == c).sum() for c in group)
            assert len(task.train) == count


def test_what_is_kept_is_random(digits: Dataset) -> None:
    places = set()
    for seed in range(40):
        first, second = groups(correlated(digits, 4, [0.25], seed=seed))
        places |= {place for place in range(4) if first[place] == second[place]}
    assert places == {0, 1, 2, 3}


def test_task_does_not_depend_on_how_many_follow(digits: Dataset) -> None:
    long = groups(correlated(digits, 4, [0.5, 0.25, 0.75], seed=2))
    assert groups(correlated(digits, 4, [0.5, 0.25], seed=2)) == long[:3]
    assert groups(correlated(digits, 4, [0.5, 0.25], seed=3)) != long[:3]


@pytest.mark.parametrize("fraction", [1.5, -0.1, math.nan])
def test_bad_fraction(digits: Dataset, fraction: float) -> None:
    with pytest.raises(InputError, match=f"fraction {fraction} of shared classes is not in"):
        correlated(digits, 2, [0.5, fraction], seed=0)


@pytest.mark.parametrize("classes", [0, -1, 6, 11])
def test_bad_number_of_classes(digits: Dataset, classes: int) -> None:
    with pytest.raises(InputError, match=f"{classes} classes a task of digits, .* choose 1 to 5"):
        correlated(digits, classes, [0.5], seed=0)


def test_unknown_scenario(digits: Dataset) -> None:
    with pytest.raises(InputError, match="unknown scenario 'classes': did you mean 'class'"):
        correlated(digits, 2, [0.5], seed=0, scenario="classes")


def test_negative_seed(digits: Dataset) -> None:
    with pytest.raises(InputError, match="seed -3 is negative"):
        correlated(digits, 2, [0.5], seed=-3)
