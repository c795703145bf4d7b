import math

import pytest
import torch

from clcore.errors import InputError
from clcore.streams import SCENARIOS, Dataset, corrupted, split


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("holdout", [0.0, 0.3])
def test_noise_is_all_that_a_split_stream_lacks(
    digits: Dataset, scenario: str, holdout: float
) -> None:
    levels = [0, 20, 0.5, 97, 300]
    options = {"seed": 3, "holdout": holdout, "scenario": scenario}
    noisy = corrupted(digits, 5, levels, **options)
    clean = split(digits, 5, **options)
    assert noisy.name == "corrupted"
    assert (noisy.scenario, noisy.outputs, noisy.held_out) == (scenario, clean.outputs, holdout > 0)
    assert noisy.dataset is digits
    assert len(noisy.tasks) == 5
    for found, expected, level in zip(noisy.tasks, clean.tasks, levels, strict=True):
        assert found.noise == level
        assert isinstance(found.noise, float)
        assert found.pixels is None
        for one, other in zip(found[:3], expected[:3], strict=True):
            assert torch.equal(one, other)


def test_scenario_is_task_incremental_unless_said_otherwise(digits: Dataset) -> None:
    assert corrupted(digits, 2, [1, 2], seed=0).scenario == "task"


@pytest.mark.parametrize("level", [-1, math.nan, math.inf])
def test_bad_noise(digits: Dataset, level: float) -> None:
    with pytest.raises(InputError, match=f"noise {level}: give a standard deviation from 0"):
        corrupted(digits, 2, [0.0, level], seed=0)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_noise_of_another_number_of_tasks(digits: Dataset, count: int) -> None:
    with pytest.raises(InputError, match=f"noise of {count} tasks for 2 tasks: give one number"):
        corrupted(digits, 2, [1.0] * count, seed=0)


def test_bad_input_to_split_is_refused_here_too(digits: Dataset) -> None:
    with pytest.raises(InputError, match="10 classes of digits do not split evenly into 3 tasks"):
        corrupted(digits, 3, [1.0] * 3, seed=0)
    with pytest.raises(InputError, match="unknown scenario 'tasks': did you mean 'task'"):
        corrupted(digits, 2, [1.0] * 2, seed=0, scenario="tasks")
