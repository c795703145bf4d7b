"""The proximal step: against closed forms on quadratic losses, and against plain loops."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from clcore.errors import InputError
from clcore.networks import Parameters, ResNet18, block_of
from clcore.strategies import Initialized, Proximal, Strategy
from clcore.strategies.proximal import CEILING
from clcore.streams import SCENARIOS, Dataset, permuted
from clcore.training import Budget, train
from tests.strategies.test_gradient_law import (
    BLOCKS,
    NETWORKS,
    REPLICAS,
    TRAINED,
    Quadratics,
    again,
    alike,
    alone_or_among_others,
    by_layer,
    colored,
    equal,
    flat,
    gradient,
    layers,
    moves,
    positive,
    product,
    run,
    six,
    steps,
)
from tests.strategies.test_regularized import (
    MOMENTA,
    RATE,
    Plain,
    fisher,
    matters,
    three_tasks,
    trained,
)

__all__ = ["colored", "six"]  # fixtures


def learn(
    strategy: Strategy, learner: Quadratics, k: int, count: int = 4000, momentum: float = 0.0
) -> None:
    """Train the task by so many steps of descent, with the strategy's after each."""
    learner.arrive(k)
    assert strategy.begin(learner).all()  # type: ignore[arg-type]
    rate = float(learner.rates[0])
    velocity = {n: torch.zeros_like(learner.parameters[n]) for n in TRAINED}
    for _ in range(count):
        for n, g in learner.gradient().items():
            velocity[n] = momentum * velocity[n] + g
            learner.parameters[n].sub_(rate * velocity[n])
        strategy.after_step(learner)  # type: ignore[arg-type]
    strategy.finish(learner)  # type: ignore[arg-type]


def best(
    minima: list[Parameters], curvatures: list[Parameters], factors: list[float] | None = None
) -> Parameters:
    """Return the minimizer of the (weighted) sum of quadratic losses."""
    weights = factors or [1.0] * len(minima)
    found = {}
    for n in TRAINED:
        top = sum(w * h[n] * m[n] for w, h, m in zip(weights, curvatures, minima, strict=True))
        found[n] = top / sum(w * h[n] for w, h in zip(weights, curvatures, strict=True))
    return found


def close(ours: Parameters, expected: Parameters, to: float = 1e-6) -> None:
    for n in TRAINED:
        torch.testing.assert_close(ours[n], expected[n], rtol=to, atol=to)


# ------------------------------------------------------------------------------- one step


@pytest.mark.parametrize("curvature", [1e-3, 1.0, 1e8])
def test_step_minimizes_the_linearized_loss_with_both_quadratic_terms(curvature: float) -> None:
    """Of ⟨g, θ⟩ + |θ − θ_t|² / 2η + ½ (θ − θ̂)ᵀ C (θ − θ̂), by a linear system."""
    curvatures = [{n: curvature * h for n, h in positive(1).items()}, positive(2)]
    learner = Quadratics(alike(0, 2), curvatures)
    strategy = Proximal(strength=3.0)
    learner.arrive(0)
    strategy.begin(learner)  # type: ignore[arg-type]
    strategy.finish(learner)  # type: ignore[arg-type]
    learner.arrive(1)
    strategy.begin(learner)  # type: ignore[arg-type]
    learner.move_to(learner.minima[1], 0.4)  # somewhere on the way
    statistic = learner.parameters["b.mean"].add_(1).clone()
    at = {n: p.clone() for n, p in learner.parameters.items()}
    rate = float(learner.rates[0])
    g = learner.gradient()
    for n in TRAINED:
        learner.parameters[n].sub_(rate * g[n])
    strategy.after_step(learner)  # type: ignore[arg-type]
    assert learner.parameters["b.mean"].equal(statistic)
    for n in TRAINED:
        start, c = learner.before[n].flatten(), 3 * curvatures[0][n].flatten()
        system = torch.eye(len(c), dtype=torch.float64) / rate + torch.diag(c)
        right = at[n].flatten() / rate - g[n].flatten() + c * start
        expected = torch.linalg.solve(system, right).view_as(at[n])
        torch.testing.assert_close(learner.parameters[n], expected, rtol=1e-9, atol=1e-9)


