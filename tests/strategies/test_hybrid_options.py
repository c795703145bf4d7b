"""When Hybrid takes the gradients that it compares, and with which metric."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from clcore.errors import InputError
from clcore.measures import cosine, sign_agreement
from clcore.networks import MLP, Network, Parameters
from clcore.results import check_begin, parse_grid
from clcore.strategies import METRICS, Hybrid
from clcore.streams import SCENARIOS, Dataset
from clcore.training import Budget, train
from tests.strategies.test_regularized import (
    BATCH,
    EPOCHS,
    MOMENTA,
    RATE,
    SEED,
    Double,
    Plain,
    three_tasks,
)


class Stand:
    """A learner whose gradient below the head, (R, 2), is given: where a task arrives, or ends."""

    def __init__(self) -> None:
        self.network: Network = MLP(4, [5, 5], 2)
        self.parameters: Parameters = {}
        self.replicas, self.task = 2, 0
        self.notes: dict[str, torch.Tensor] = {}
        self.now: list[list[float]] = []

    def gradient(self) -> Parameters:
        body = torch.tensor(self.now)
        return {"layer1.weight": body[:, :1, None], "layer2.bias": body[:, None, 1:]}


# Of two replicas. Each task's gradients at its arrival and at its end have nothing in common.
ARRIVALS = [[[1.0, 0.0], [3.0, 4.0]], [[0.0, 2.0], [4.0, 3.0]], [[0.0, -1.0], [4.0, 3.0]]]
ENDS = [[[0.0, 1.0], [-4.0, -3.0]], [[1.0, 0.0], [0.0, -2.0]], [[5.0, 5.0], [5.0, 5.0]]]
SIMILARITIES = {
    "arrival": [[0.0, 24 / 25], [-1.0, 1.0]],  # arrivals with arrivals
    "end": [[1.0, -1.0], [0.0, -3 / 5]],  # arrivals with ends
}


@pytest.mark.parametrize("taken", SIMILARITIES)
def test_gradient_is_taken_when_it_says(taken: str) -> None:
    hybrid, learner = Hybrid(0.5, taken=taken), Stand()
    for task in range(3):
        learner.task, learner.notes = task, {}
        learner.now = ARRIVALS[task]
        modules = hybrid.begin(learner).sum(1)  # type: ignore[arg-type]
        if task:
            expected = SIMILARITIES[taken][task - 1]
            assert learner.notes["similarity"].tolist() == pytest.approx(expected)
            assert modules.tolist() == [1 if s >= 0.5 else 3 for s in expected]
        else:
            assert modules.tolist() == [3, 3]
        learner.now = ENDS[task]
        hybrid.finish(learner)  # type: ignore[arg-type]


def test_end_is_the_default() -> None:
    assert (Hybrid().taken, Hybrid().metric) == ("end", "cosine")


# The first replica's entries agree in one of two signs; those of the second in both.
BEFORE, ARRIVED = [[1.0, 0.1], [1.0, 9.0]], [[9.0, -0.1], [9.0, 1.0]]
SCORES = {
    "cosine": [(9 - 0.01) / (1.01 * 81.01) ** 0.5, 18 / 82],
    "sign": [0.0, 1.0],
}


@pytest.mark.parametrize("name", SCORES)
def test_metric_by_name(name: str) -> None:
    hybrid, learner = Hybrid(0.5, metric=name), Stand()
    learner.now = BEFORE
    hybrid.begin(learner)  # type: ignore[arg-type]
    hybrid.finish(learner)  # type: ignore[arg-type]
    learner.task, learner.now = 1, ARRIVED
    modules = hybrid.begin(learner).sum(1)  # type: ignore[arg-type]
    assert learner.notes["similarity"].tolist() == pytest.approx(SCORES[name])
    assert modules.tolist() == [1 if s >= 0.5 else 3 for s in SCORES[name]]


def test_metrics() -> None:
    assert METRICS["cosine"] is cosine
    assert METRICS["sign"] is sign_agreement
    assert set(SCORES) == set(METRICS)


@pytest.fixture(scope="module")
def six(learnable: Callable[..., Dataset]) -> Dataset:
    """Return 90 + 30 images of 1 × 4 × 4 pixels in 6 classes."""
    return learnable(1, 4, 90, 6)


def of_body(plain: Plain, k: int) -> torch.Tensor:
    """Return the gradient of a task's mean loss below the head."""
    images, units = plain.samples(k)
    loss = plain.loss(plain.model(images), units, k, k + 1)
    slopes = torch.autograd.grad(loss, plain.parameters)
    return torch.cat([g.flatten() for g in slopes[:-2]])


@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("taken", SIMILARITIES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_similarities_of_a_plain_loop(
    six: Dataset, scenario: str, taken: str, metric: str, momentum: float
) -> None:
    """A threshold below every similarity, and all modules: initialized training."""
    stream = three_tasks(six, scenario)
    network = Double(16, [12, 10], stream.outputs)
    hybrid = Hybrid(-2.0, few=3, metric=metric, taken=taken)
    outcome = train([stream], network, hybrid, [SEED], Budget(EPOCHS, BATCH, RATE, momentum))
    plain, expected = Plain(stream, network, momentum), []
    before = torch.zeros(0)
    for k in range(3):
        arrived = of_body(plain, k)
        if k:
            one, other = arrived, before
            if metric == "sign":
                one, other = one.sign(), other.sign()
            expected.append(float(one @ other / (one.norm() * other.norm())))
        optimizer = plain.optimizer()
        for images, units in plain.batches(k):
            optimizer.zero_grad()
            plain.loss(plain.model(images), units, k, k + 1).backward()
            optimizer.step()
        before = arrived if taken == "arrival" else of_body(plain, k)
    assert outcome.notes["similarity"][0, 1:] == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert np.ptp(expected) > 1e-3


# ------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "cosin"}, "unknown metric 'cosin': did you mean 'cosine'"),
        ({"metric": "signs"}, "unknown metric 'signs': did you mean 'sign'"),
        ({"metric": "euclid"}, "unknown metric 'euclid': choose one of cosine, sign"),
        ({"taken": "ends"}, "unknown moment to take a gradient 'ends': did you mean 'end'"),
        ({"taken": "before"}, "'before': choose one of arrival, end"),
    ],
)
def test_unknown_names(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Hybrid(**options)
    spec = parse_grid(grid(**options)).reported[0][0]
    with pytest.raises(InputError, match=message):
        check_begin(spec)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": 3}, "metric = 3: expected text"),
        ({"taken": ["end"]}, "taken = .'end'.: expected text"),
        ({"takes": "end"}, "unknown option of strategy 'hybrid' 'takes': did you mean 'taken'"),
    ],
)
def test_what_no_grid_may_say(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_grid(grid(**options))


def test_grid_chooses_metric_and_moment() -> None:
    built = parse_grid(grid(metric="sign", taken="arrival")).reported[0][0].build_strategy()
    assert isinstance(built, Hybrid)
    assert (built.metric, built.taken) == ("sign", "arrival")


def grid(**options: Any) -> dict[str, Any]:
    return {
        "dataset": "digits",
        "seeds": [0],
        "stream": {"name": "permuted", "fractions": [1.0]},
        "network": {"name": "mlp", "hidden": [8]},
        "strategy": {"name": "hybrid", **options},
        "budget": {"epochs": 1, "batch": 64, "learning_rate": 0.1},
    }
