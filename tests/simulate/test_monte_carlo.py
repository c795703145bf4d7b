from typing import Any

import numpy as np
import pytest
import torch

from clcore.errors import InputError
from clcore.simulate import monte_carlo, simulate_risks, smallest_change
from clcore.theory import LinearTasks, Update

TASKS = LinearTasks(
    [3, 12], np.random.default_rng(0).normal(size=(2, 15)), [6, 30], [0.5, 0.2], np.ones(15)
)
PLAN = (Update((1,)), Update((0, 1), (0.5, 1.0)))


@pytest.mark.parametrize(("n", "m"), [(5, 20), (20, 5), (1, 3), (3, 1), (4, 4)])
def test_change_is_the_pseudoinverse(n: int, m: int) -> None:
    rng = np.random.default_rng(0)
    features, residual = rng.normal(size=(7, n, m)), rng.normal(size=(7, n))
    found = smallest_change(torch.tensor(features), torch.tensor(residual))
    expected = (np.linalg.pinv(features) @ residual[..., None])[..., 0]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("n", "m"), [(5, 20), (20, 5)])
def test_gradient_descent_reaches_the_same_change(n: int, m: int) -> None:
    """Lemma of *Forgetting is drift*: gradient descent finds the smallest change."""
    rng = np.random.default_rng(1)
    features, residual = rng.normal(size=(n, m)), rng.normal(size=n)
    change = np.zeros(m)
    rate = 1 / np.linalg.norm(features, 2) ** 2
    for _ in range(2000):
        change += rate * features.T @ (residual - features @ change)
    found = smallest_change(torch.tensor(features[None]), torch.tensor(residual[None]))[0]
    np.testing.assert_allclose(found.numpy(), change, atol=1e-9)


def test_simulation_equals_a_plain_loop_in_mean() -> None:
    rng = np.random.default_rng(2)
    trials, total = 4000, np.zeros((4000, 3, 2, 2))
    for r in range(trials):
        theta = TASKS.start.copy()
        for k, update in enumerate(PLAN):
            n = TASKS.samples[k]
            features = rng.normal(size=(n, 15))
            labels = features @ TASKS.truths[k] + TASKS.noise[k] * rng.normal(size=n)
            chosen = np.r_[3:15] if update.trainable == (1,) else np.r_[0:15]
            gains = np.ones(12) if update.trainable == (1,) else np.r_[[0.5] * 3, [1.0] * 12]
            fit = np.linalg.lstsq(features[:, chosen], labels - features @ theta, rcond=None)[0]
            theta[chosen] += gains * fit
            squares = (theta - TASKS.truths) ** 2
            total[r, k + 1] = squares[:, :3].sum(1), squares[:, 3:].sum(1)
    found = simulate_risks(TASKS, PLAN, trials=4000, seed=3)
    gap = found.risks.mean[1:] - total.mean(0)[1:]
    error = np.hypot(found.risks.standard_error[1:], total.std(0, ddof=1)[1:] / np.sqrt(trials))
    assert (np.abs(gap) < 4.5 * error + 1e-9).all()
    np.testing.assert_allclose(
        found.risks.standard_error[1:],
        total.std(0, ddof=1)[1:] / np.sqrt(trials),
        rtol=0.2,
        atol=1e-9,
    )


@pytest.mark.parametrize(("n", "m"), [(50, 200), (200, 50), (20, 30), (12, 14), (14, 12), (1, 3)])
def test_refined_single_precision_is_as_good_as_double(n: int, m: int) -> None:
    """Against least squares in double precision of the same draws: labels rounded to 1e-7."""
    rng = np.random.default_rng(n)
    features, noise = (rng.normal(size=(300, n, *k)).astype(np.float32) for k in ((m,), ()))
    gap = rng.normal(size=(300, m))
    for scale in (np.float32(1.0), np.float32(0.0)):
        found = monte_carlo._fit(
            torch.tensor(features), torch.tensor(gap), torch.tensor(scale * noise), (0,), [m]
        )
        for one, x, d, e in zip(found.numpy(), features.astype(float), gap, noise, strict=True):
            residual = x @ d + scale * e
            expected = np.linalg.lstsq(x, residual)[0]
            singular = np.linalg.svd(x, compute_uv=False)
            label = singular[0] * np.linalg.norm(d) + scale * np.linalg.norm(e)
            exact = m < n and not scale  # the gap is closed, so no rounding is left
            bound = 1e-9 * np.linalg.norm(d) if exact else 1e-6 * label / singular[-1]
            assert np.linalg.norm(one - expected) <= bound