def test_first_task_is_not_held() -> None:
    learner = Quadratics(alike(0, 1), [positive(1)])
    learn(Proximal(), learner, 0)
    close(learner.parameters, learner.minima[0])


# ----------------------------------------------------------------------------- convergence


def test_right_curvatures_lead_to_the_joint_minimum_of_any_number_of_tasks() -> None:
    """Theorem "Held during training, the law reaches the joint optimum" (*The hybrid strategy*)."""
    learner = Quadratics(alike(0, 5), [positive(10 + k) for k in range(5)], underestimate=20.0)
    strategy = Proximal(strength=20.0)
    for k in range(5):
        learn(strategy, learner, k)
        close(learner.parameters, best(learner.minima[: k + 1], learner.curvatures[: k + 1]))


def test_measured_curvature_leads_to_the_joint_minimum_of_two_tasks() -> None:
    learner = Quadratics(alike(0, 2), [positive(10), positive(11)], underestimate=37.0)
    strategy = Proximal()
    for k in range(2):
        learn(strategy, learner, k)
    close(learner.parameters, best(learner.minima, learner.curvatures))


def test_identity_is_the_mean_of_the_minima_so_far() -> None:
    """Of two tasks, where the curvature is measured; of any number, where it is given."""
    learner = Quadratics(alike(0, 2), [flat(0.7)] * 2)
    strategy = Proximal(metric="identity")
    for k in range(2):
        learn(strategy, learner, k)
    close(learner.parameters, best(learner.minima, [flat(1.0)] * 2))
    given = Proximal(strength=0.7, metric="identity")
    learner = Quadratics(alike(0, 4), [flat(0.7)] * 4)
    for k in range(4):
        learn(given, learner, k)
        close(learner.parameters, best(learner.minima[: k + 1], [flat(1.0)] * (k + 1)))


def test_penalty_counts_less_with_momentum() -> None:
    learner = Quadratics(alike(0, 2), [positive(10), positive(11)])
    strategy = Proximal(strength=1.0)
    for k in range(2):
        learn(strategy, learner, k, momentum=0.75)
    close(learner.parameters, best(learner.minima, learner.curvatures, [0.25, 1.0]))


# ----------------------------------------------------------------------------- calibration


def ratios(strategy: Proximal, learner: Quadratics) -> torch.Tensor:
    """Return the measured curvature over Fisher information, (R, blocks)."""
    strategy.finish(learner)  # type: ignore[arg-type]
    assert set(learner.notes) == {f"curvature_{block}" for block in BLOCKS}
    return torch.stack([learner.notes[f"curvature_{block}"] for block in BLOCKS], 1)


def at_minimum(learner: Quadratics) -> Quadratics:
    learner.arrive(0)
    learner.move_to(learner.minima[0])
    return learner


@pytest.mark.parametrize("factor", [2.0, 100.0, 5000.0])
def test_measured_ratio_is_curvature_over_fisher_information(factor: float) -> None:
    learner = at_minimum(Quadratics(alike(0, 1), [positive(1)], underestimate=factor))
    strategy = Proximal()
    expected = torch.full((REPLICAS, len(BLOCKS)), factor, dtype=torch.float64)
    torch.testing.assert_close(ratios(strategy, learner), expected, rtol=1e-9, atol=0)
    for n in TRAINED:
        h = learner.curvatures[0][n]
        torch.testing.assert_close(strategy.curvatures[n], h, rtol=1e-9, atol=0)


def test_measured_ratio_is_that_along_the_update_of_each_block() -> None:
    """The identity has another shape than h: ⟨Δ, h Δ⟩ / ⟨Δ, Δ⟩."""
    learner = at_minimum(Quadratics(alike(0, 1), [positive(1)]))
    strategy = Proximal(metric="identity")
    found = ratios(strategy, learner)
    for b, block in enumerate(BLOCKS):
        names = [n for n in TRAINED if block_of(n) == block]
        for r in range(REPLICAS):
            of = [
                (learner.parameters[n][r] - learner.before[n][r], learner.curvatures[0][n][r])
                for n in names
            ]
            expected = sum((d * h * d).sum() for d, h in of) / sum((d * d).sum() for d, _ in of)
            assert found[r, b].item() == pytest.approx(float(expected), rel=1e-9)
            for n in names:
                assert (strategy.curvatures[n][r] == found[r, b]).all()


