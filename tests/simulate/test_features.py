"""Features that are not i.i.d. Gaussian: their moments, and how far the formulas carry.

Book: *When features are not isotropic*, proposition "Symmetric entries".
"""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from clcore.errors import InputError
from clcore.simulate import IndependentFeatures, SampledFeatures, relu_features, simulate_risks
from clcore.simulate.features import Kind
from clcore.theory import LinearTasks, Problem, Update, anisotropic_risks, expected_risks
from clcore.theory.validation import FloatArray

DIGITS = load_digits().data


def _drawn(features: IndependentFeatures | SampledFeatures, task: int, size: int) -> FloatArray:
    rows = torch.empty(200, 100, size)
    features.draw(task, rows, torch.Generator().manual_seed(0))
    return rows.double().numpy().reshape(-1, size)


@pytest.mark.parametrize(("kind", "fourth"), [("normal", 3.0), ("uniform", 1.8), ("signs", 1.0)])
def test_moments_of_independent_entries(kind: Kind, fourth: float) -> None:
    rows = _drawn(IndependentFeatures(kind), 0, 4)
    np.testing.assert_allclose(rows.mean(0), 0, atol=0.03)
    np.testing.assert_allclose(rows.T @ rows / len(rows), np.eye(4), atol=0.04)
    np.testing.assert_allclose((rows**4).mean(), fourth, rtol=0.05)  # 4 standard errors


def test_entries_are_mixed_to_the_covariance() -> None:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(2, 4, 3))  # rank 3: singular covariances
    covariances = factors @ factors.transpose(0, 2, 1)
    for kind in ("normal", "uniform", "signs"):
        features = IndependentFeatures(kind, covariances)
        for task in range(2):
            rows = _drawn(features, task, 4)
            np.testing.assert_allclose(rows.T @ rows / len(rows), covariances[task], atol=0.25)
    one = IndependentFeatures(covariance=covariances[0]).covariances(3, 4)
    assert one is not None
    assert (one == covariances[0]).all()


def test_rows_are_sampled_without_repetition() -> None:
    features = SampledFeatures(np.arange(12.0).reshape(6, 2))
    out = torch.empty(500, 4, 2)
    features.draw(0, out, torch.Generator().manual_seed(0))
    drawn = out[..., 0] / 2
    assert all(len(set(trial.tolist())) == 4 for trial in drawn)
    counts = np.bincount(drawn.int().numpy().ravel(), minlength=6)
    np.testing.assert_allclose(counts, 500 * 4 / 6, rtol=0.15)
    moments = features.covariances(2, 2)
    assert moments is not None
    np.testing.assert_allclose(moments[1], features.rows.T @ features.rows / 6)


def test_relu_features_of_digits() -> None:
    plain, white = (relu_features(DIGITS, 80, seed=1, whiten=whiten) for whiten in (False, True))
    for rows in (plain, white):
        np.testing.assert_allclose(rows.mean(0), 0, atol=1e-9)
        np.testing.assert_allclose(rows.std(0), 1, rtol=1e-9)
    np.testing.assert_allclose(white.T @ white / len(white), np.eye(80), atol=1e-8)
    correlated = np.abs(plain.T @ plain / len(plain) - np.eye(80)).max()
    assert correlated > 0.3
    assert (plain.min(0) > -3).all()  # clipped at 0, so skewed: not Gaussian
    assert ((plain**3).mean(0) > 0.3).mean() > 0.5


def _one_step(size: int, samples: int, noise: float) -> tuple[LinearTasks, tuple[Update, ...]]:
    rng = np.random.default_rng(size)
    truths = rng.normal(size=(2, size)) / np.sqrt(size)
    return LinearTasks([size], truths, samples, noise, truths[0] * 0.5), (Update(()), Update((0,)))


