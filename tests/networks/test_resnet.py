"""ResNet-18 against torchvision's, with the stem for small images put in by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clcore.errors import InputError
from clcore.networks import Parameters, ResNet18, is_statistic, trained_names
from clcore.networks.resnet import SQUARED
from clcore.streams.torchvision_import import torchvision_datasets

NETWORK = ResNet18(3, 5)
BLOCKS = NETWORK.blocks
PARTS = {
    "weight": "weight",
    "scale": "weight",
    "shift": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}


def draw(seed: int, *shape: int) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=draws, dtype=torch.float64)


def their_name(name: str) -> str:
    """Translate "residual3.conv2.scale" to "layer2.0.bn2.weight"."""
    block, _, rest = name.partition(".")
    if block == "head":
        return f"fc.{rest}"
    unit, part = rest.split(".")
    kind = "conv" if part == "weight" else "bn"
    if block == "stem":
        return f"{kind}1.{PARTS[part]}"
    stage, place = divmod(int(block.removeprefix("residual")) - 1, 2)
    if unit == "shortcut":
        return f"layer{stage + 1}.{place}.downsample.{int(kind == 'bn')}.{PARTS[part]}"
    return f"layer{stage + 1}.{place}.{kind}{unit[-1]}.{PARTS[part]}"


def reference(parameters: Parameters) -> nn.Module:
    """Return torchvision's ResNet-18 with the first replica's values."""
    torchvision_datasets()
    from torchvision.models import resnet18

    model: nn.Module = resnet18(num_classes=5)
    model.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)
    model.maxpool = nn.Identity()
    ours = {their_name(n): p[0].clone() for n, p in parameters.items()}
    left = model.double().load_state_dict(ours, strict=False)
    assert not left.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in left.missing_keys)
    return model


@pytest.fixture
def parameters() -> Parameters:
    """Values with nothing at its default, so that no part can be mixed up unseen."""
    found = NETWORK.initialize([3], torch.device("cpu"))
    values = {n: p.double() for n, p in found.items()}
    for i, (name, value) in enumerate(values.items()):
        noise = draw(i, *value.shape)
        if name.endswith((".scale", ".variance")):
            value.mul_((0.3 * noise).exp())
        elif name.endswith((".shift", ".mean")):
            value.add_(0.3 * noise)
    return values


IMAGES = draw(100, 1, 6, 3, 16, 16)
SLOPE = draw(101, 1, 6, 5)


def close(found: Tensor, expected: Tensor, name: str = "") -> None:
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10, msg=name or None)


def test_evaluation(parameters: Parameters) -> None:
    before = {n: p.clone() for n, p in parameters.items()}
    logits, _ = NETWORK.forward(parameters, IMAGES)
    with torch.no_grad():
        close(logits[0], reference(parameters).eval()(IMAGES[0]))
    assert all(torch.equal(before[n], parameters[n]) for n in before)


@pytest.mark.parametrize("trained", [10, 9, 3, 1, 0])
def test_training_of_the_last_blocks(parameters: Parameters, trained: int) -> None:
    """Logits, gradients and running statistics, against modules frozen by hand."""
    trainable = torch.tensor([[i >= 10 - trained for i in range(10)]])
    trains = BLOCKS[10 - trained :]
    model = reference(parameters).eval()
    for name in parameters:
        module = model.get_submodule(their_name(name).rpartition(".")[0])
        module.train(name.partition(".")[0] in trains)
    expected = model(IMAGES[0])
    expected.backward(SLOPE[0])
    before = {n: p.clone() for n, p in parameters.items()}
    logits, backward = NETWORK.forward(parameters, IMAGES, trainable)
    assert not logits.requires_grad
    close(logits[0], expected.detach())
    names = trained_names(parameters, BLOCKS)
    out = {n: torch.zeros_like(parameters[n]) for n in names}
    backward(SLOPE, out)
    weights = dict(model.named_parameters())
    for name in names:
        found = weights[their_name(name)].grad
        assert found is not None
        wanted = found if name.partition(".")[0] in trains else torch.zeros_like(found)
        close(out[name][0], wanted, name)
    state = model.state_dict()
    for name in filter(is_statistic, parameters):
        moves = name.partition(".")[0] in trains
        assert torch.equal(parameters[name], before[name]) != moves, name
        close(parameters[name][0], state[their_name(name)], name)


def test_squared_gradients_against_single_samples(
    parameters: Parameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sample after the other by autograd; the last one is padding."""
    monkeypatch.setitem(SQUARED, "cpu", 4)  # parts of 4 and 2
    labels, weights = torch.tensor([[0, 4, 2, 1, 3, 3]]), draw(102, 1, 6).abs()
    weights[:, -1] = 0

    def slopes(logits: Tensor) -> Tensor:
        return (logits.softmax(2) - F.one_hot(labels, 5)) * weights[..., None]

    before = {n: p.clone() for n, p in parameters.items()}
    out = {n: torch.ones_like(parameters[n]) for n in trained_names(parameters, BLOCKS)}
    NETWORK.add_squared_gradients(parameters, IMAGES, slopes, out)
    assert all(torch.equal(before[n], parameters[n]) for n in before)
    model = reference(parameters).eval()
    total = {n: torch.ones_like(w) for n, w in model.named_parameters()}
    for i in range(5):
        model.zero_grad()
        (
            weights[0, i] * F.cross_entropy(model(IMAGES[0, i : i + 1]), labels[0, i : i + 1])
        ).backward()
        for n, w in model.named_parameters():
            assert w.grad is not None
            total[n] += w.grad**2
    assert len(total) == len(out)
    for name, found in out.items():
        close(found[0], total[their_name(name)], name)