def test_measured_ratio_has_the_slope_in_it() -> None:
    """Of a task that was kept from its own minimum, as the docstring says."""
    learner = Quadratics(alike(0, 1), [flat(3.0)])
    learner.arrive(0)
    learner.move_to(learner.minima[0], 0.4)  # of the way, from 0 to 1
    found = ratios(Proximal(metric="identity"), learner)
    # Half of the update back: 3/2 · ((1 − 0.2)² − (1 − 0.4)²) against ½ · 0.2².
    expected = torch.full_like(found, 3 * (0.8**2 - 0.6**2) / 0.2**2)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize(("metric", "floor"), [("fisher", 1.0), ("identity", 0.0)])
def test_floor(metric: str, floor: float) -> None:
    """The loss falls on the way back, or rises less than the Fisher information says."""
    for part, underestimate in ((3.0, 0.5), (1.0, 0.5)):
        learner = Quadratics(alike(0, 1), [flat(2.0)], underestimate=underestimate)
        learner.arrive(0)
        learner.move_to(learner.minima[0], part)
        found = ratios(Proximal(metric=metric), learner)
        if part == 1 and metric == "identity":
            torch.testing.assert_close(found, torch.full_like(found, 2.0))
        else:
            assert (found == floor).all()


def test_ceiling() -> None:
    learner = at_minimum(Quadratics(alike(0, 1), [flat(2.0)], underestimate=1e7))
    assert (ratios(Proximal(), learner) == CEILING).all()
    learner = at_minimum(Quadratics(alike(0, 1), [flat(2.0)], underestimate=float("inf")))
    assert (ratios(Proximal(), learner) == CEILING).all()


