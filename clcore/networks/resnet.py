"""ResNet-18 for small images, after He et al. (2016) with the stem of the CIFAR version."""

from collections.abc import Callable, Sequence, Set

import torch
import torch.nn.functional as F
from torch import Tensor

from clcore.errors import InputError
from clcore.networks.graphs import Graphs
from clcore.networks.network import Backward, Parameters, block_of, is_statistic, trained_names
from clcore.networks.side_by_side import side_by_side
from clcore.seeds import generator

SQUARED = {"cpu": 16, "cuda": 64}  # samples whose own gradients are held at once
MOMENTUM = 0.1  # weight of a new batch in the running statistics, PyTorch's default

Pass = list[tuple[Parameters, Tensor]]
"""Of each replica: what trains, and the logits that autograd knows."""


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
        self._graphs: Graphs[Pass] = Graphs()

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
        any stacked form measured. On a GPU a pass that comes again is a CUDA graph, in which the
        replicas are branches.
        """
        blocks, replicas, size = self.blocks, *images.shape[:2]
        sizes = tuple(counts or [size] * replicas)
        trains: tuple[frozenset[str], ...] = (frozenset(),) * replicas
        if trainable is not None:
            trains = tuple(
                frozenset(b for b, on in zip(blocks, row, strict=True) if on and count)
                for row, count in zip(trainable.tolist(), sizes, strict=True)
            )
        differentiable = torch.is_grad_enabled()  # here: a thread of its own does not know

        def run(images: Tensor) -> tuple[Pass, Tensor]:
            def one(r: int) -> tuple[Parameters, Tensor]:
                # `data`: autograd must not mind that another replica, in the same tensor, moved.
                values = {
                    n: p.data[r].requires_grad_(block_of(n) in trains[r] and not is_statistic(n))
                    for n, p in parameters.items()
                }
                shown = images[r, : sizes[r]].contiguous(memory_format=torch.channels_last)
                with (
                    torch.set_grad_enabled(bool(trains[r]) and differentiable),
                    torch.autocast(shown.device.type, torch.bfloat16, enabled=self.bf16),
                ):
                    logits = self._logits(values, shown, trains[r]).to(images.dtype)
                    outputs = F.pad(logits, (0, 0, 0, size - sizes[r]))
                return {n: v for n, v in values.items() if v.requires_grad}, outputs

            done = side_by_side(one, replicas, images.device)
            return done, torch.stack([logits for _, logits in done]).detach()

        recorded = None
        if images.device.type == "cuda":
            recorded = self._graphs.of(parameters, images, (sizes, trains, differentiable), run)

        def write(done: Pass, slope: Tensor, factors: Tensor, out: Parameters, beta: float) -> None:
            def add(r: int) -> None:
                wanted, logits = done[r]
                gradients = (
                    torch.autograd.grad(
                        logits,
                        list(wanted.values()),
                        slope[r],
                        retain_graph=recorded is not None,
                        allow_unused=True,
                    )
                    if wanted
                    else ()
                )
                targets = {n: value[r] for n, value in out.items() if not is_statistic(n)}
                if not beta:
                    torch._foreach_zero_(list(targets.values()))
                elif beta != 1:
                    torch._foreach_mul_(list(targets.values()), beta)
                found = {n: g for n, g in zip(wanted, gradients, strict=True) if g is not None}
                for b, block in enumerate(blocks):
                    names = [n for n in found if block_of(n) == block]
                    if names:
                        moves = torch._foreach_mul([found[n] for n in names], factors[r, b])
                        torch._foreach_add_([targets[n] for n in names], moves)

            side_by_side(add, replicas, images.device)

        if recorded is None:
            done, logits = run(images)
        else:
            logits = recorded.forward(images)

        def backward(
            slope: Tensor, out: Parameters, beta: float = 0.0, scale: Tensor | None = None
        ) -> None:
            assert trainable is not None
            factors = trainable.to(slope) if scale is None else scale
            if recorded is None:
                write(done, slope, factors, out, beta)
            else:
                recorded.backward(write, slope, factors, out, beta)

        return logits, backward

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
        held = SQUARED[images.device.type]

        def value(trained: Parameters, state: Parameters, image: Tensor, slope: Tensor) -> Tensor:
            return (self._logits(trained | state, image[None], set())[0] * slope).sum()

        each = torch.func.vmap(torch.func.grad(value), in_dims=(None, None, 0, 0))
        for r in range(len(images)):
            trained = {n: parameters[n][r] for n in names}
            state = {n: p[r] for n, p in parameters.items() if n not in trained}
            for start in range(0, images.shape[1], held):
                part = slice(start, start + held)
                for n, g in each(trained, state, images[r, part], slope[r, part]).items():
                    out[n][r].add_(g.square_().sum(0))

    def _logits(self, values: Parameters, images: Tensor, trains: Set[str]) -> Tensor:
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
