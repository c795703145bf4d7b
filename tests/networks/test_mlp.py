"""The handwritten backward pass against autograd on plain operations, and against differences."""

import itertools

import pytest
import torch
from torch import Tensor

from clcore.errors import InputError
from clcore.networks import MLP, Parameters, block_of, path
from clcore.seeds import generator

NETWORK = MLP(5, [7, 6], 3, heads=2)
HEAD = 1
BLOCKS = path(NETWORK, HEAD)
REPLICAS = 3


def draw(seed: int, *shape: int) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=draws, dtype=torch.float64)


@pytest.fixture
def parameters() -> Parameters:
    return {n: p.double() for n, p in NETWORK.initialize([4, 5, 6], torch.device("cpu")).items()}


IMAGES = draw(1, REPLICAS, 9, 5)
SLOPE = draw(2, REPLICAS, 9, 3)
ALL = torch.ones(REPLICAS, 3, dtype=torch.bool)


def plain_logits(parameters: Parameters) -> Tensor:
    """Return the logits, replica by replica and with out-of-place operations alone."""
    outputs = []
    for r in range(REPLICAS):
        hidden = IMAGES[r]
        for block in BLOCKS:
            hidden = hidden @ parameters[f"{block}.weight"][r] + parameters[f"{block}.bias"][r]
            if block != BLOCKS[-1]:
                hidden = hidden * (hidden > 0)
        outputs.append(hidden)
    return torch.stack(outputs)


def autograd(parameters: Parameters) -> Parameters:
    """Return the gradient of (logits · slope) by the parameters on the path."""
    leaves = {n: p.clone().requires_grad_() for n, p in parameters.items() if block_of(n) in BLOCKS}
    value = (plain_logits(leaves) * SLOPE).sum()
    return dict(zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True))


def ours(parameters: Parameters, trainable: Tensor = ALL) -> Parameters:
    out = {n: torch.zeros_like(p) for n, p in parameters.items() if block_of(n) in BLOCKS}
    NETWORK.forward(parameters, IMAGES, HEAD, trainable)[1](SLOPE, out)
    return out


def column(name: str, of: Tensor) -> Tensor:
    """Return the (R, blocks) entries of the parameter's block, ready to broadcast."""
    return of[:, BLOCKS.index(block_of(name)), None, None]


def close(found: Parameters, expected: Parameters) -> None:
    assert found.keys() == expected.keys()
    for name in found:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-11, atol=1e-13, msg=name)


def test_logits(parameters: Parameters) -> None:
    logits, _ = NETWORK.forward(parameters, IMAGES, HEAD)
    torch.testing.assert_close(logits, plain_logits(parameters), rtol=1e-12, atol=1e-14)


def test_gradient_is_that_of_autograd(parameters: Parameters) -> None:
    close(ours(parameters), autograd(parameters))


def test_gradient_is_that_of_differences(parameters: Parameters) -> None:
    step = 1e-6
    found = ours(parameters)
    for name, gradient in found.items():
        flat = parameters[name].view(-1)
        for i in range(len(flat)):
            kept = flat[i].item()
            values = []
            for moved in (kept + step, kept - step):
                flat[i] = moved
                logits, _ = NETWORK.forward(parameters, IMAGES, HEAD)
                values.append((logits * SLOPE).sum().item())
            flat[i] = kept
            difference = (values[0] - values[1]) / (2 * step)
            assert gradient.view(-1)[i].item() == pytest.approx(difference, rel=1e-6, abs=1e-7)


SETS = [torch.tensor(rows, dtype=torch.bool) for rows in itertools.product([0, 1], repeat=3)]


@pytest.mark.parametrize("common", SETS)
def test_part_that_trains(parameters: Parameters, common: Tensor) -> None:
    """All replicas train the same blocks; the others' targets are not touched at all."""
    expected = autograd(parameters)
    out = {n: torch.full_like(p, 7.0) for n, p in expected.items()}
    trainable = common.expand(REPLICAS, -1)
    NETWORK.forward(parameters, IMAGES, HEAD, trainable)[1](SLOPE, out)
    for name in out:
        trains = bool(common[BLOCKS.index(block_of(name))])
        wanted = expected[name] if trains else torch.full_like(out[name], 7.0)
        torch.testing.assert_close(out[name], wanted, rtol=1e-11, atol=1e-13, msg=name)


