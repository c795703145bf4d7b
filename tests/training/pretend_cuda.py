"""A GPU that is not there: CPU numbers that count as on `cuda:0`, to see who mixes devices.

Torch fills some tensors where nobody can watch it: lists as indices, and `new_tensor`, raise
`NotImplementedError` when they are used.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from clcore.networks.graphs import Graphs

CPU, META, CUDA = torch.device("cpu"), torch.device("meta"), torch.device("cuda", 0)
aten = torch.ops.aten


class DevicesMixed(RuntimeError):
    """An operation that a GPU would refuse."""


class OnGPU(Tensor):
    """A tensor on the pretended GPU: torch takes it for one without numbers, on `meta`."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: CUDA)
    numbers: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor) -> "OnGPU":
        form: dict[str, Any] = {"strides": numbers.stride(), "dtype": numbers.dtype}
        form |= {"storage_offset": numbers.storage_offset(), "device": META}
        found = Tensor._make_wrapper_subclass(cls, numbers.shape, **form)
        found.numbers = numbers
        return found

    @classmethod
    def __torch_dispatch__(cls, operation: Any, *_: Any) -> Any:
        raise RuntimeError(f"{operation} on a pretended GPU after it is gone")


class Draws(torch.Generator):
    """A generator that knows which device it was made for; the CPU draws its numbers."""

    device = property(lambda self: self.place)

    def __new__(cls, device: torch.device | str = CPU) -> "Draws":
        found = super().__new__(cls)
        found.place = CUDA if _is_cuda(device) else CPU
        return found


class Calling(TorchFunctionMode):
    """Has torch make on `meta` what is wanted on a GPU, which it would look for."""

    def __torch_function__(self, call: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        if call is Tensor.tolist:
            return args[0].cpu().tolist()
        kwargs = dict(kwargs or {})
        if call is not torch.device:
            args = [META if _is_cuda(value) else value for value in args]
            kwargs = {n: META if _is_cuda(value) else value for n, value in kwargs.items()}
        if call in (torch.tensor, torch.as_tensor) and kwargs.get("device") == META:
            del kwargs["device"]  # torch would fill it where no mode sees it
            return call(*args, **kwargs).to(META)
        found, draws = call(*args, **kwargs), kwargs.get("generator")
        if draws is not None and draws.device != found.device:
            raise DevicesMixed(f"{call.__name__} on {found.device} by a generator of another")
        return found


class Computing(TorchDispatchMode):
    """Computes on the CPU; raises `DevicesMixed` where a GPU would refuse."""

    def __torch_dispatch__(self, call: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given: list[Any] = []
        _each(given.append, [*args, *kwargs.values()])
        there = [value for value in given if isinstance(value, OnGPU)]
        here = [v for v in given if isinstance(v, Tensor) and not isinstance(v, OnGPU)]
        if any(value.is_meta for value in here):
            raise NotImplementedError(f"{call} of a tensor that torch filled unseen")
        lands = kwargs["device"] == META if kwargs.get("device") else bool(there)
        if call is aten.copy_.default:
            lands = isinstance(args[0], OnGPU)
        elif there and here and call is not aten._to_copy.default:
            _check(call, args, here)

        def to_cpu(value: Any) -> Any:
            if isinstance(value, OnGPU):
                return value.numbers
            return CPU if isinstance(value, torch.device) else value

        def landed(value: Any) -> Any:
            if not lands or not isinstance(value, Tensor):
                return value
            # What was changed in place stays the same tensor.
            return next((one for one in there if one.numbers is value), OnGPU(value))

        named = {n: _each(to_cpu, value) for n, value in kwargs.items()}
        return _each(landed, call(*_each(to_cpu, args), **named))


def _check(call: Any, args: Any, here: list[Tensor]) -> None:
    """Raise if tensors on the CPU may not meet others on the GPU.

    As in torch, they may where they are indices, or single numbers that an elementwise operation
    reads.
    """
    indexing = call in (aten.index.Tensor, aten.index_put.default, aten.index_put_.default)
    single = indexing or torch.Tag.pointwise in call.tags
    for value in here:
        read = value is not args[0] or not call._schema.is_mutable
        index = indexing and any(value is one for one in args[1])
        if not (index or (single and read and not value.dim())):
            raise DevicesMixed(f"{call} of tensors on the GPU and on the CPU")


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    """Return `value` with `change` applied to what its lists and tuples hold."""
    if isinstance(value, list | tuple):
        return type(value)([_each(change, one) for one in value])
    return change(value)


def _is_cuda(value: Any) -> bool:
    return isinstance(value, torch.device | str) and str(value).startswith("cuda")


@contextmanager
def pretend_cuda() -> Iterator[None]:
    """Let "cuda" be a device here, until the block ends; tensors on it are of no use after."""
    with (
        patch.object(torch.cuda, "is_available", return_value=True),
        patch.object(torch.cuda, "device_count", return_value=1),
        patch.object(torch, "Generator", Draws),
        patch.object(Graphs, "of", return_value=None),
        patch.object(torch.cuda, "is_current_stream_capturing", return_value=False),
        patch.dict(os.environ),
        Calling(),
        Computing(),
    ):
        yield
