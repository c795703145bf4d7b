import subprocess
import sys

PROGRAM = """
import gc
import sys
import torch
import clcore.streams
assert "torchvision" not in sys.modules, "imported before it is needed"
from clcore.streams.torchvision_import import torchvision_datasets
datasets = torchvision_datasets()
assert torchvision_datasets() is datasets
gc.collect()
assert torch.ops.torchvision.nms and torch.ops.torchvision.qnms, "the operators are gone again"
print(datasets.__name__, datasets.MNIST.__name__, datasets.CIFAR100.__name__)
"""


def test_import_succeeds_in_a_fresh_process() -> None:
    """Beside a CPU torch, a plain import of a CUDA-built torchvision fails."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["torchvision.datasets", "MNIST", "CIFAR100"]