@pytest.mark.parametrize("shift", range(8))
def test_replicas_that_train_different_parts(parameters: Parameters, shift: int) -> None:
    trainable = torch.stack([SETS[(shift + 3 * r) % 8] for r in range(REPLICAS)])
    expected = {n: g * column(n, trainable) for n, g in autograd(parameters).items()}
    close(ours(parameters, trainable), expected)


def test_scale_and_beta(parameters: Parameters) -> None:
    scale = draw(3, REPLICAS, 3)
    before = {n: draw(4, *p.shape) for n, p in autograd(parameters).items()}
    out = {n: p.clone() for n, p in before.items()}
    NETWORK.forward(parameters, IMAGES, HEAD, ALL)[1](SLOPE, out, beta=0.7, scale=scale)
    close(
        out,
        {n: 0.7 * before[n] + column(n, scale) * g for n, g in autograd(parameters).items()},
    )


def test_descent_in_place_is_gradient_then_step(parameters: Parameters) -> None:
    trainable = torch.tensor([[1, 1, 1], [0, 1, 1], [0, 0, 1]], dtype=torch.bool)
    downhill = -torch.tensor([[0.1], [0.2], [0.4]]).double() * trainable
    expected = {n: p.clone() for n, p in parameters.items()}
    for name, gradient in autograd(parameters).items():
        expected[name] += column(name, downhill) * gradient
    _, backward = NETWORK.forward(parameters, IMAGES, HEAD, trainable)
    backward(SLOPE, parameters, beta=1.0, scale=downhill)
    close(parameters, expected)


def test_stacked_equals_alone() -> None:
    """In float32, where the order of summation may differ: to 1e-6 of the largest entry."""
    images, slope = IMAGES.float(), SLOPE.float()
    together = NETWORK.initialize([4, 5, 6], torch.device("cpu"))
    logits, backward = NETWORK.forward(together, images, HEAD, ALL)
    out = {n: torch.zeros_like(together[n]) for n in together}
    backward(slope, out)
    for r, seed in enumerate([4, 5, 6]):
        alone = NETWORK.initialize([seed], torch.device("cpu"))
        one, backward = NETWORK.forward(alone, images[r : r + 1], HEAD, ALL[:1])
        torch.testing.assert_close(one[0], logits[r], rtol=1e-6, atol=1e-6)
        mine = {n: torch.zeros_like(alone[n]) for n in alone}
        backward(slope[r : r + 1], mine)
        for name in mine:
            assert torch.equal(alone[name][0], together[name][r]), name
            torch.testing.assert_close(mine[name][0], out[name][r], rtol=1e-6, atol=5e-6)


def test_initialization_is_uniform_within_the_bound() -> None:
    network = MLP(100, [400], 50)
    parameters = network.initialize([0], torch.device("cpu"))
    for name, rows in (("layer1.weight", 100), ("head0.weight", 400), ("layer1.bias", 100)):
        values, bound = parameters[name], rows**-0.5
        assert 0.98 * bound < values.abs().max() <= bound
        assert values.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
        assert abs(values.mean().item()) < 0.2 * bound


def test_replicas_start_from_their_own_seed() -> None:
    found = NETWORK.initialize([1, 2, 1], torch.device("cpu"))
    for values in found.values():
        assert torch.equal(values[0], values[2])
        assert not torch.equal(values[0], values[1])


def test_more_heads_leave_the_body_as_it_is() -> None:
    one = MLP(5, [7, 6], 3).initialize([0], torch.device("cpu"))
    two = NETWORK.initialize([0], torch.device("cpu"))
    assert all(torch.equal(one[n], two[n]) for n in one)
    assert not torch.equal(two["head0.weight"], two["head1.weight"])


