"""The one place that imports torchvision."""

import ctypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import torch

# Kept alive: the operators vanish with the library object that defines them.
_operators: list[torch.library.Library] = []


@cache
def torchvision_datasets() -> ModuleType:
    """Return `torchvision.datasets`, also where torchvision's compiled operators cannot load.

    A torchvision built for CUDA fails at import beside a CPU build of torch: its compiled
    library wants CUDA, and without it `torchvision::nms` does not exist. Declaring the two
    operators that the import looks up is enough: data sets and transforms use none of them.
    """
    spec = find_spec("torchvision")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    for library in folder.glob("_C*.so"):
        try:
            ctypes.CDLL(str(library))
        except OSError:
            fragment = torch.library.Library("torchvision", "FRAGMENT")
            for name in ("nms", "qnms"):
                fragment.define(
                    f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                )
            _operators.append(fragment)
    from torchvision import datasets

    module: ModuleType = datasets
    return module
