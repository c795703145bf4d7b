"""Passes that a GPU is asked for again and again: recorded once, then replayed as CUDA graphs.

A step of a few images has hundreds of small kernels, and launching them one by one takes several
times as long as they do. A graph launches them all, and those of different replicas overlap.
"""

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import torch
from torch import Tensor

from clcore.networks.network import Parameters

ASKED = 3  # times that a pass runs plainly before it is recorded, which takes as long as many
LARGEST = 128  # images of a recorded batch: larger ones keep a GPU busy by themselves
KEPT = 16  # recorded passes: each holds the activations of its batch

Done = TypeVar("Done")
Run = Callable[[Tensor], tuple[Done, Tensor]]
"""`run(images)` returns what a backward pass needs, and the logits."""
Write = Callable[[Done, Tensor, Tensor, Parameters, float], None]
"""`write(done, slope, factors, out, beta)` is the backward pass; it may come again."""


def addresses(parameters: Parameters) -> tuple[Hashable, ...]:
    """Return what tells where parameters lie: a graph reads and writes there."""
    return tuple((p.data_ptr(), p.shape, p.stride()) for p in parameters.values())


class Graphs(Generic[Done]):
    """The recorded passes of a network.

    A graph stands for one place of the parameters in memory, one shape of the images, and one
    way to run: whatever is elsewhere, or otherwise, is another pass.
    """

    def __init__(self) -> None:
        self._asked: Counter[int] = Counter()
        self._recorded: dict[Hashable, Recorded[Done]] = {}

    def of(
        self, parameters: Parameters, images: Tensor, way: Hashable, run: Run[Done]
    ) -> "Recorded[Done] | None":
        """Return a recorded pass; None for a large batch, and as long as it was asked for rarely.

        Parameters
        ----------
        way : hashable
            All else that decides which kernels run.
        """
        if images.shape[1] > LARGEST:
            return None
        key = addresses(parameters), images.shape, way
        if key not in self._recorded:
            self._asked[hash(key)] += 1
            if self._asked[hash(key)] <= ASKED:
                return None
            if len(self._recorded) == KEPT:
                del self._recorded[next(iter(self._recorded))]
            self._recorded[key] = Recorded(run, images)
        return self._recorded[key]


class Recorded(Generic[Done]):
    """A forward pass, and the backward passes that were asked for after it.

    A backward pass is that of the last forward pass.
    """

    def __init__(self, run: Run[Done], images: Tensor) -> None:
        self._images = images.clone()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._done, self._logits = run(self._images)
        self._backward: dict[Hashable, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        self._images.copy_(images)
        self._graph.replay()
        return self._logits.clone()

    def backward(
        self, write: Write[Done], slope: Tensor, factors: Tensor, out: Parameters, beta: float
    ) -> None:
        """Run the backward pass."""
        key = addresses(out), beta
        if key not in self._backward:
            if len(self._backward) == KEPT:
                del self._backward[next(iter(self._backward))]
            recorded = torch.cuda.CUDAGraph(), slope.clone(), factors.clone()
            with torch.cuda.graph(recorded[0]):
                write(self._done, *recorded[1:], out, beta)
            self._backward[key] = recorded
        graph, kept_slope, kept_factors = self._backward[key]
        kept_slope.copy_(slope)
        kept_factors.copy_(factors)
        graph.replay()
