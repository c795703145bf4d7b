"""The handwritten backward pass against autograd on plain operations, and against differences."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clcore.errors import InputError
from clcore.networks import MLP, Parameters, block_of
from clcore.seeds import generator

NETWORK = MLP(5, [7, 6], 3)
BLOCKS = NETWORK.blocks
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


def logits_of_one(parameters: Parameters, r: int, images: Tensor) -> Tensor:
    """Return the logits of one replica, with out-of-place operations alone."""
    for block in BLOCKS:
        images = images @ parameters[f"{block}.weight"][r] + parameters[f"{block}.bias"][r]
        if block != BLOCKS[-1]:
            images = images * (images > 0)
    return images


def plain_logits(parameters: Parameters) -> Tensor:
    return torch.stack([logits_of_one(parameters, r, IMAGES[r]) for r in range(REPLICAS)])


def autograd(parameters: Parameters) -> Parameters:
    """Return the gradient of (logits · slope) by the parameters."""
    leaves = {n: p.clone().requires_grad_() for n, p in parameters.items()}
    value = (plain_logits(leaves) * SLOPE).sum()
    return dict(zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True))


def ours(parameters: Parameters, trainable: Tensor = ALL) -> Parameters:
    out = {n: torch.zeros_like(p) for n, p in parameters.items()}
    NETWORK.forward(parameters, IMAGES, trainable)[1](SLOPE, out)
    return out


def column(name: str, of: Tensor) -> Tensor:
    """Return the (R, blocks) entries of the parameter's block, ready to broadcast."""
    return of[:, BLOCKS.index(block_of(name)), None, None]


def close(found: Parameters, expected: Parameters) -> None:
    assert found.keys() == expected.keys()
    for name in found:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-11, atol=1e-13, msg=name)


def test_logits(parameters: Parameters) -> None:
    logits, _ = NETWORK.forward(parameters, IMAGES)
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
                logits, _ = NETWORK.forward(parameters, IMAGES)
                values.append((logits * SLOPE).sum().item())
            flat[i] = kept
            difference = (values[0] - values[1]) / (2 * step)
            assert gradient.view(-1)[i].item() == pytest.approx(difference, rel=1e-6, abs=1e-7)


def test_squared_gradients_against_single_samples(parameters: Parameters) -> None:
    """One sample after the other by autograd; the last of each replica is padding."""
    labels = torch.randint(3, (REPLICAS, 9), generator=torch.Generator().manual_seed(3))
    weights = draw(4, REPLICAS, 9).abs()
    weights[:, -1] = 0

    def slopes(logits: Tensor) -> Tensor:
        torch.testing.assert_close(logits, plain_logits(parameters), rtol=1e-12, atol=1e-14)
        return (logits.softmax(2) - F.one_hot(labels, 3)) * weights[..., None]

    expected = {n: draw(5, *p.shape) for n, p in parameters.items()}  # what is there already
    out = {n: value.clone() for n, value in expected.items()}
    NETWORK.add_squared_gradients(parameters, IMAGES, slopes, out)
    for r, i in itertools.product(range(REPLICAS), range(8)):
        leaves = {n: p.clone().requires_grad_() for n, p in parameters.items()}
        answer = logits_of_one(leaves, r, IMAGES[r, i : i + 1])
        loss = weights[r, i] * F.cross_entropy(answer, labels[r, i : i + 1])
        found = torch.autograd.grad(loss, list(leaves.values()))
        for name, gradient in zip(leaves, found, strict=True):
            expected[name][r] += gradient[r] ** 2
    close(out, expected)


SETS = [torch.tensor(rows, dtype=torch.bool) for rows in itertools.product([0, 1], repeat=3)]


@pytest.mark.parametrize("common", SETS)
def test_part_that_trains(parameters: Parameters, common: Tensor) -> None:
    """All replicas train the same blocks; the others' targets are not touched at all."""
    expected = autograd(parameters)
    out = {n: torch.full_like(p, 7.0) for n, p in expected.items()}
    trainable = common.expand(REPLICAS, -1)
    NETWORK.forward(parameters, IMAGES, trainable)[1](SLOPE, out)
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
    NETWORK.forward(parameters, IMAGES, ALL)[1](SLOPE, out, beta=0.7, scale=scale)
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
    _, backward = NETWORK.forward(parameters, IMAGES, trainable)
    backward(SLOPE, parameters, beta=1.0, scale=downhill)
    close(parameters, expected)


def test_stacked_equals_alone() -> None:
    """In float32, where the order of summation may differ: to 1e-6 of the largest entry."""
    images, slope = IMAGES.float(), SLOPE.float()
    together = NETWORK.initialize([4, 5, 6], torch.device("cpu"))
    logits, backward = NETWORK.forward(together, images, ALL)
    out = {n: torch.zeros_like(together[n]) for n in together}
    backward(slope, out)
    for r, seed in enumerate([4, 5, 6]):
        alone = NETWORK.initialize([seed], torch.device("cpu"))
        one, backward = NETWORK.forward(alone, images[r : r + 1], ALL[:1])
        torch.testing.assert_close(one[0], logits[r], rtol=1e-6, atol=1e-6)
        mine = {n: torch.zeros_like(alone[n]) for n in alone}
        backward(slope[r : r + 1], mine)
        for name in mine:
            assert torch.equal(alone[name][0], together[name][r]), name
            torch.testing.assert_close(mine[name][0], out[name][r], rtol=1e-6, atol=5e-6)