def test_precision_of_the_solver_changes_no_risk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same draws, every change by a least-squares solver in double precision."""

    def exact(
        features: torch.Tensor,
        gap: torch.Tensor,
        noise: torch.Tensor,
        trainable: tuple[int, ...],
        sizes: list[int],
    ) -> torch.Tensor:
        wide = features.double()
        residual = (wide @ gap[..., None])[..., 0] + noise
        trained = torch.cat([wide.split(sizes, dim=2)[b] for b in trainable], dim=2)
        pairs = zip(trained.numpy(), residual.numpy(), strict=True)
        return torch.tensor(np.array([np.linalg.lstsq(x, r)[0] for x, r in pairs]))

    tasks = LinearTasks(TASKS.sizes, TASKS.truths, [10, 13], TASKS.noise, TASKS.start)  # |m-n| = 2
    found = simulate_risks(tasks, PLAN, trials=500)
    monkeypatch.setattr(monte_carlo, "_fit", exact)
    expected = simulate_risks(tasks, PLAN, trials=500)
    np.testing.assert_allclose(found.risks.mean, expected.risks.mean, rtol=1e-6)
    np.testing.assert_allclose(
        found.risks.standard_error, expected.risks.standard_error, rtol=1e-6, atol=1e-14
    )


def test_seed_decides_every_number() -> None:
    first = simulate_risks(TASKS, PLAN, trials=500, seed=1)
    again = simulate_risks(TASKS, PLAN, trials=500, seed=1)
    other = simulate_risks(TASKS, PLAN, trials=500, seed=2)
    assert (first.risks.mean == again.risks.mean).all()
    assert (first.risks.standard_error == again.risks.standard_error).all()
    assert (first.risks.mean[1:, 1] != other.risks.mean[1:, 1]).all()


def test_chunks_are_combined_without_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    run = monte_carlo._run

    def record(*arguments: Any) -> torch.Tensor:
        seen.append(run(*arguments))
        return seen[-1]

    monkeypatch.setattr(monte_carlo, "_run", record)
    monkeypatch.setattr(monte_carlo, "_trials_per_chunk", lambda tasks, device: 7)
    found = simulate_risks(TASKS, PLAN, trials=30)
    assert [len(part) for part in seen] == [7, 7, 7, 7, 2]
    assert not torch.equal(seen[0], seen[1])
    everything = torch.cat(seen).numpy()
    np.testing.assert_allclose(found.risks.mean, everything.mean(0), rtol=1e-12)
    np.testing.assert_allclose(
        found.risks.standard_error, everything.std(0, ddof=1) / np.sqrt(30), rtol=1e-9, atol=1e-14
    )


def test_threads_change_no_number() -> None:
    alone = simulate_risks(TASKS, PLAN, trials=9000, seed=1)
    torch.set_num_threads(3)
    try:
        together = simulate_risks(TASKS, PLAN, trials=9000, seed=1)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    np.testing.assert_array_equal(together.risks.mean, alone.risks.mean)
    np.testing.assert_array_equal(together.risks.standard_error, alone.risks.standard_error)


def test_what_does_not_move_has_no_error() -> None:
    found = simulate_risks(TASKS, (Update(()), Update((1,))), trials=50)
    assert (found.risks.mean[0] == found.risks.mean[1]).all()
    assert found.risks.standard_error[:2].max() < 1e-14
    assert found.risks.standard_error[2, 0].max() < 1e-14
    assert found.risks.standard_error[2, 1].min() > 1e-3


def test_totals_and_forgetting_come_from_each_trial() -> None:
    plan = (PLAN[0], Update((0, 1), (0.1, 0.1)))
    found = simulate_risks(TASKS, plan, trials=300)
    total = found.risks.mean.sum(axis=1)
    np.testing.assert_allclose(found.totals.mean, total, rtol=1e-12)
    np.testing.assert_allclose(found.forgetting.mean, [total[2, 0] - total[1, 0], 0], atol=1e-12)
    # The second update moves little, so task 1's risks before and after it vary together.
    apart = np.hypot(found.totals.standard_error[2, 0], found.totals.standard_error[1, 0])
    assert 0 < found.forgetting.standard_error[0] < 0.7 * apart
    assert found.forgetting.standard_error[1] == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_gpu_agrees_with_cpu() -> None:
    there = simulate_risks(TASKS, PLAN, trials=20_000, device="cuda")
    here = simulate_risks(TASKS, PLAN, trials=20_000)
    error = np.hypot(there.risks.standard_error, here.risks.standard_error)
    assert (np.abs(there.risks.mean - here.risks.mean) < 4.5 * error + 1e-9).all()


def test_input_that_cannot_be_used() -> None:
    with pytest.raises(InputError, match="infinite"):
        simulate_risks(LinearTasks([3], [[1, 1, 1]], 4), (Update((0,)),))
    with pytest.raises(InputError, match="at least 2"):
        simulate_risks(TASKS, PLAN, trials=1)
    with pytest.raises(InputError, match="seed = -1, but an integer of at least 0"):
        simulate_risks(TASKS, PLAN, seed=-1)
    with pytest.raises(InputError, match="1 updates for 2"):
        simulate_risks(TASKS, PLAN[:1])
    with pytest.raises(InputError, match="unknown device 'gpu'"):
        simulate_risks(TASKS, PLAN, device="gpu")


def test_excess_risk_is_a_squared_distance() -> None:
    """Proposition "Excess risk is a squared distance" (*Forgetting is drift*), on fresh samples."""
    rng = np.random.default_rng(4)
    theta, truth, noise, samples = rng.normal(size=6), rng.normal(size=6), 0.5, 200_000
    features = rng.normal(size=(samples, 6))
    labels = features @ truth + noise * rng.normal(size=samples)
    losses = (labels - features @ theta) ** 2 - noise**2
    error = losses.std(ddof=1) / np.sqrt(samples)
    assert abs(losses.mean() - ((theta - truth) ** 2).sum()) < 4 * error
