"""A multilayer perceptron whose replicas train together, with its backward pass written out.

One batched matrix product serves all replicas at once, and the backward pass adds its
products straight into their target (the parameters themselves in plain descent), so no
gradient is stored and read again.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from clcore.errors import InputError
from clcore.networks.network import Backward, Parameters, path
from clcore.seeds import generator


class MLP:
    """Affine layers with ReLU between them; `hidden` layers are the body.

    Parameters
    ----------
    inputs : int
        Pixels of an image.
    hidden : sequence of int
        Widths of the hidden layers, at least one.
    outputs : int
        Output units of a head.
    heads : int
        Number of heads.

    Raises
    ------
    InputError
        If a size is below 1.
    """

    flat = True

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int, heads: int = 1) -> None:
        sizes = [inputs, *hidden, outputs, heads]
        if len(hidden) < 1 or min(sizes) < 1:
            raise InputError(
                f"MLP of inputs {inputs}, hidden {list(hidden)}, outputs {outputs}, heads {heads}: "
                "each must be at least 1, with at least one hidden layer"
            )
        self.sizes = (inputs, *hidden)
        self.outputs = outputs
        self.heads = heads
        self.name = "mlp-" + "-".join(map(str, (*self.sizes, outputs)))
        self.body = tuple(f"layer{i}" for i in range(1, len(self.sizes)))

    def initialize(self, seeds: Sequence[int], device: torch.device) -> Parameters:
        """Draw weights and biases uniformly within ±1/√(inputs of the layer), as PyTorch does."""
        draws = [generator(seed, "initialization") for seed in seeds]
        shapes = list(zip(self.body, self.sizes, self.sizes[1:], strict=False))
        shapes += [(f"head{h}", self.sizes[-1], self.outputs) for h in range(self.heads)]
        parameters = {}
        for block, rows, columns in shapes:
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
        head: int,
        trainable: Tensor | None = None,
        counts: Sequence[int] | None = None,
    ) -> tuple[Tensor, Backward]:
        """See `Network.forward`; `images` is (R, B, pixels)."""
        blocks = path(self, head)
        inputs = [images]
        for block in blocks[:-1]:
            values = torch.baddbmm(
                parameters[f"{block}.bias"], inputs[-1], parameters[f"{block}.weight"]
            )
            inputs.append(values.relu_())
        last = blocks[-1]
        logits = torch.baddbmm(parameters[f"{last}.bias"], inputs[-1], parameters[f"{last}.weight"])

        def backward(
            slope: Tensor, out: Parameters, beta: float = 0.0, scale: Tensor | None = None
        ) -> None:
            assert trainable is not None
            trains = trainable.any(0).tolist()
            factors = (trainable.to(slope.dtype) if scale is None else scale)[:, :, None, None]
            lowest = trains.index(True) if any(trains) else len(blocks)
            for i in range(len(blocks) - 1, lowest - 1, -1):
                # The slope passes on before the weights may change in place.
                weight = parameters[f"{blocks[i]}.weight"]
                below = (
                    torch.ops.aten.threshold_backward(slope @ weight.mT, inputs[i], 0)
                    if i > lowest
                    else slope
                )
                if trains[i]:
                    scaled = slope * factors[:, i]
                    out[f"{blocks[i]}.weight"].baddbmm_(inputs[i].mT, scaled, beta=beta)
                    bias = out[f"{blocks[i]}.bias"]
                    bias.mul_(beta).add_(scaled.sum(1, keepdim=True))
                slope = below

        return logits, backward