def test_initialization_is_uniform_within_the_bound() -> None:
    network = MLP(100, [400], 50)
    parameters = network.initialize([0], torch.device("cpu"))
    for name, rows in (("layer1.weight", 100), ("head.weight", 400), ("layer1.bias", 100)):
        values, bound = parameters[name], rows**-0.5
        assert 0.98 * bound < values.abs().max() <= bound
        assert values.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
        assert abs(values.mean().item()) < 0.2 * bound


def test_replicas_start_from_their_own_seed() -> None:
    found = NETWORK.initialize([1, 2, 1], torch.device("cpu"))
    for values in found.values():
        assert torch.equal(values[0], values[2])
        assert not torch.equal(values[0], values[1])


def test_more_outputs_leave_what_is_below_them_as_it_is() -> None:
    few = NETWORK.initialize([0], torch.device("cpu"))
    many = MLP(5, [7, 6], 8).initialize([0], torch.device("cpu"))
    assert few.keys() == many.keys()
    for name in few:
        same = few[name].shape == many[name].shape and torch.equal(few[name], many[name])
        assert same == (block_of(name) != "head")


@pytest.mark.parametrize(
    ("inputs", "hidden", "outputs"), [(0, [3], 2), (3, [], 2), (3, [0], 2), (3, [3], 0)]
)
def test_bad_sizes(inputs: int, hidden: list[int], outputs: int) -> None:
    with pytest.raises(InputError, match="at least 1, with at least one hidden layer"):
        MLP(inputs, hidden, outputs)


def test_dropout_keeps_the_mean_and_belongs_to_the_replica() -> None:
    network = MLP(6, [400, 400], 3, dropout=0.25)
    parameters = network.initialize([1, 2], torch.device("cpu"))
    images = torch.randn((2, 5, 6), generator=torch.Generator().manual_seed(0))
    trainable = torch.ones((2, 3), dtype=torch.bool)

    def draws(seeds: list[int]) -> list[torch.Generator]:
        return [generator(seed, "dropout", 0) for seed in seeds]

    both, _ = network.forward(parameters, images, trainable, None, draws([1, 2]))
    for r, seed in enumerate([1, 2]):
        own = {n: p[r : r + 1] for n, p in parameters.items()}
        alone, _ = network.forward(own, images[r : r + 1], trainable[:1], None, draws([seed]))
        torch.testing.assert_close(alone[0], both[r], rtol=1e-4, atol=1e-6)
    judged, _ = network.forward(parameters, images)
    plain = MLP(6, [400, 400], 3)
    assert judged.equal(plain.forward(parameters, images)[0])
    generators = draws([1, 2])
    many = [network.forward(parameters, images, trainable, None, generators)[0] for _ in range(400)]
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
        logits, _ = network.forward(parameters, images, trainable, None, draws)
        return float((logits * slope).sum())

    gradients = {n: torch.zeros_like(p) for n, p in parameters.items()}
    _, backward = network.forward(parameters, images, trainable, None, [generator(3, "dropout", 0)])
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
        logits, backward = network.forward(parameters, images, trainable)
        backward(slope, gradients)
        assert logits.dtype == torch.float32
        found.append((logits, gradients))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0, atol=0.02)
    for name, expected in found[0][1].items():
        got = found[1][1][name]
        assert got.dtype == torch.float32
        # Units whose sign the rounding flips pass another slope on.
        assert (got - expected).norm() < 0.1 * expected.norm()


def test_reordered_weights_do_for_images_what_reordered_images_do_for_weights(
    parameters: Parameters,
) -> None:
    orders = torch.stack(
        [torch.tensor([4, 0, 3, 1, 2]), torch.arange(5), torch.tensor([1, 2, 0, 4, 3])]
    )
    shown = IMAGES.gather(2, orders[:, None].expand_as(IMAGES))
    expected = NETWORK.forward(parameters, shown)[0]
    found = NETWORK.forward(NETWORK.reordered(parameters, orders), IMAGES)[0]
    torch.testing.assert_close(found, expected)


def test_images_of_all_replicas_are_given_once(parameters: Parameters) -> None:
    expected = NETWORK.forward(parameters, IMAGES[:1].expand(REPLICAS, -1, -1))[0]
    assert torch.equal(NETWORK.forward(parameters, IMAGES[:1])[0], expected)


@pytest.mark.parametrize("bf16", [False, True])
def test_a_gradient_replaces_what_is_no_number(bf16: bool) -> None:
    network = MLP(4, [3], 2, bf16=bf16)
    parameters = network.initialize([0], "cpu")
    images = torch.ones(1, 5, 4)
    _, backward = network.forward(parameters, images, torch.ones(1, 2, dtype=torch.bool))
    out = {n: torch.full_like(p, float("nan")) for n, p in parameters.items()}
    backward(torch.ones(1, 5, 2), out)
    assert all(gradient.isfinite().all() for gradient in out.values())