@pytest.mark.parametrize(
    ("inputs", "hidden", "outputs", "heads"),
    [(0, [3], 2, 1), (3, [], 2, 1), (3, [0], 2, 1), (3, [3], 0, 1), (3, [3], 2, 0)],
)
def test_bad_sizes(inputs: int, hidden: list[int], outputs: int, heads: int) -> None:
    with pytest.raises(InputError, match="at least 1, with at least one hidden layer"):
        MLP(inputs, hidden, outputs, heads)


def test_dropout_keeps_the_mean_and_belongs_to_the_replica() -> None:
    network = MLP(6, [400, 400], 3, dropout=0.25)
    parameters = network.initialize([1, 2], torch.device("cpu"))
    images = torch.randn((2, 5, 6), generator=torch.Generator().manual_seed(0))
    trainable = torch.ones((2, 3), dtype=torch.bool)

    def draws(seeds: list[int]) -> list[torch.Generator]:
        return [generator(seed, "dropout", 0) for seed in seeds]

    both, _ = network.forward(parameters, images, 0, trainable, None, draws([1, 2]))
    for r, seed in enumerate([1, 2]):
        own = {n: p[r : r + 1] for n, p in parameters.items()}
        alone, _ = network.forward(own, images[r : r + 1], 0, trainable[:1], None, draws([seed]))
        torch.testing.assert_close(alone[0], both[r], rtol=1e-4, atol=1e-6)
    judged, _ = network.forward(parameters, images, 0)
    plain = MLP(6, [400, 400], 3)
    assert judged.equal(plain.forward(parameters, images, 0)[0])
    generators = draws([1, 2])
    many = [
        network.forward(parameters, images, 0, trainable, None, generators)[0] for _ in range(400)
    ]
    spread = torch.stack(many).std(0)
    assert (spread > 0).all()
    # ReLU after a dropped layer is convex, so the mean is near the undropped value, not on it.
    assert ((torch.stack(many).mean(0) - judged).abs() < spread).all()


def test_gradient_under_dropout_against_finite_differences() -> None:
    network = MLP(4, [6, 5], 3, dropout=0.4)
    parameters = {n: p.double() for n, p in network.initialize([3], torch.device("cpu")).items()}
    images = torch.randn((1, 7, 4), generator=torch.Generator().manual_seed(1)).double()
    slope = torch.randn((1, 7, 3), generator=torch.Generator().manual_seed(2)).double()
    trainable = torch.ones((1, 3), dtype=torch.bool)

    def value() -> float:
        draws = [generator(3, "dropout", 0)]
        logits, _ = network.forward(parameters, images, 0, trainable, None, draws)
        return float((logits * slope).sum())

    gradients = {n: torch.zeros_like(p) for n, p in parameters.items()}
    _, backward = network.forward(
        parameters, images, 0, trainable, None, [generator(3, "dropout", 0)]
    )
    backward(slope, gradients)
    for name, p in parameters.items():
        flat = p.view(-1)
        for i in range(len(flat)):
            kept = flat[i].item()
            flat[i] = kept + 1e-6
            above = value()
            flat[i] = kept - 1e-6
            below = value()
            flat[i] = kept
            assert gradients[name].view(-1)[i].item() == pytest.approx(
                (above - below) / 2e-6, rel=1e-5, abs=1e-6
            )


def test_bfloat16_is_near_float32_and_updates_in_float32() -> None:
    plain, rough = MLP(50, [40, 30], 5), MLP(50, [40, 30], 5, bf16=True)
    parameters = plain.initialize([0, 1], torch.device("cpu"))
    images = torch.randn((2, 64, 50), generator=torch.Generator().manual_seed(0))
    slope = torch.randn((2, 64, 5), generator=torch.Generator().manual_seed(1))
    trainable = torch.ones((2, 3), dtype=torch.bool)
    found = []
    for network in (plain, rough):
        gradients = {n: torch.zeros_like(p) for n, p in parameters.items()}
        logits, backward = network.forward(parameters, images, 0, trainable)
        backward(slope, gradients)
        assert logits.dtype == torch.float32
        found.append((logits, gradients))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0, atol=0.02)
    for name, expected in found[0][1].items():
        got = found[1][1][name]
        assert got.dtype == torch.float32
        # Units whose sign the rounding flips pass another slope on.
        assert (got - expected).norm() < 0.1 * expected.norm()
