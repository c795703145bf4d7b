import pytest
import torch
import torch.nn.functional as F

from clcore.networks.loss import cross_entropy, masked


def test_loss_and_slope_are_those_of_torch() -> None:
    draws = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 5, 4, generator=draws, dtype=torch.float64)
    labels = torch.randint(4, (2, 5), generator=draws)
    weights = torch.rand(2, 5, generator=draws, dtype=torch.float64)
    weights[1, 3:] = 0
    leaf = logits.clone().requires_grad_()
    each = F.cross_entropy(leaf.transpose(1, 2), labels, reduction="none")
    expected = (each * weights).sum(1)
    (gradient,) = torch.autograd.grad(expected.sum(), leaf)
    loss, slope = cross_entropy(logits, labels, weights)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(slope, gradient, rtol=1e-12, atol=1e-15)
    assert torch.equal(slope[1, 3:], torch.zeros(2, 4, dtype=torch.float64))


def test_by_hand() -> None:
    """Logits (ln 3, 0) give probabilities (3/4, 1/4): the loss for class 1 is ln 4."""
    logits = torch.tensor([[[3.0, 1.0]]]).log()
    loss, slope = cross_entropy(logits, torch.tensor([[1]]), torch.ones(1, 1))
    torch.testing.assert_close(loss, torch.tensor([4.0]).log())
    torch.testing.assert_close(slope, torch.tensor([[[0.75, -0.75]]]))


def test_large_logits_do_not_overflow() -> None:
    logits = torch.tensor([[[1000.0, -1000.0]]])
    loss, slope = cross_entropy(logits, torch.tensor([[1]]), torch.ones(1, 1))
    assert loss.item() == 2000
    assert torch.equal(slope, torch.tensor([[[1.0, -1.0]]]))


# Of three replicas with five outputs: which compete for their samples, each sample with its own.
UNITS = [
    [[0, 1], [0, 1], [2, 3, 4]],
    [[1, 4], [3], [0, 1, 2, 3, 4]],
    [[2, 0], [1, 2, 3], [4, 2]],
]


@pytest.mark.parametrize("one_for_all", [True, False])
def test_competing_outputs_are_a_softmax_over_them_alone(one_for_all: bool) -> None:
    """Against torch on the logits that are left, sample by sample."""
    draws = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(3, 3, 5, generator=draws, dtype=torch.float64)
    weights = torch.rand(3, 3, generator=draws, dtype=torch.float64)
    groups = [[row[0]] * 3 if one_for_all else row for row in UNITS]
    competing = torch.zeros(3, 1 if one_for_all else 3, 5, dtype=torch.bool)
    labels = torch.empty(3, 3, dtype=torch.int64)
    expected, slopes = torch.zeros(3, dtype=torch.float64), torch.zeros_like(logits)
    for r, row in enumerate(groups):
        for n, units in enumerate(row):
            competing[r, 0 if one_for_all else n, units] = True
            place = n % len(units)
            labels[r, n] = units[place]
            left = logits[r, n, units].clone().requires_grad_()
            loss = weights[r, n] * F.cross_entropy(left[None], torch.tensor([place]))
            (slopes[r, n, units],) = torch.autograd.grad(loss, left)
            expected[r] += loss.item()
            chances = masked(logits, competing)[r, n].softmax(0)
            torch.testing.assert_close(chances[units], left.detach().softmax(0))
            assert chances.sum().item() == pytest.approx(1, abs=1e-12)
    before = logits.clone()
    found, slope = cross_entropy(logits, labels, weights, competing)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(slope, slopes, rtol=1e-12, atol=1e-15)
    assert (slope[~competing.expand_as(slope)] == 0).all()
    assert logits.equal(before)


def test_padding_whose_label_does_not_compete() -> None:
    competing = torch.tensor([[[False, True, True]]])
    loss, slope = cross_entropy(
        torch.zeros(1, 2, 3), torch.tensor([[1, 0]]), torch.tensor([[1.0, 0.0]]), competing
    )
    torch.testing.assert_close(loss, torch.tensor([2.0]).log())
    torch.testing.assert_close(slope[0], torch.tensor([[0.0, -0.5, 0.5], [0.0, 0.0, 0.0]]))


def test_all_compete_if_nothing_else_is_said() -> None:
    logits, labels, weights = torch.randn(2, 3, 4), torch.zeros(2, 3).long(), torch.ones(2, 3)
    assert masked(logits, None) is logits
    every = torch.ones(2, 1, 4, dtype=torch.bool)
    for one, other in zip(
        cross_entropy(logits, labels, weights),
        cross_entropy(logits, labels, weights, every),
        strict=True,
    ):
        assert one.equal(other)
