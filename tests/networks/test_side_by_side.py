"""Replicas on threads of their own do what they do one after the other."""

import threading
from collections.abc import Iterator

import pytest
import torch

from clcore.networks import Parameters, ResNet18
from clcore.networks.side_by_side import side_by_side

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_stand_in_the_order_of_the_replicas(threads: int) -> None:
    assert side_by_side(lambda r: r * r, 7, CPU) == [0, 1, 4, 9, 16, 25, 36]


def test_as_many_threads_as_torch_may_use_with_one_each(threads: int) -> None:
    together = threading.Barrier(threads)

    def work(r: int) -> tuple[int, int]:
        together.wait(timeout=20)  # breaks if fewer run at once
        # Large enough to be divided among threads, if there were several.
        torch.ones(1 << 20).sum()
        return threading.get_ident(), torch.get_num_threads()

    found = side_by_side(work, 2 * threads, CPU)
    assert {count for _, count in found} == {1}
    assert (threading.get_ident() in {thread for thread, _ in found}) == (threads == 1)
    assert torch.get_num_threads() == threads


def test_one_replica_keeps_all_threads(threads: int) -> None:
    assert side_by_side(lambda r: torch.get_num_threads(), 1, CPU) == [threads]


def test_an_error_of_a_replica_comes_out(threads: int) -> None:
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda r: 1 / (r - 2), 4, CPU)


def test_a_step_of_the_resnet_is_bit_equal_on_any_number_of_threads(threads: int) -> None:
    network = ResNet18(3, 4, 2)
    draws = torch.Generator().manual_seed(1)
    images = torch.randn(3, 8, 3, 16, 16, generator=draws)
    slope = torch.randn(3, 8, 4, generator=draws)
    trainable = torch.rand(3, 10, generator=draws) < 0.7

    def step() -> Parameters:
        parameters = network.initialize([1, 2, 3], CPU)
        _, backward = network.forward(parameters, images, trainable, [8, 5, 0])
        backward(slope, parameters, beta=1.0, scale=-0.1 * trainable.float())
        return parameters

    found = step()
    torch.set_num_threads(1)
    for name, expected in step().items():
        assert torch.equal(found[name], expected), name
