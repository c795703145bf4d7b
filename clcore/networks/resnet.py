"""ResNet-18 for small images, after He et al. (2016) with the stem of the CIFAR version."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from clcore.errors import InputError
from clcore.networks.network import Backward, Parameters, block_of, is_statistic, trained_names
from clcore.networks.side_by_side import side_by_side
from clcore.seeds import generator

SQUARED = 16  # samples whose own gradients are held at once
MOMENTUM = 0.1  # weight of a new batch in the running statistics, PyTorch's default


class ResNet18:
    """Nine convolutional blocks (one stem, eight residual), average pooling, a linear head.

    A block that does not train normalizes with its running statistics and keeps them, so that
    frozen means that nothing in it moves.

    Parameters
    ----------
    channels : int
        Channels of an image.
    outputs : int
        Output units, of all tasks together.
    width : int
        Channels of the first stage: 64 as in the paper, 20 for the reduced network of
        Lopez-Paz and Ranzato (2017).
    bf16 : bool
        Convolve in bfloat16, with float32 parameters and updates: for processors and GPUs with
        matrix units of that type.

    Raises
    ------
    InputError
        If a size is below 1.
    """

    flat = False

    def __init__(self, channels: int, outputs: int, width: int = 64, *, bf16: bool = False) -> None:
        if min(channels, outputs, width) < 1:
            raise InputError(
                f"ResNet-18 of channels {channels}, outputs {outputs}, width {width}: each must be "
                "at least 1"
            )
        self.inputs, self.outputs, self.width = channels, outputs, width
        self.bf16 = bf16
        self.name = f"resnet18-{width}"
        self.blocks = ("stem", *(f"residual{i}" for i in range(1, 9)), "head")

    def _convolutions(self) -> list[tuple[str, int, int, int, int]]:
        """Return (name, channels in, channels out, kernel, stride) of every convolution."""
        rows = [("stem.conv", self.inputs, self.width, 3, 1)]
        before = self.width
        for i in range(8):
            after, stride = self.width * 2 ** (i // 2), 2 if i in (2, 4, 6) else 1
            block = f"residual{i + 1}"
            rows.append((f"{block}.conv1", before, after, 3, stride))
            rows.append((f"{block}.conv2", after, after, 3, 1))
            if stride == 2:
                rows.append((f"{block}.shortcut", before, after, 1, stride))
            before = after
        return rows

    def initialize(self, seeds: Sequence[int], device: torch.device) -> Parameters:
        """Draw the weights as PyTorch does: uniform, bounded by 1/√(inputs of a unit)."""
        draws = [generator(seed, "initialization") for seed in seeds]

        def uniform(shape: tuple[int, ...], bound: float) -> Tensor:
            values = torch.stack([torch.rand(shape, generator=g) for g in draws])
            return values.mul_(2 * bound).sub_(bound).to(device)

        parameters = {}
        for name, before, after, kernel, _ in self._convolutions():
            bound = (before * kernel**2) ** -0.5
            weight = uniform((after, before, kernel, kernel), bound)
            # Each replica's kernels have their channels last in memory: 1.5 times as fast in
            # float32 and 1.25 in bfloat16 (a CPU with AMX); clones and gradients keep it.
            channels_last = weight.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
            parameters[f"{name}.weight"] = channels_last
            for part, value in (("scale", 1.0), ("shift", 0.0), ("mean", 0.0), ("variance", 1.0)):
                parameters[f"{name}.{part}"] = torch.full((len(seeds), after), value, device=device)
        features = 8 * self.width
        parameters["head.weight"] = uniform((self.outputs, features), features**-0.5)
        parameters["head.bias"] = uniform((self.outputs,), features**-0.5)
        return parameters

    def forward(
        self,
        parameters: Parameters,
        images: Tensor,
        trainable: Tensor | None = None,
        counts: Sequence[int] | None = None,
        draws: Sequence[torch.Generator] | None = None,
    ) -> tuple[Tensor, Backward]:
        """See `Network.forward`; `images` is (R, B, channels, height, width).

        On a CPU replicas run side by side, a thread each: for convolutions that is faster than
        any stacked form measured.
        """
        blocks = self.blocks
        size = images.shape[1]
        differentiable = torch.is_grad_enabled()  # here: a thread of its own does not know

        def run(r: int) -> tuple[Parameters, Tensor]:
            count = size if counts is None else counts[r]
            trains = (
                {b for b, on in zip(blocks, trainable[r].tolist(), strict=True) if on}
                if trainable is not None and count
                else set()
            )
            # `data`: autograd must not mind that another replica, in the same tensor, has moved.
            values = {
                n: p.data[r].requires_grad_(block_of(n) in trains and not is_statistic(n))
                for n, p in parameters.items()
            }
            shown = images[r, :count].contiguous(memory_format=torch.channels_last)
            with (
                torch.set_grad_enabled(bool(trains) and differentiable),
                torch.autocast(shown.device.type, torch.bfloat16, enabled=self.bf16),
            ):
                logits = self._logits(values, shown, trains).to(images.dtype)
                outputs = F.pad(logits, (0, 0, 0, size - count))
            return {n: v for n, v in values.items() if v.requires_grad}, outputs

        done = side_by_side(run, len(images), images.device)

        def backward(
            slope: Tensor, out: Parameters, beta: float = 0.0, scale: Tensor | None = None
        ) -> None:
            assert trainable is not None
            factors = trainable.to(slope) if scale is None else scale

            def add(r: int) -> None:
                wanted, logits = done[r]
                gradients = (
                    torch.autograd.grad(logits, list(wanted.values()), slope[r], allow_unused=True)
                    if wanted
                    else ()
                )
                found = dict(zip(wanted, gradients, strict=True))
                for n in out:
                    if is_statistic(n):
                        continue
                    target = out[n][r].mul_(beta) if beta else out[n][r].zero_()
                    if found.get(n) is not None:
                        target.add_(found[n] * factors[r, blocks.index(block_of(n))])

            side_by_side(add, len(done), images.device)

        return torch.stack([logits for _, logits in done]).detach(), backward

    def add_squared_gradients(
        self,
        parameters: Parameters,
        images: Tensor,
        slopes: Callable[[Tensor], Tensor],
        out: Parameters,
    ) -> None:
        """See `Network.add_squared_gradients`; one sample's gradient is `vmap` of `grad`."""
        slope = slopes(self.forward(parameters, images)[0])
        names = trained_names(parameters, self.blocks)

        def value(trained: Parameters, state: Parameters, image: Tensor, slope: Tensor) -> Tensor:
            return (self._logits(trained | state, image[None], set())[0] * slope).sum()

        each = torch.func.vmap(torch.func.grad(value), in_dims=(None, None, 0, 0))
        for r in range(len(images)):
            trained = {n: parameters[n][r] for n in names}
            state = {n: p[r] for n, p in parameters.items() if n not in trained}
            for start in range(0, images.shape[1], SQUARED):
                part = slice(start, start + SQUARED)
                for n, g in each(trained, state, images[r, part], slope[r, part]).items():
                    out[n][r].add_(g.square_().sum(0))

    def _logits(self, values: Parameters, images: Tensor, trains: set[str]) -> Tensor:
        """Return the logits (B, outputs) of one replica."""
        strides = {name: stride for name, _, _, _, stride in self._convolutions()}

        def convolve(name: str, inputs: Tensor) -> Tensor:
            weight, stride = values[f"{name}.weight"], strides[name]
            if weight.shape[-1] == 1:
                # The same pixels as by a stride; that one's backward pass, of few channels on
                # images of 48 or 64 pixels, makes torch 2.13 write beyond its memory.
                inputs, stride = inputs[:, :, ::stride, ::stride], 1
            outputs = F.conv2d(inputs, weight, stride=stride, padding=weight.shape[-1] // 2)
            # A single value a channel has no deviation to normalize with.
            single = outputs.numel() == outputs.shape[1]
            return F.batch_norm(
                outputs,
                values[f"{name}.mean"],
                values[f"{name}.variance"],
                values[f"{name}.scale"],
                values[f"{name}.shift"],
                training=block_of(name) in trains and not single,
                momentum=MOMENTUM,
            )

        hidden = F.relu(convolve("stem.conv", images))
        for block in self.blocks[1:-1]:
            inner = F.relu(convolve(f"{block}.conv1", hidden))
            shortcut = f"{block}.shortcut"
            skipped = convolve(shortcut, hidden) if shortcut in strides else hidden
            hidden = F.relu(convolve(f"{block}.conv2", inner) + skipped)
        return F.linear(hidden.mean((2, 3)), values["head.weight"], values["head.bias"])