@pytest.mark.parametrize(("outputs", "count"), [(10, 11_173_962), (100, 11_220_132)])
def test_number_of_parameters(outputs: int, count: int) -> None:
    """The published sizes of ResNet-18 for CIFAR-10 and CIFAR-100."""
    network = ResNet18(3, outputs)
    parameters = network.initialize([0], torch.device("cpu"))
    names = trained_names(parameters, network.blocks)
    assert sum(parameters[n][0].numel() for n in names) == count


def test_nine_convolutional_blocks() -> None:
    assert len(BLOCKS) == 10
    assert (BLOCKS[0], BLOCKS[-1]) == ("stem", "head")


# ------------------------------------------------------------------ replicas, on a small network

SMALL = ResNet18(1, 3, width=4)
SOME = torch.tensor(
    [[True] * 10, [False] * 7 + [True] * 3, [False] * 9 + [True]]
)  # everything, the last three blocks, the head


def small(seeds: list[int]) -> Parameters:
    found = SMALL.initialize(seeds, torch.device("cpu"))
    return {n: p.double() for n, p in found.items()}


PICTURES = draw(7, 3, 8, 1, 8, 8)
PULL = draw(8, 3, 8, 3)


def descend(parameters: Parameters, replicas: list[int], counts: list[int] | None = None) -> None:
    """Take one step of descent in place, with a rate of its own for each replica."""
    rates = torch.tensor([[0.1], [0.2], [0.3]], dtype=torch.float64)[replicas]
    trainable = SOME[replicas]
    images = PICTURES[replicas]
    _, backward = SMALL.forward(parameters, images, trainable, counts)
    backward(PULL[replicas], parameters, beta=1.0, scale=-rates * trainable)


def test_stacked_equals_alone() -> None:
    together = small([1, 2, 3])
    descend(together, [0, 1, 2])
    for r in range(3):
        alone = small([r + 1])
        start = small([r + 1])
        descend(alone, [r])
        for name in alone:
            close(together[name][r], alone[name][0], name)
            block = name.partition(".")[0]
            moves = bool(SOME[r, SMALL.blocks.index(block)])
            assert torch.equal(alone[name], start[name]) != moves, name