@pytest.mark.parametrize(("metric", "floor"), [("fisher", 1.0), ("identity", 0.0)])
def test_block_that_did_not_move(metric: str, floor: float) -> None:
    """Nor a replica, as one that was stopped; the others are measured all the same."""
    learner = at_minimum(Quadratics(alike(0, 1), [flat(2.0)], underestimate=4.0))
    for n in TRAINED:
        still = slice(None) if block_of(n) == "b" else 3
        learner.parameters[n][still] = learner.before[n][still]
    found = ratios(Proximal(metric=metric), learner)
    expected = torch.full_like(found, 4.0 if metric == "fisher" else 2.0)
    expected[:, 1] = expected[3] = floor
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def test_curvatures_add_up() -> None:
    learner = Quadratics(alike(0, 3), [positive(k) for k in range(3)], underestimate=2.0)
    strategy = Proximal(strength=5.0)
    for k in range(3):
        learner.arrive(k)
        strategy.begin(learner)  # type: ignore[arg-type]
        assert (ratios(strategy, learner) == 5).all()
    for n in TRAINED:
        expected = 2.5 * sum(learner.curvatures[k][n] for k in range(3))
        torch.testing.assert_close(strategy.curvatures[n], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("metric", ["fisher", "identity"])
def test_given_strength_measures_nothing(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = at_minimum(Quadratics(alike(0, 1), [positive(1)]))
    monkeypatch.setattr(learner, "loss", None)  # a call would fail
    assert (ratios(Proximal(strength=7.0, metric=metric), learner) == 7).all()


# ---------------------------------------------------------------------- strength, direction


def test_strength_multiplies_the_fisher_information() -> None:
    learner = Quadratics(alike(0, 2), [positive(1), positive(2)], underestimate=9.0)
    strategy = Proximal(strength=2.0)
    for k in range(2):
        learn(strategy, learner, k)
    close(learner.parameters, best(learner.minima, learner.curvatures, [2.0 / 9.0, 1.0]))


def test_direction_multiplies_the_curvature() -> None:
    """By 1 − cos of each block: 1 where gradients are orthogonal, 0 along, 2 against."""
    g = {n: torch.zeros_like(v) for n, v in flat(1).items()}
    for n in TRAINED:
        g[n].flatten(1)[:, 0] = 3.0
    cosines = torch.tensor([[0, 1, -1], [1, 0, 0.6], [-1, -1, 0], [0.6, 1, 1], [0, 0, 0]])
    cosines = torch.cat([cosines, torch.tensor([[-0.8, 0.8, 0.6]])]).double()

    class Turned(Quadratics):
        """Gradients have these cosines with those where the first task ended."""

        def gradient(self) -> Parameters:
            if self.task == 0:
                return {n: v.clone() for n, v in g.items()}
            found = {n: torch.zeros_like(v) for n, v in g.items()}
            for n in TRAINED:
                c = cosines[:, BLOCKS.index(block_of(n))]
                found[n].flatten(1)[:, 0] = 0.2 * c
                found[n].flatten(1)[:, 1] = 0.2 * (1 - c**2).sqrt()
            return found

    kept = {}
    for directed in (False, True):
        learner = Turned(alike(0, 2), [positive(1), positive(2)])
        strategy = Proximal(strength=5.0, directed=directed)
        learner.arrive(0)
        strategy.begin(learner)  # type: ignore[arg-type]
        strategy.finish(learner)  # type: ignore[arg-type]
        learner.arrive(1)
        strategy.begin(learner)  # type: ignore[arg-type]
        learner.move_to(learner.minima[1])
        strategy.after_step(learner)  # type: ignore[arg-type]
        kept[directed] = learner.parameters
    for n in TRAINED:
        c = cosines[:, BLOCKS.index(block_of(n))].view(-1, *[1] * (g[n].dim() - 1))
        pull = 0.1 * 5.0 * (1 - c) * learner.curvatures[0][n]
        move = (learner.minima[1][n] - learner.before[n]) / (1 + pull)
        expected = learner.before[n] + move
        torch.testing.assert_close(kept[True][n], expected, rtol=1e-6, atol=1e-6)
        same = cosines[:, BLOCKS.index(block_of(n))] == 0
        assert kept[True][n][same].equal(kept[False][n][same])
        assert not kept[True][n][~same].equal(kept[False][n][~same])


def test_direction_compares_gradients_where_the_task_before_ended() -> None:
    """Of the task just before, not of the sum of all earlier ones."""
    learner = Quadratics(alike(0, 3), [positive(k) for k in range(3)])
    strategy = Proximal(strength=1.0, directed=True)
    for k in range(2):
        learn(strategy, learner, k, count=5)
    last = learner.gradient()
    learner.arrive(2)
    strategy.begin(learner)  # type: ignore[arg-type]
    own = learner.gradient()
    learner.move_to(learner.minima[2])
    strategy.after_step(learner)  # type: ignore[arg-type]
    for b in BLOCKS:
        names = [n for n in TRAINED if block_of(n) == b]
        for r in range(REPLICAS):
            one, other = (torch.cat([g[n][r].flatten() for n in names]) for g in (own, last))
            alike_ = one @ other / (one.norm() * other.norm())
            for n in names:
                c = (1 - alike_) * (learner.curvatures[0][n] + learner.curvatures[1][n])[r]
                start = learner.before[n][r]
                expected = start + (learner.minima[2][n][r] - start) / (1 + 0.1 * c)
                torch.testing.assert_close(learner.parameters[n][r], expected, rtol=1e-6, atol=1e-6)


# --------------------------------------------------------------------------- plain loops

OPTIONS: list[dict[str, Any]] = [
    {},
    {"metric": "identity"},
    {"directed": True},
    {"strength": 30.0},
    {"strength": 30.0, "directed": True},
    {"strength": 0.5, "metric": "identity"},
]


def calibrated(plain: Plain, k: int, start: list[Any], f: list[Any], metric: str) -> list[float]:
    """Return by what to multiply each layer's Fisher information: half of its move is undone."""
    images, units = plain.samples(k)

    def loss() -> float:
        with torch.no_grad():
            return float(plain.loss(plain.model(images), units, k, k + 1))

    found, reached = [], loss()
    for of, move, of_f in zip(layers(plain), moves(plain, start), f, strict=True):
        for p, m in zip(of, move, strict=True):
            p.data -= m / 2
        rise = loss() - reached
        for p, m in zip(of, move, strict=True):
            p.data += m / 2
        bent = [c * m / 2 for c, m in zip(of_f, move, strict=True)]
        predicted = product(bent, move) / 4
        least = 1.0 if metric == "fisher" else 0.0
        found.append(min(max(rise / predicted, least), 1e5))
    return found


@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_against_a_plain_loop(
    six: Dataset, scenario: str, options: dict[str, Any], momentum: float
) -> None:
    stream = three_tasks(six, scenario)
    network, after = trained(stream, Proximal(**options), momentum)
    plain = Plain(stream, network, momentum)
    metric, strength = options.get("metric", "fisher"), options.get("strength")
    pulls = [[torch.zeros_like(p) for p in of] for of in layers(plain)]
    last: list[list[torch.Tensor]] = []
    measured = []
    for k in range(3):
        start = [[p.detach().clone() for p in of] for of in layers(plain)]
        factors = [RATE] * 3
        if k and options.get("directed"):
            for b, (one, other) in enumerate(zip(gradient(plain, k), last, strict=True)):
                size = (product(one, one) * product(other, other)) ** 0.5
                factors[b] *= 1 - product(one, other) / size
        for _ in steps(plain, k):
            for of, began, c, factor in zip(layers(plain), start, pulls, factors, strict=True):
                for p, s, values in zip(of, began, c, strict=True):
                    p.data = s + (p.data - s) / (1 + factor * values)
        plain.agrees(after[k])
        f = [[torch.ones_like(p) for p in of] for of in layers(plain)]
        if metric == "fisher":
            f = by_layer(plain, fisher(plain, k))
        heights = [strength] * 3 if strength else calibrated(plain, k, start, f, metric)
        measured += heights
        for c, of_f, height in zip(pulls, f, heights, strict=True):
            for i, values in enumerate(of_f):
                c[i] = c[i] + height * values
        last = gradient(plain, k)
    if not strength:
        assert len(set(measured)) > 5, "too weak: floors alone"
    matters(stream, momentum, after)


# --------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("options", OPTIONS[:3], ids=str)
def test_first_task_is_initialized_training(
    colored: Dataset, make: Any, options: dict[str, Any]
) -> None:
    (_, one), (_, other) = (run(colored, make, s) for s in (Proximal(**options), Initialized()))
    assert equal(one[0], other[0])
    assert not equal(one[1], other[1])


@pytest.mark.parametrize("make", NETWORKS)
def test_tiny_strength_is_initialized_training_and_a_huge_one_stays(
    colored: Dataset, make: Any
) -> None:
    (_, free), (_, other) = (
        run(colored, make, s) for s in (Proximal(strength=1e-30), Initialized())
    )
    for n, p in free[2].items():
        torch.testing.assert_close(p, other[2][n], rtol=1e-6, atol=1e-7)
    outcome, held = run(colored, make, Proximal(strength=1e30, metric="identity"))
    assert (outcome.drift[:, 1:] == 0).all()
    assert all(p.isfinite().all() for p in held[2].values())


# --------------------------------------------------------------------- alone, and again

VARIANTS: dict[str, Callable[[], Strategy]] = {
    "fisher": Proximal,
    "identity": lambda: Proximal(metric="identity"),
    "directed": lambda: Proximal(directed=True),
    "strength": lambda: Proximal(strength=100.0),
}


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("name", VARIANTS)
def test_alone_or_among_others(colored: Dataset, make: Any, name: str) -> None:
    alone_or_among_others(colored, make, VARIANTS[name])


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("name", VARIANTS)
def test_rerun_is_bit_equal(colored: Dataset, make: Any, name: str) -> None:
    again(colored, make, VARIANTS[name])


# --------------------------------------------------------------------------- bad options


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_bad_strength(value: float) -> None:
    message = f"strength {value} of a proximal term: it must be finite, above 0"
    with pytest.raises(InputError, match=message):
        Proximal(strength=value)


def test_adam_is_refused_before_anything_trains(
    colored: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Proximal, "begin", lambda *_: pytest.fail("it began"))
    message = "optimizer 'adam' with Proximal, which makes sense with sgd alone: choose that"
    with pytest.raises(InputError, match=message):
        train(
            [permuted(colored, [], seed=0)],
            ResNet18(3, 6, width=2),
            Proximal(),
            [0],
            Budget(1, 16, 1e-3, optimizer="adam"),
        )


def test_bad_metric() -> None:
    with pytest.raises(InputError, match="unknown metric 'identiy': did you mean 'identity'"):
        Proximal(metric="identiy")