@pytest.mark.parametrize("kind", ["uniform", "signs"])
def test_noiseless_identity_holds_for_symmetric_entries(kind: Kind) -> None:
    """Proposition: entries i.i.d. and symmetric give E P = (n/m) I, exact at any size."""
    tasks, plan = _one_step(30, 10, noise=0.0)
    found = simulate_risks(tasks, plan, 20_000, features=IndependentFeatures(kind)).totals
    expected = expected_risks(Problem.from_tasks(tasks), plan).sum(axis=1)
    assert (np.abs(found.mean[2] - expected[2]) < 4.5 * found.standard_error[2]).all()


def test_amplification_of_noise_needs_gaussian_features_or_many() -> None:
    """n/(m−n−1) fails for few uniform features and holds for many."""
    gaps, errors = [], []
    for size, trials in ((8, 20_000), (120, 500)):
        tasks, plan = _one_step(size, size // 2, noise=1.0)
        found = simulate_risks(tasks, plan, trials, features=IndependentFeatures("uniform")).totals
        expected = expected_risks(Problem.from_tasks(tasks), plan).sum(axis=1)
        gaps.append(((found.mean - expected) / expected)[2, 0])
        errors.append((found.standard_error / expected)[2, 0])
    assert abs(gaps[0]) > 6 * errors[0]
    assert abs(gaps[0]) > 0.03
    assert abs(gaps[1]) < 4.5 * errors[1] + 0.02


def test_formulas_on_features_of_digits() -> None:
    """With the covariance of random ReLU features: near, but not exact as it is for Gaussian ones.

    Whitened, within 2 %. Correlated, they miss the risk on the new task by a few percent, where
    Gaussian features of the same covariance are met.
    """
    tasks, plan = _one_step(200, 60, noise=0.3)

    def deviation(rows: FloatArray, gaussian: bool) -> tuple[FloatArray, FloatArray]:
        covariance = rows.T @ rows / len(rows)
        expected = anisotropic_risks(tasks, plan, covariance).sum(axis=1)[2]
        features = IndependentFeatures(covariance=covariance) if gaussian else SampledFeatures(rows)
        found = simulate_risks(tasks, plan, 1500, features=features).totals
        return (found.mean[2] - expected) / expected, found.standard_error[2] / expected

    white, error = deviation(relu_features(DIGITS, 200, seed=1, whiten=True), gaussian=False)
    assert (np.abs(white) < 0.02 + 4.5 * error).all()
    plain = relu_features(DIGITS, 200, seed=1)
    real, real_error = deviation(plain, gaussian=False)
    assert (np.abs(real) < 0.06 + 4.5 * real_error).all()
    assert real[1] > 5 * real_error[1]
    gauss, gauss_error = deviation(plain, gaussian=True)
    assert (np.abs(gauss) < 1 / 200 + 4.5 * gauss_error).all()


def test_input_that_cannot_be_used() -> None:
    with pytest.raises(InputError, match="kind of entries 'normall': did you mean 'normal'"):
        IndependentFeatures("normall")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="negative eigenvalue"):
        IndependentFeatures(covariance=-np.eye(2))
    with pytest.raises(InputError, match="samples, features"):
        SampledFeatures(np.ones(3))
    with pytest.raises(InputError, match="width 0"):
        relu_features(DIGITS, 0)
    with pytest.raises(InputError, match="linearly dependent"):
        relu_features(np.tile(DIGITS[:2], (10, 1)), 9, whiten=True)
    with pytest.raises(InputError, match="same in all images"):
        relu_features(np.ones((5, 2)), 2)
    tasks = LinearTasks([3], [[1, 1, 1]], 9)
    with pytest.raises(InputError, match=r"shape \(2, 2\), but for 1 tasks with 3 parameters"):
        simulate_risks(tasks, (Update((0,)),), features=IndependentFeatures(covariance=np.eye(2)))
    with pytest.raises(InputError, match="only 4 rows"):
        simulate_risks(tasks, (Update((0,)),), features=SampledFeatures(np.ones((4, 3))))
