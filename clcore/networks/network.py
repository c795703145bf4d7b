"""What a network is to the rest of the package: stacked parameters, values and slopes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from clcore.errors import InputError

Parameters = dict[str, Tensor]
"""Name ("block.part") → values of all replicas, stacked: (R, …)."""

Backward = Callable[..., None]
"""`backward(slope, out, beta, scale)`: see `Network.forward`."""


class Network(Protocol):
    """A network of R replicas, written as functions of its stacked parameters.

    Attributes
    ----------
    name : str
        For reports.
    blocks : tuple of str
        From input to output; the last one, the head, has the outputs of all tasks.
    inputs : int
        Pixels of an image, or its channels if the network takes images of any size.
    outputs : int
        Output units.
    flat : bool
        Whether images come as (R, B, pixels) rather than (R, B, channels, height, width).
    """

    name: str
    blocks: tuple[str, ...]
    inputs: int
    outputs: int
    flat: bool

    def initialize(self, seeds: Sequence[int], device: torch.device) -> Parameters:
        """Draw the parameters of one replica a seed; equal seeds give equal replicas."""
        ...

    def forward(
        self,
        parameters: Parameters,
        images: Tensor,
        trainable: Tensor | None = None,
        counts: Sequence[int] | None = None,
        draws: Sequence[torch.Generator] | None = None,
    ) -> tuple[Tensor, Backward]:
        """Return the logits and the function that takes their slope back to the parameters.

        Parameters
        ----------
        parameters : Parameters
            Stacked, (R, …). Running statistics among them are updated where a block trains.
        images : Tensor
            float32, normalized.
        trainable : Tensor, optional
            bool, (R, blocks); None: evaluation, nothing trains. Under `torch.no_grad()` the pass
            is that of training, and keeps nothing for a backward pass.
        counts : sequence of int, optional
            Samples of each replica in the batch, R numbers; None: all of it. What lies beyond is
            padding: it changes no statistic, and its logits and slopes mean nothing.
        draws : sequence of torch.Generator, optional
            Each replica's own, for what a network draws in training (dropout); None: nothing.

        Returns
        -------
        logits : Tensor
            (R, B, outputs).
        backward : callable
            `backward(slope, out, beta=0.0, scale=None)`, with `slope` the derivative of the
            loss by the logits, (R, B, outputs), sets `out[name]` to
            `beta * out[name] + scale * gradient` in place for the parameters of each block that
            some replica trains. `scale`, (R, blocks), is by default `trainable`. So it gives
            gradients (`beta=0`), momentum, and, with `out` the parameters themselves,
            `beta=1` and `scale` minus the learning rates, a whole step of descent.
        """
        ...

    def add_squared_gradients(
        self,
        parameters: Parameters,
        images: Tensor,
        slopes: Callable[[Tensor], Tensor],
        out: Parameters,
    ) -> None:
        """Add to `out` the squared gradient of each sample's own loss, summed over the samples.

        Parameters
        ----------
        images : Tensor
            float32, normalized.
        slopes : callable
            Takes the logits, (R, B, outputs), to the derivative of each sample's loss by them,
            0 for padding. Running statistics normalize, and stay.
        out : Parameters
            One entry a trained parameter.
        """
        ...


def block_of(name: str) -> str:
    """Return the block of a parameter."""
    return name.partition(".")[0]


def is_statistic(name: str) -> bool:
    """Tell whether a stacked value is a running statistic: part of the state, never trained."""
    return name.endswith((".mean", ".variance"))


def trained_names(parameters: Mapping[str, Tensor], blocks: Sequence[str]) -> list[str]:
    """Return the names of the parameters of `blocks`, without running statistics."""
    return [n for n in parameters if block_of(n) in blocks and not is_statistic(n)]


def aligned(values: Tensor, like: Tensor) -> Tensor:
    """Return one value a replica, (R,), shaped to multiply `like`, (R, …)."""
    return values.view(-1, *[1] * (like.dim() - 1))


def check_modules(network: Network, modules: int) -> None:
    """Raise `InputError` if a network has fewer blocks than `modules`, or `modules` < 0."""
    total = len(network.blocks)
    if not 0 <= modules <= total:
        raise InputError(
            f"{modules} trained modules asked of {network.name}, which has {total} "
            f"({', '.join(network.blocks)}): choose 0 to {total}; it can freeze at most {total}"
        )
