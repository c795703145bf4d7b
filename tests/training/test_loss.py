import torch
import torch.nn.functional as F

from clcore.training import cross_entropy


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
