"""Deterministic equivalents: against simulation, against the isotropic closed forms, in limits.

Book: *When features are not isotropic*, theorems "Deterministic equivalents of an update" and "The
gradient-direction law with curvature", corollary "Two special cases".
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import minimize

from clcore.errors import InputError
from clcore.simulate import IndependentFeatures, Proximal, simulate_risks
from clcore.theory import (
    LinearTasks,
    Problem,
    Update,
    anisotropic_gains,
    anisotropic_risks,
    curved_gains,
    effective_ridge,
    expected_risks,
    moments,
    proximal_step,
)
from clcore.theory.validation import FloatArray


def _covariance(rng: np.random.Generator, size: int, rotated: bool = True) -> FloatArray:
    """Return a matrix with eigenvalues spread over a factor of about 30, whatever its size."""
    decay = rng.uniform(0.5, 1.0)
    values = (np.arange(1, size + 1) / size + 0.03) ** -decay
    if not rotated:
        return np.diag(rng.permutation(values))
    basis = np.linalg.qr(rng.normal(size=(size, size)))[0]
    return (basis * values) @ basis.T


def _tasks(rng: np.random.Generator, sizes: list[int], samples: list[int]) -> LinearTasks:
    parameters = sum(sizes)
    common = rng.normal(size=parameters)
    truths = (common + rng.normal(size=(len(samples), parameters))) / np.sqrt(parameters)
    return LinearTasks(sizes, truths, samples, rng.uniform(0, 1, len(samples)), truths.mean(0) / 2)


def _deviation(
    tasks: LinearTasks,
    updates: Sequence[Update],
    covariances: FloatArray,
    strengths: npt.ArrayLike,
    trials: int,
    seed: int,
) -> tuple[FloatArray, FloatArray]:
    """Return the relative deviations of total risks from simulation, and their standard errors."""
    expected = anisotropic_risks(tasks, updates, covariances, strengths).sum(axis=1)[1:]
    found = simulate_risks(
        tasks,
        updates,
        trials,
        seed,
        features=IndependentFeatures(covariance=covariances),
        change=Proximal(strengths) if np.any(strengths) else None,
    ).totals
    return (found.mean[1:] - expected) / expected, found.standard_error[1:] / expected


@pytest.mark.parametrize("seed", range(12))
def test_equivalents_against_simulation(seed: int) -> None:
    """Deterministic equivalents: any covariances, strengths, sets and gains, at P = 60 to 120."""
    rng = np.random.default_rng(seed)
    sizes = [int(s) for s in rng.integers(30, 61, size=2)]
    updates = (Update((0, 1), rng.uniform(0.3, 1, 2)), Update(((0, 1), (1,))[seed % 2]))
    sizes_trained = [sum(sizes[b] for b in update.trainable) for update in updates]
    ratios = rng.choice([0.3, 0.5, 2.0], size=2)
    tasks = _tasks(rng, sizes, [int(r * m) for r, m in zip(ratios, sizes_trained, strict=True)])
    covariances = np.stack([_covariance(rng, sum(sizes), seed % 3 > 0) for _ in range(2)])
    strengths = 10 ** rng.uniform(-2, 1, size=(2, 2)) if seed % 4 else np.zeros(2)
    deviation, error = _deviation(tasks, updates, covariances, strengths, trials=400, seed=seed)
    # One to three updates' worth of corrections of order 1/P.
    assert (np.abs(deviation) < 4.5 * error + 3 / sum(sizes)).all()


def test_deviation_shrinks_as_one_over_size() -> None:
    """At fixed ratios: four times the parameters, a quarter of the deviation."""
    found = []
    for size, trials in ((16, 60_000), (64, 12_000)):
        rng = np.random.default_rng(3)
        values = (np.arange(1, size + 1) / size + 0.03) ** -1.0
        truths = np.zeros((2, size))
        truths[:, ::2] = 1 / np.sqrt(size)
        truths[1, ::4] *= -1
        tasks = LinearTasks([size], truths, size // 2, 0.5)
        plan = (Update(()), Update((0,)))
        covariances = np.stack([np.diag(values[::-1]), np.diag(values)])
        deviation, error = _deviation(tasks, plan, covariances, 0.0, trials, int(rng.integers(99)))
        found.append((np.abs(deviation[1]), error[1]))
    (small, small_error), (large, large_error) = found
    assert (small > 6 * small_error).all()  # there is a deviation to shrink
    assert (large < small / 4 + 4 * np.hypot(small_error / 4, large_error)).all()


@pytest.mark.parametrize("ratio", [0.25, 0.5, 2.0])
def test_isotropic_limit_of_the_exact_recursion(ratio: float) -> None:
    """Σ = I: the gap to the exact recursion halves when everything doubles."""
    gaps = []
    for size in (100, 200, 400):
        rng = np.random.default_rng(0)
        scale = 1 / np.sqrt(size)
        truths = np.repeat(rng.normal(size=(3, 5, 2)), size // 5, axis=2).reshape(3, -1) * scale
        sizes = [4 * size // 5, size, size // 5]
        n = int(ratio * size)
        tasks = LinearTasks(sizes, truths, [n, n, 2 * n], [0.3, 0.0, 1.0])
        plan = (Update((0, 2)), Update((1,), 0.7), Update((0, 1, 2), (0.2, 0.9, 1.0)))
        if ratio == 0.5:  # the last would lie at half of P
            plan = (*plan[:2], Update((0, 1), (0.2, 0.9)))
        exact = expected_risks(Problem.from_tasks(tasks), plan)
        found = anisotropic_risks(tasks, plan, np.eye(2 * size))
        gaps.append(np.abs(found - exact).max() / exact.max())
    assert gaps[0] < 0.1
    np.testing.assert_allclose(np.divide(gaps[1:], gaps[:-1]), 0.5, atol=0.04)


@pytest.mark.parametrize(("m", "n"), [(40, 10), (400, 100), (10, 40)])
def test_isotropic_step_in_closed_form(m: int, n: int) -> None:
    """Σ = I: the pull is exact; the spread is that of the exact moments for large sizes."""
    step = proximal_step(np.eye(m), n, np.zeros(m))
    exact = moments(m, n)
    np.testing.assert_allclose(step.response, exact.pull * np.eye(m), atol=1e-12)
    noise = np.trace(step.spread)
    assert noise == pytest.approx(min(n, m) / abs(m - n), rel=1e-9)
    assert noise == pytest.approx(exact.noise, rel=1.01 / abs(m - n))
    left = (1 - exact.pull) ** 2  # of |d|² = 1
    assert left * step.spread[0, 0] == pytest.approx(exact.spread, rel=3 / m)


def test_infinitely_many_samples_give_the_population_update() -> None:
    """n → ∞: the effective strengths are those given, and nothing is left to chance."""
    rng = np.random.default_rng(0)
    covariance, strengths = _covariance(rng, 20), rng.uniform(0.1, 3, size=20)
    strengths[:5] = np.inf
    free = np.isfinite(strengths)
    step = proximal_step(covariance, 10**12, strengths)
    np.testing.assert_allclose(step.strengths, strengths, rtol=1e-9)
    inner = covariance[np.ix_(free, free)] + np.diag(strengths[free])
    expected = np.linalg.solve(inner, covariance[free])
    np.testing.assert_allclose(step.response[free], expected, rtol=1e-8, atol=1e-10)
    assert not step.response[~free].any()
    assert np.abs(step.spread).max() < 1e-10


def test_spread_is_the_derivative_of_the_first_order_equivalent() -> None:
    """Proof of the covariance: κR at Λ + tA, differentiated, is −κ² (R A R + tr(A S) R Σ R)."""
    rng = np.random.default_rng(7)
    covariance, strengths = _covariance(rng, 30), rng.uniform(0.1, 2, size=30)
    direction = rng.normal(size=30) * strengths
    samples, step = 18, 1e-5

    def resolvent(t: float) -> tuple[float, FloatArray]:
        held = strengths + t * direction
        effective = proximal_step(covariance, samples, held).strengths
        return effective[0] / held[0], np.linalg.inv(covariance + np.diag(effective))

    (kappa, inverse), spread = resolvent(0), proximal_step(covariance, samples, strengths).spread
    ahead, behind = (kappa * inverse for kappa, inverse in (resolvent(step), resolvent(-step)))
    form = np.trace(direction[:, None] * spread)
    expected = inverse @ (np.diag(direction) + form * covariance) @ inverse
    np.testing.assert_allclose((behind - ahead) / (2 * step), kappa**2 * expected, atol=1e-7)


def test_only_what_trainable_features_cannot_predict_leaks() -> None:
    """Leakage: n → ∞, the frozen block's Schur complement is left, the rest learned instead."""
    rng = np.random.default_rng(8)
    covariance = _covariance(rng, 20)
    frozen, free = np.arange(5), np.arange(5, 20)
    step = proximal_step(covariance, 10**12, np.where(np.arange(20) < 5, np.inf, 0.0))
    learn = rng.normal(size=20)
    left = learn - step.response @ learn
    across = covariance[np.ix_(frozen, free)]
    predicted = across @ np.linalg.inv(covariance[np.ix_(free, free)]) @ across.T
    schur = covariance[np.ix_(frozen, frozen)] - predicted
    assert left @ covariance @ left == pytest.approx(learn[frozen] @ schur @ learn[frozen])


