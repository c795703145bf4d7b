"""Names of devices, checked before any work starts."""

import os
import re

import torch

from clcore.errors import InputError


def check_device_name(name: str) -> None:
    """Raise `InputError` if no device can be called `name`, here or elsewhere."""
    if re.fullmatch(r"cpu|cuda(:\d+)?", name) is None:
        raise InputError(f"unknown device {name!r}: choose 'cpu', 'cuda' or 'cuda:N'")


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`.

    Parameters
    ----------
    name : str
        ``"cpu"``, ``"cuda"`` (the current GPU) or ``"cuda:N"`` (the GPU with index N, from 0).

    Raises
    ------
    InputError
        If the name is none of these, or if this machine has no such GPU that torch can use.
    """
    check_device_name(name)
    if name == "cpu":
        return torch.device("cpu")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus == 0:
        build = "" if torch.version.cuda else " (this torch is a build without CUDA)"
        raise InputError(
            f"device {name!r} was asked for, but torch finds no GPU here{build}: "
            "use device 'cpu', or install a CUDA build of torch on a machine with an NVIDIA GPU"
        )
    # cuBLAS reads this when it starts; without it torch refuses deterministic products.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    index = int(name.partition(":")[2] or 0)
    if index >= gpus:
        raise InputError(
            f"device {name!r} was asked for, but the GPUs here are numbered 0 to {gpus - 1}: "
            "use one of these, or 'cuda'"
        )
    return torch.device("cuda", index) if ":" in name else torch.device("cuda")
