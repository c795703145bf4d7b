import pytest
import torch

from clcore.errors import InputError
from clcore.networks import MLP, Network, ResNet18, block_of, check_modules, trained_names

NETWORKS: list[Network] = [MLP(4, [5, 6, 7], 3), ResNet18(1, 3, width=2)]


@pytest.mark.parametrize("network", NETWORKS)
def test_every_parameter_belongs_to_a_block(network: Network) -> None:
    parameters = network.initialize([0], torch.device("cpu"))
    assert list(dict.fromkeys(block_of(name) for name in parameters)) == list(network.blocks)
    assert network.blocks[-1] == "head"
    assert parameters["head.bias"].numel() == network.outputs


def test_trained_names_leave_out_statistics_and_other_blocks() -> None:
    parameters = NETWORKS[1].initialize([0], torch.device("cpu"))
    found = trained_names(parameters, ("residual3", "head"))
    assert sorted(found) == [
        "head.bias",
        "head.weight",
        *(f"residual3.{conv}.{part}" for conv in ("conv1", "conv2", "shortcut")
          for part in ("scale", "shift", "weight")),
    ]  # fmt: skip


@pytest.mark.parametrize("network", NETWORKS)
def test_as_many_modules_as_the_network_has(network: Network) -> None:
    for modules in range(len(network.blocks) + 1):
        check_modules(network, modules)


@pytest.mark.parametrize("modules", [-1, 5])
def test_more_modules_than_the_network_has(modules: int) -> None:
    with pytest.raises(
        InputError, match=rf"{modules} trained modules asked of mlp-4-5-6-7-3, which has 4 "
    ):
        check_modules(NETWORKS[0], modules)


@pytest.mark.parametrize("network", NETWORKS)
def test_gradients_replace_whatever_stands_in_their_place(network: Network) -> None:
    parameters = network.initialize([0], torch.device("cpu"))
    shape = (network.inputs,) if network.flat else (network.inputs, 8, 8)
    everything = torch.ones(1, len(network.blocks), dtype=torch.bool)
    images = torch.rand(1, 6, *shape)
    found = []
    for there in (0.0, torch.nan):
        names = trained_names(parameters, network.blocks)
        out = {n: torch.full_like(parameters[n], there) for n in names}
        _, backward = network.forward(parameters, images, everything)
        backward(torch.ones(1, 6, network.outputs), out)
        found.append(out)
    assert all(torch.equal(found[0][n], found[1][n]) for n in names)
    assert all(g.any() for g in found[0].values())
