"""Changes of the parameters, each against its closed form in plain NumPy.

Book: *When features are not isotropic*, proposition "Early-stopped descent is a spectral filter";
*Forgetting is drift*, lemma "Gradient descent finds the smallest change".
"""

import numpy as np
import pytest
import torch

from clcore.errors import InputError
from clcore.simulate import Descent, Proximal, proximal_change, simulate_risks, smallest_change
from clcore.theory import LinearTasks, Update

BOTH = pytest.mark.parametrize(("n", "m"), [(6, 20), (20, 6)])
NO_BLOCKS = torch.zeros(20, dtype=torch.int64)


def _data(n: int, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(n)
    return torch.tensor(rng.normal(size=(5, n, m))), torch.tensor(rng.normal(size=(5, n)))


@BOTH
def test_proximal_change_solves_its_normal_equations(n: int, m: int) -> None:
    features, residual = _data(n, m)
    strengths = np.random.default_rng(1).uniform(0.1, 2, size=m)
    found = proximal_change(features, residual, torch.tensor(strengths)).numpy()
    for one, x, r in zip(found, features.numpy(), residual.numpy(), strict=True):
        expected = np.linalg.solve(x.T @ x / n + np.diag(strengths), x.T @ r / n)
        np.testing.assert_allclose(one, expected, rtol=1e-9, atol=1e-12)


@BOTH
def test_strength_is_a_continuum(n: int, m: int) -> None:
    """λ → 0 is the smallest change that fits, λ → ∞ none, and the length falls between."""
    features, residual = _data(n, m)
    strengths = torch.logspace(-9, 9, 19, dtype=torch.float64)
    lengths = torch.stack([proximal_change(features, residual, s).norm(dim=1) for s in strengths])
    smallest = smallest_change(features, residual)
    near = proximal_change(features, residual, strengths[0])
    np.testing.assert_allclose(near.numpy(), smallest.numpy(), atol=1e-6)
    assert lengths[-1].max() < 1e-7
    assert (lengths.diff(dim=0) < 0).all()


def test_strength_of_each_block_and_task() -> None:
    features, residual = _data(6, 20)
    blocks = torch.tensor([2] * 5 + [0] * 15)
    table = np.array([[1.0, 9.0, 0.1], [2.0, 9.0, 0.2]])
    by_task = Proximal(table)(features, residual, 1, blocks)
    row = torch.tensor([0.2] * 5 + [2.0] * 15, dtype=torch.float64)
    assert torch.equal(by_task, proximal_change(features, residual, row))
    assert torch.equal(by_task, Proximal(table[1])(features, residual, 0, blocks))


@BOTH
def test_descent_converges_to_the_smallest_change(n: int, m: int) -> None:
    """Lemma: descent from zero reaches the smallest change, at the rate of the worst direction."""
    features, residual = _data(n, m)
    expected = smallest_change(features, residual)
    gaps = [
        float((Descent(steps, 0.1)(features, residual, 0, NO_BLOCKS) - expected).abs().max())
        for steps in (10, 100, 2000)
    ]
    assert gaps[0] > 3 * gaps[1]
    assert gaps[2] < 1e-9


@BOTH
@pytest.mark.parametrize("steps", [0, 1, 7])
def test_early_stopped_descent_is_a_spectral_filter(n: int, m: int, steps: int) -> None:
    """Proposition: along each singular direction s, Δ = (1 − (1 − η s²/n)^t) / s times r."""
    features, residual = _data(n, m)
    found = Descent(steps, 0.2)(features, residual, 0, NO_BLOCKS).numpy()
    for one, x, r in zip(found, features.numpy(), residual.numpy(), strict=True):
        left, s, right = np.linalg.svd(x, full_matrices=False)
        filtered = (1 - (1 - 0.2 * s**2 / n) ** steps) / s
        np.testing.assert_allclose(one, right.T @ (filtered * (left.T @ r)), atol=1e-12)


def test_descent_that_diverges_is_refused() -> None:
    features, residual = _data(6, 20)
    with pytest.raises(InputError, match="descent diverges with rate = 5"):
        Descent(50, 5.0)(features, residual, 0, NO_BLOCKS)
    with pytest.raises(InputError, match="descent diverges"):
        Descent(5000, 5.0)(features, residual, 0, NO_BLOCKS)


def test_dependent_features_are_refused() -> None:
    rng = np.random.default_rng(0)
    for n, m in ((4, 9), (9, 4)):
        dependent = torch.tensor(rng.normal(size=(2, n, 3)) @ rng.normal(size=(3, m)))
        rounded = dependent.float().double()  # as a simulation draws them
        for features in (torch.zeros(2, n, m, dtype=torch.float64), dependent, rounded):
            with pytest.raises(InputError, match="linearly dependent"):
                smallest_change(features, torch.ones(2, n, dtype=torch.float64))


def test_a_sequence_of_descents_is_the_sequence_of_exact_updates() -> None:
    rng = np.random.default_rng(0)
    tasks = LinearTasks([6, 14], rng.normal(size=(2, 20)), [8, 60], 0.3)
    plan = (Update((0, 1), (0.5, 1.0)), Update((1,)))
    exact = simulate_risks(tasks, plan, trials=20)
    found = simulate_risks(tasks, plan, trials=20, change=Descent(4000, 0.1))
    np.testing.assert_allclose(found.risks.mean, exact.risks.mean, rtol=1e-6)


def test_input_that_cannot_be_used() -> None:
    with pytest.raises(InputError, match="leave out `change`"):
        Proximal([0.0, 1.0])
    with pytest.raises(InputError, match="steps = -1"):
        Descent(-1, 0.1)
    with pytest.raises(InputError, match=r"rate = 0\.0"):
        Descent(1, 0.0)
    tasks = LinearTasks([3], [[1, 1, 1]], 9)
    with pytest.raises(InputError, match=r"strengths has shape \(2,\)"):
        simulate_risks(tasks, (Update((0,)),), change=Proximal([1.0, 2.0]))
