"""Limits and invariances of the risk recursion (*One update, exactly*), drawn at random."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from clcore.simulate import draw_configuration
from clcore.theory import LinearTasks, Problem, Update, expected_risks

seeds = st.integers(0, 10**6)
over_all = settings(max_examples=50, deadline=None)


def drawn(seed: int) -> tuple[Problem, tuple[Update, ...], LinearTasks]:
    tasks, updates = draw_configuration(np.random.default_rng(seed))
    return Problem.from_tasks(tasks), updates, tasks


def same(one: np.ndarray, other: np.ndarray) -> None:
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * np.abs(other).max())


@given(seeds, st.floats(1e-3, 1e3))
@over_all
def test_risks_scale_with_the_square_of_all_lengths(seed: int, scale: float) -> None:
    p, updates, _ = drawn(seed)
    scaled = Problem(
        p.sizes, scale**2 * p.distances, scale**2 * p.initial, p.samples, scale * p.noise
    )
    same(expected_risks(scaled, updates), scale**2 * expected_risks(p, updates))


@given(seeds)
@over_all
def test_permuting_blocks_permutes_risks(seed: int) -> None:
    p, updates, _ = drawn(seed)
    order = np.random.default_rng(seed).permutation(len(p.sizes))
    place = np.argsort(order)
    permuted = Problem(p.sizes[order], p.distances[order], p.initial[order], p.samples, p.noise)
    moved = [Update(place[list(u.trainable)].tolist(), u.gains) for u in updates]
    same(expected_risks(permuted, moved), expected_risks(p, updates)[:, order])


@given(seeds)
@over_all
def test_splitting_a_block_splits_its_risk(seed: int) -> None:
    p, updates, tasks = drawn(seed)
    b = int(p.sizes.argmax())
    if p.sizes[b] < 2:
        return
    part = int(np.random.default_rng(seed).integers(1, p.sizes[b]))
    sizes = [*p.sizes[:b], part, p.sizes[b] - part, *p.sizes[b + 1 :]]
    split = LinearTasks(sizes, tasks.truths, tasks.samples, tasks.noise, tasks.start)
    finer = []
    for u in updates:
        moves = [(c + (c > b), g) for c, g in zip(u.trainable, u.gains, strict=True)]
        moves += [(b + 1, g) for c, g in moves if c == b]
        finer.append(Update([c for c, _ in moves], [g for _, g in moves]))
    found = expected_risks(Problem.from_tasks(split), finer)
    found[:, b] += found[:, b + 1]
    same(np.delete(found, b + 1, axis=1), expected_risks(p, updates))


@given(seeds)
@over_all
def test_small_gains_change_little_and_in_proportion(seed: int) -> None:
    p, updates, _ = drawn(seed)
    before = expected_risks(p, [Update(())] * len(updates))[-1]
    change = [
        expected_risks(p, [Update(u.trainable, eps) for u in updates])[-1] - before
        for eps in (1e-6, 2e-6)
    ]
    size = 1 + np.abs(before).max() + (p.noise**2).max()
    assert np.abs(change[0]).max() < 1e-3 * size
    np.testing.assert_allclose(change[1], 2 * change[0], atol=1e-8 * size)


@given(seeds, st.integers(10**7, 10**9))
@over_all
def test_few_samples_for_many_parameters_change_nothing(seed: int, redundant: int) -> None:
    """n / m → 0, by a block that no task needs."""
    p, updates, _ = drawn(seed)
    none = np.zeros_like(p.distances[:1])
    wide = Problem(
        [*p.sizes, redundant],
        np.concatenate([p.distances, none]),
        np.concatenate([p.initial, none[:, 0]]),
        p.samples,
        p.noise,
    )
    trained = [Update((*u.trainable, len(p.sizes))) for u in updates]
    risks = expected_risks(wide, trained)
    size = 1 + np.abs(risks[0]).max() + np.abs(p.distances).max() + (p.noise**2).max()
    moved = np.abs((risks - risks[0]).sum(axis=1)).max()
    assert moved < 1e-2 * size


@given(seeds)
@over_all
def test_a_block_without_error_may_as_well_be_frozen(seed: int) -> None:
    """m → P: nothing leaks when all that is to be learned is trainable."""
    p, updates, _ = drawn(seed)
    known = Problem(
        [*p.sizes, 7],
        np.concatenate([p.distances, np.zeros_like(p.distances[:1])]),
        np.concatenate([p.initial, np.zeros_like(p.initial[:1])]),
        p.samples,
        p.noise,
    )
    same(expected_risks(known, updates)[:, :-1], expected_risks(p, updates))


@given(seeds)
@over_all
def test_identical_tasks_have_identical_risks(seed: int) -> None:
    p, updates, tasks = drawn(seed)
    truths = np.repeat(tasks.truths[:1], len(updates), axis=0)
    equal = LinearTasks(p.sizes, truths, p.samples, p.noise, tasks.start)
    risks = expected_risks(Problem.from_tasks(equal), updates)
    same(risks, np.repeat(risks[:, :, :1], len(updates), axis=2))


@given(seeds)
@over_all
def test_without_noise_and_with_identical_tasks_learning_all_never_harms(seed: int) -> None:
    p, _, tasks = drawn(seed)
    truths = np.repeat(tasks.truths[:1], len(p.samples), axis=0)
    equal = LinearTasks(p.sizes, truths, p.samples, 0.0, tasks.start)
    whole = [Update(range(len(p.sizes)) if abs(p.sizes.sum() - n) > 1 else ()) for n in p.samples]
    total = expected_risks(Problem.from_tasks(equal), whole).sum(axis=1)
    assert (np.diff(total, axis=0) <= 1e-9 * total.max()).all()


@given(seeds)
@over_all
def test_risks_are_not_negative(seed: int) -> None:
    p, updates, _ = drawn(seed)
    risks = expected_risks(p, updates)
    assert risks.min() >= -1e-9 * risks.max()
