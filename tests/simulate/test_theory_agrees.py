"""The risk recursion (*One update, exactly*) against simulation, over all configurations."""

import numpy as np

from clcore.simulate import (
    Estimate,
    bonferroni,
    draw_configuration,
    largest_score,
    simulate_risks,
    z_scores,
)
from clcore.theory import Problem, expected_risks

CONFIGURATIONS = 220
TRIALS = 2500


def test_closed_form_equals_simulation() -> None:
    rng = np.random.default_rng(0)
    scores = []
    for seed in range(CONFIGURATIONS):
        tasks, updates = draw_configuration(rng)
        expected = expected_risks(Problem.from_tasks(tasks), updates)
        scores.append(
            z_scores(expected, simulate_risks(tasks, updates, TRIALS, seed).risks).ravel()
        )
    largest, comparisons = largest_score(np.concatenate(scores))
    assert comparisons > 2000
    assert largest < bonferroni(comparisons, level=0.01)
    # Far too good would be as wrong: the squares of correct z-scores average near 1.
    every = np.concatenate(scores)
    assert 0.8 < np.nanmean(every**2) < 1.3


def test_configurations_cover_the_range() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_configuration(rng) for _ in range(CONFIGURATIONS)]
    kinds = set()
    for tasks, updates in drawn:
        for update, n in zip(updates, tasks.samples, strict=True):
            m = int(tasks.sizes[list(update.trainable)].sum())
            kinds.add("stay" if m == 0 else "over" if m > n else "under")
            kinds.add("partial" if 0 < len(update.trainable) < len(tasks.sizes) else "whole")
            kinds |= {"gain" if g < 1 else "no gain" for g in update.gains}
            assert m == 0 or abs(m - n) >= 10
        kinds |= {"noise" if s > 0 else "no noise" for s in tasks.noise}
    assert len(kinds) == 9


def test_scores_see_what_is_wrong_and_skip_what_says_nothing() -> None:
    expected = np.ones((3, 1, 2))
    expected[1] = 2.0
    mean = expected.copy()
    mean[1, 0] = [2.3, 2.0]
    error = np.zeros_like(mean)
    error[1] = 0.1
    scores = z_scores(expected, Estimate(mean, error))
    np.testing.assert_allclose(scores[0, 0], [3.0, 0.0])
    assert np.isnan(scores[1]).all()  # moved without spread, to exactly what was expected
    mean[2, 0, 0] = 1.1
    assert z_scores(expected, Estimate(mean, error))[1, 0, 0] == np.inf
    assert largest_score(scores) == (np.abs(scores[0]).max(), 2)


def test_bonferroni_bounds_the_family() -> None:
    rng = np.random.default_rng(0)
    threshold = bonferroni(50, level=0.1)
    alarms = (np.abs(rng.normal(size=(20_000, 50))).max(axis=1) > threshold).mean()
    assert 0.09 < alarms < 0.102
