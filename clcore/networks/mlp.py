"""A multilayer perceptron whose replicas train together, with its backward pass written out.

One batched matrix product serves all replicas at once, and the backward pass adds its
products straight into their target (the parameters themselves in plain descent), so no
gradient is stored and read again.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from clcore.errors import InputError
from clcore.networks.network import Backward, Parameters
from clcore.seeds import generator


class MLP:
    """Affine layers with ReLU between them.

    Parameters
    ----------
    inputs : int
        Pixels of an image.
    hidden : sequence of int
        Widths of the hidden layers, at least one.
    outputs : int
        Output units, of all tasks together.
    dropout : float
        In [0, 1): the share of each hidden layer's units that a training step leaves out.
    bf16 : bool
        Multiply matrices in bfloat16, with float32 parameters and updates: for processors and
        GPUs with matrix units of that type.

    Raises
    ------
    InputError
        If a size is below 1, or `dropout` is outside [0, 1).
    """

    flat = True

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        *,
        dropout: float = 0.0,
        bf16: bool = False,
    ) -> None:
        self.sizes = (inputs, *hidden, outputs)
        if len(hidden) < 1 or min(self.sizes) < 1:
            raise InputError(
                f"MLP of inputs {inputs}, hidden {list(hidden)}, outputs {outputs}: each must be "
                "at least 1, with at least one hidden layer"
            )
        if not 0 <= dropout < 1:
            raise InputError(f"dropout {dropout} is not in [0, 1)")
        self.inputs, self.outputs = inputs, outputs
        self.dropout = dropout
        self.bf16 = bf16
        self.name = "mlp-" + "-".join(map(str, self.sizes))
        self.blocks = (*(f"layer{i}" for i in range(1, len(hidden) + 1)), "head")

    def initialize(self, seeds: Sequence[int], device: torch.device) -> Parameters:
        """Draw weights and biases uniformly within ±1/√(inputs of the layer), as PyTorch does."""
        draws = [generator(seed, "initialization") for seed in seeds]
        parameters = {}
        for block, rows, columns in zip(self.blocks, self.sizes, self.sizes[1:], strict=False):
            bound = rows**-0.5
            for part, shape in (("weight", (rows, columns)), ("bias", (1, columns))):
                values = [torch.rand(shape, generator=g) for g in draws]
                stacked = torch.stack(values).mul_(2 * bound).sub_(bound)
                parameters[f"{block}.{part}"] = stacked.to(device)
        return parameters

    def forward(
        self,
        parameters: Parameters,
        images: Tensor,
        trainable: Tensor | None = None,
        counts: Sequence[int] | None = None,
        draws: Sequence[torch.Generator] | None = None,
    ) -> tuple[Tensor, Backward]:
        """See `Network.forward`; `images` is (R, B, pixels), or (1, B, pixels) for all replicas."""
        blocks = self.blocks
        dropping = bool(self.dropout and draws)
        kind = torch.bfloat16 if self.bf16 else images.dtype
        weights, inputs, logits = self._layers(parameters, images.to(kind), draws)

        def backward(
            slope: Tensor, out: Parameters, beta: float = 0.0, scale: Tensor | None = None
        ) -> None:
            assert trainable is not None
            trains = trainable.any(0).tolist()
            factors = (trainable.to(slope) if scale is None else scale)[:, :, None, None]
            lowest = trains.index(True) if any(trains) else len(blocks)
            for i in range(len(blocks) - 1, lowest - 1, -1):
                # The slope passes on before the weights may change in place.
                below = slope
                if i > lowest:
                    below = _below(slope.to(kind), weights[i], inputs[i])
                    if dropping:
                        below = below / (1 - self.dropout)
                if trains[i]:
                    scaled = slope * factors[:, i]
                    _accumulate(out[f"{blocks[i]}.weight"], beta, inputs[i].mT, scaled)
                    bias = out[f"{blocks[i]}.bias"]
                    (bias.mul_(beta) if beta else bias.zero_()).add_(scaled.sum(1, keepdim=True))
                slope = below

        return logits.to(images.dtype), backward

    def add_squared_gradients(
        self,
        parameters: Parameters,
        images: Tensor,
        slopes: Callable[[Tensor], Tensor],
        out: Parameters,
    ) -> None:
        """See `Network.add_squared_gradients`.

        The gradient of a weight by one sample is input times slope, so its square is a product
        of squares, and the sum over samples is again a matrix product.
        """
        weights, inputs, logits = self._layers(parameters, images)
        slope = slopes(logits)
        for i in range(len(self.blocks) - 1, -1, -1):
            squares = slope.square()
            out[f"{self.blocks[i]}.weight"].baddbmm_(inputs[i].square().mT, squares)
            out[f"{self.blocks[i]}.bias"].add_(squares.sum(1, keepdim=True))
            slope = _below(slope, weights[i], inputs[i])

    def reordered(self, parameters: Parameters, orders: Tensor) -> Parameters:
        """Return parameters that give for images what these give for their pixels reordered.

        `orders` is int64, (R, pixels): where each input of a replica comes from, a permutation.
        """
        name = f"{self.blocks[0]}.weight"
        weight = parameters[name]
        places = orders[..., None].expand_as(weight)
        return {**parameters, name: torch.empty_like(weight).scatter_(1, places, weight)}

    def _layers(
        self,
        parameters: Parameters,
        images: Tensor,
        draws: Sequence[torch.Generator] | None = None,
    ) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Return each layer's weights and inputs, and the logits."""
        weights = [parameters[f"{block}.weight"].to(images.dtype) for block in self.blocks]
        biases = [parameters[f"{block}.bias"].to(images.dtype) for block in self.blocks]
        inputs = [images.expand(len(weights[0]), -1, -1)]
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            values = torch.baddbmm(bias, inputs[-1], weight).relu_()
            if self.dropout and draws:
                values.mul_(self._kept(values, draws))
            inputs.append(values)
        return weights, inputs, torch.baddbmm(biases[-1], inputs[-1], weights[-1])

    def _kept(self, values: Tensor, draws: Sequence[torch.Generator]) -> Tensor:
        """Return 0 for the units to leave out and 1 / (1 − dropout) for the others."""
        chances = torch.stack([torch.rand(values.shape[1:], generator=g) for g in draws])
        return ((chances >= self.dropout) / (1 - self.dropout)).to(values)


def _below(slope: Tensor, weight: Tensor, inputs: Tensor) -> Tensor:
    """Return the derivative of the loss by a layer's inputs, before their ReLU."""
    # A unit that dropout left out is 0 like one that ReLU silenced.
    found: Tensor = torch.ops.aten.threshold_backward(slope @ weight.mT, inputs, 0)
    return found


def _accumulate(out: Tensor, beta: float, left: Tensor, right: Tensor) -> None:
    """Set `out` to beta · out + left @ right, in place."""
    if left.dtype == out.dtype:
        # The product lands in its target: no gradient is written and read again.
        out.baddbmm_(left, right, beta=beta)
    else:
        product = left @ right.to(left.dtype)
        out.mul_(beta).add_(product) if beta else out.copy_(product)