def test_squared_gradients_belong_to_the_replica() -> None:
    def squares(replicas: list[int]) -> Parameters:
        parameters = small([r + 1 for r in replicas])
        out = {n: torch.zeros_like(parameters[n]) for n in trained_names(parameters, SMALL.blocks)}
        SMALL.add_squared_gradients(
            parameters, PICTURES[replicas], lambda logits: logits * PULL[replicas], out
        )
        return out

    together = squares([0, 1, 2])
    for r in range(3):
        for name, alone in squares([r]).items():
            close(together[name][r], alone[0], name)


def test_momentum_is_gradient_plus_beta_of_the_past() -> None:
    parameters = small([1, 2, 3])
    _, backward = SMALL.forward(parameters, PICTURES, SOME)
    names = trained_names(parameters, SMALL.blocks)
    gradient = {n: torch.zeros_like(parameters[n]) for n in names}
    backward(PULL, gradient)
    _, backward = SMALL.forward(parameters, PICTURES, SOME)
    out = {n: draw(9, *parameters[n].shape) for n in names}
    backward(PULL, out, beta=0.9)
    for n in names:
        close(out[n], 0.9 * draw(9, *parameters[n].shape) + gradient[n], n)


def test_scale_is_that_of_replica_and_block() -> None:
    parameters = small([1, 2, 3])
    everything = torch.ones(3, 10, dtype=torch.bool)
    names = trained_names(parameters, SMALL.blocks)
    scale = draw(10, 3, 10)
    found = []
    for given in (None, scale):
        _, backward = SMALL.forward(parameters, PICTURES, everything)
        out = {n: torch.zeros_like(parameters[n]) for n in names}
        backward(PULL, out, scale=given)
        found.append(out)
    for n in names:
        for r in range(3):
            factor = scale[r, SMALL.blocks.index(n.partition(".")[0])]
            close(found[1][n][r], factor * found[0][n][r], n)


def test_padding_changes_nothing() -> None:
    """A batch of 5 padded to 8 moves weights and statistics like a batch of 5."""
    padded, exact = small([1]), small([1])
    pull = PULL[:1].clone()
    pull[:, 5:] = 0
    trainable = SOME[:1]
    logits, backward = SMALL.forward(padded, PICTURES[:1], trainable, [5])
    backward(pull, padded, beta=1.0, scale=-0.1 * trainable.double())
    short, backward = SMALL.forward(exact, PICTURES[:1, :5], trainable)
    backward(pull[:, :5], exact, beta=1.0, scale=-0.1 * trainable.double())
    close(logits[:, :5], short)
    assert logits.shape == (1, 8, 3)
    for name in padded:
        close(padded[name], exact[name], name)


def test_replica_without_samples_stays() -> None:
    parameters, start = small([1, 2, 3]), small([1, 2, 3])
    descend(parameters, [0, 1, 2], [0, 8, 8])
    for name in parameters:
        assert torch.equal(parameters[name][0], start[name][0]), name
    assert not torch.equal(parameters["head.weight"][1], start["head.weight"][1])


def test_single_sample_where_one_pixel_is_left() -> None:
    """8 × 8 pixels shrink to 1 × 1: one sample has no deviation there, and must not stop a run."""
    parameters, start = small([1]), small([1])
    descend(parameters, [0], [1])
    assert all(p.isfinite().all() for p in parameters.values())
    for name in ("residual8.conv2.mean", "residual8.conv2.variance"):
        assert torch.equal(parameters[name], start[name])
    assert not torch.equal(parameters["stem.conv.mean"], start["stem.conv.mean"])


def test_initialization() -> None:
    found = SMALL.initialize([1, 2, 1], torch.device("cpu"))
    for name, values in found.items():
        assert torch.equal(values[0], values[2])
        drawn = name.endswith((".weight", ".bias"))
        assert torch.equal(values[0], values[1]) != drawn, name
    bound = (16 * 9) ** -0.5  # residual6 has 16 channels in, kernels of 3 × 3
    assert 0.98 * bound < found["residual6.conv1.weight"].abs().max() <= bound


@pytest.mark.parametrize("sizes", [(0, 2, 4), (1, 0, 4), (1, 2, 0)])
def test_bad_sizes(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="each must be at least 1"):
        ResNet18(*sizes)