def test_large_strengths_stay() -> None:
    rng = np.random.default_rng(1)
    tasks = _tasks(rng, [30, 20], [25, 25])
    plan = (Update((0, 1)), Update((1,)))
    covariance = _covariance(rng, 50)
    found = anisotropic_risks(tasks, plan, covariance, 1e9)
    np.testing.assert_allclose(found, np.broadcast_to(found[0], found.shape), atol=1e-6)
    # One block's strength to infinity is that block frozen.
    held = anisotropic_risks(tasks, (Update((0, 1)),) * 2, covariance, [1e9, 0.3])
    frozen = anisotropic_risks(tasks, (Update((1,)),) * 2, covariance, [1.0, 0.3])
    np.testing.assert_allclose(held.sum(1), frozen.sum(1), rtol=1e-6)


def test_small_strengths_reach_the_smallest_change() -> None:
    rng = np.random.default_rng(2)
    covariance = _covariance(rng, 60)
    for n in (20, 150):
        limit = proximal_step(covariance, n, np.zeros(60))
        near = proximal_step(covariance, n, np.full(60, 1e-8))
        for a, b in zip(limit, near, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_units_of_a_parameter_do_not_matter() -> None:
    """Features in other units, strengths in the square of these units: the same update."""
    rng = np.random.default_rng(3)
    covariance, strengths = _covariance(rng, 30), rng.uniform(0.1, 1, size=30)
    unit = rng.uniform(0.2, 5, size=30)
    step = proximal_step(covariance, 12, strengths)
    other = proximal_step(covariance * np.outer(unit, unit), 12, strengths * unit**2)
    np.testing.assert_allclose(other.response * np.outer(unit, 1 / unit), step.response, rtol=1e-7)
    np.testing.assert_allclose(other.spread * np.outer(unit, unit), step.spread, rtol=1e-6)


def test_dependent_features_count_once() -> None:
    """A covariance of rank 20 on 60 parameters acts as 20 parameters."""
    rng = np.random.default_rng(4)
    factor = np.linalg.qr(rng.normal(size=(60, 20)))[0]
    step = proximal_step(factor @ factor.T, 50, np.zeros(60))
    np.testing.assert_allclose(step.response, factor @ factor.T, atol=1e-10)
    assert np.trace(step.spread) == pytest.approx(20 / 30)


@pytest.mark.parametrize("ridge", [0.0, 1e-6, 0.1, 10.0, 1e6])
def test_effective_ridge_solves_its_equation(ridge: float) -> None:
    rng = np.random.default_rng(5)
    values = 10 ** rng.uniform(-4, 2, size=80)
    for n in (1, 40, 79, 1000):
        kappa = effective_ridge(values, n, ridge)
        excess = kappa * (1 - (values / (values + kappa)).sum() / n) - ridge
        assert abs(excess) <= 1e-9 * max(kappa, ridge)
        assert kappa >= ridge
        assert (kappa > 0) == (ridge > 0 or n < 80)


def test_effective_ridge_of_equal_eigenvalues() -> None:
    # κ² + κ (1 − λ − P/n) − λ = 0.
    kappa = effective_ridge(np.ones(30), 10, 0.5)
    half = (1 - 0.5 - 3) / 2
    assert kappa == pytest.approx(-half + np.sqrt(half**2 + 0.5), rel=1e-12)


def test_gains_minimize_the_expected_risk() -> None:
    """The law against a search over the risks that it is to minimize."""
    rng = np.random.default_rng(6)
    tasks = _tasks(rng, [20, 30, 10], [30, 25, 40])
    covariances = np.stack([_covariance(rng, 60) for _ in range(3)])
    weights = np.array([1.0, 0.2, 2.0])
    before = (Update((0, 1, 2)), Update((1,), 0.5))
    for strengths in (0.0, [0.3, 1.0, 3.0]):
        found = anisotropic_gains(tasks, (*before, Update((0, 2))), covariances, strengths, weights)

        def risk(gains: FloatArray, strengths: npt.ArrayLike = strengths) -> float:
            plan = (*before, Update((0, 2), np.clip(gains, 0, 1)))
            return float(
                anisotropic_risks(tasks, plan, covariances, strengths)[-1].sum(0) @ weights
            )

        best = minimize(risk, [0.5, 0.5], bounds=[(0, 1)] * 2, tol=1e-12)
        np.testing.assert_allclose(found, best.x, atol=1e-4)
        assert risk(found) <= best.fun * (1 + 1e-12)


def test_isotropic_law_is_a_special_case() -> None:
    """Two special cases, 1: γ_b = c Σ_i w_i (M_k + M_i − D_ki)_b / (2 e_b Σ_i w_i) for Σ = I.

    From exact moments `curved_gains` is that law exactly; `anisotropic_gains` nears it as P grows.
    """
    gaps = []
    for size in (100, 400):
        sizes, n, noise = np.array([size, size]), size, 0.4
        truths = np.zeros((2, 2 * size))
        truths[0] = 1.0 / np.sqrt(size)
        truths[1, size // 4 :] = 0.8 / np.sqrt(size)
        start = truths[0] * 0.9 + 0.1 * np.tile([1, -1], size) / np.sqrt(size)
        tasks = LinearTasks(sizes, truths, n, noise, start)
        problem = Problem.from_tasks(tasks)
        before, apart = problem.initial, problem.distances
        pull, amplified, own, spread = moments(2 * size, n)
        energy = own * before[:, 1] + sizes * (
            spread * before[:, 1].sum() + amplified * noise**2 / (2 * size)
        )
        weights = np.array([1.0, 0.5])
        drift = before[:, [1]] + before - apart[:, 1]  # (B, K)
        law = (pull * drift @ weights / (2 * energy * weights.sum())).clip(0, 1)
        slopes = -pull * drift.T
        curvatures = np.broadcast_to(np.diag(energy), (2, 2, 2))
        np.testing.assert_allclose(curved_gains(slopes, curvatures, weights), law, rtol=1e-12)
        plan = (Update(()), Update((0, 1)))
        gaps.append(np.abs(anisotropic_gains(tasks, plan, np.eye(2 * size), 0, weights) - law))
    assert ((law > 0.01) & (law < 0.99)).all()
    assert (gaps[0] < 0.02).all()
    np.testing.assert_allclose(gaps[1], gaps[0] / 4, rtol=0.1)


def test_share_of_the_curvature() -> None:
    """Two special cases, 2: the old task learned, the whole way to the new one."""
    rng = np.random.default_rng(9)
    old, new = (_covariance(rng, 12) for _ in range(2))
    learn, weights = rng.normal(size=12), np.array([0.3, 0.8])
    bends = np.array([learn @ old @ learn, learn @ new @ learn])
    slopes = np.array([[0.0], [-2 * bends[1]]])
    found = curved_gains(slopes, bends[:, None, None], weights)
    assert found == pytest.approx(weights[1] * bends[1] / (weights @ bends))

    def risk(gain: float) -> float:
        a, b = gain * learn, (gain - 1) * learn
        return float(weights @ [a @ old @ a, b @ new @ b])

    assert risk(found[0]) <= min(risk(gain) for gain in np.linspace(0, 1, 101))


@pytest.mark.parametrize("seed", range(5))
def test_gains_of_a_given_direction(seed: int) -> None:
    """Law with curvature: any Δ, coupled curvature, no gain on a grid of [0, 1]² does better."""
    rng = np.random.default_rng(seed)
    hessians = np.stack([_covariance(rng, 8) for _ in range(2)])
    errors, change = rng.normal(size=(2, 8)), rng.normal(size=8)
    errors[1] = -change + 0.3 * rng.normal(size=8)
    weights = np.array([0.7, 1.0])
    part = np.zeros((2, 8))
    part[0, :3], part[1, 3:] = change[:3], change[3:]
    slopes = 2 * np.einsum("bp,kpq,kq->kb", part, hessians, errors)
    curvatures = np.einsum("bp,kpq,cq->kbc", part, hessians, part)

    def risk(gains: FloatArray) -> float:
        moved = errors + gains @ part
        return float(weights @ np.einsum("kp,kpq,kq->k", moved, hessians, moved))

    found = curved_gains(slopes, curvatures, weights)
    grid = np.linspace(0, 1, 41)
    assert risk(found) <= min(risk(np.array([a, b])) for a in grid for b in grid) + 1e-9
    single = curved_gains(slopes.sum(1)[:, None], curvatures.sum((1, 2))[:, None, None], weights)
    assert risk(np.repeat(single, 2)) <= min(risk(np.array([a, a])) for a in grid) + 1e-9


def test_nothing_moves_where_there_is_no_direction() -> None:
    found = curved_gains([[0.0, -1.0]], [[[0, 0], [0, 2]]], [1.0])
    np.testing.assert_allclose(found, [0.0, 0.25], atol=1e-12)
    assert curved_gains([[0.0]], [[[0.0]]], [1.0]).tolist() == [0.0]


def test_input_that_cannot_be_used() -> None:
    tasks = LinearTasks([2, 2], np.eye(4)[:2], 9)
    plan = (Update((0, 1)),) * 2
    with pytest.raises(InputError, match=r"shape \(3, 3\), but for 2 tasks with 4 parameters"):
        anisotropic_risks(tasks, plan, np.eye(3))
    with pytest.raises(InputError, match="not symmetric"):
        anisotropic_risks(tasks, plan, np.triu(np.ones((4, 4))))
    with pytest.raises(InputError, match="not symmetric"):
        anisotropic_risks(tasks, plan, [np.eye(4), np.triu(np.ones((4, 4)))])
    with pytest.raises(InputError, match="negative eigenvalue"):
        anisotropic_risks(tasks, plan, -np.eye(4))
    with pytest.raises(InputError, match=r"strengths has shape \(3,\)"):
        anisotropic_risks(tasks, plan, np.eye(4), [1, 2, 3])
    with pytest.raises(InputError, match="at least 0"):
        anisotropic_risks(tasks, plan, np.eye(4), -1.0)
    with pytest.raises(InputError, match="give all of them positive strengths, or none"):
        anisotropic_risks(tasks, plan, np.eye(4), [0.0, 1.0])
    with pytest.raises(InputError, match="trains block 2"):
        anisotropic_risks(tasks, (Update((2,)), Update(())), np.eye(4))
    with pytest.raises(InputError, match="double-descent peak"):
        anisotropic_risks(LinearTasks([4], np.ones((1, 4)), 4), (Update((0,)),), np.eye(4))
    with pytest.raises(InputError, match=r"\(P,\)"):
        proximal_step(np.eye(3), 5, np.ones(2))
    with pytest.raises(InputError, match="ridge = -1"):
        effective_ridge([1.0], 5, -1.0)
    with pytest.raises(InputError, match="samples = 0"):
        effective_ridge([1.0], 0)
    with pytest.raises(InputError, match="eigenvalues"):
        effective_ridge([-1.0], 3)
    with pytest.raises(InputError, match="no minimum"):
        curved_gains([[1.0]], [[[-1.0]]], [1.0])
    with pytest.raises(InputError, match="weights"):
        curved_gains([[1.0]], [[[1.0]]], [0.0])
    with pytest.raises(InputError, match="slopes has shape"):
        curved_gains([[1.0, 2.0]], [[[1.0]]], [1.0])
