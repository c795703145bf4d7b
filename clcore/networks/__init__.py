"""Networks as functions of stacked parameters: one replica a seed, all trained together."""

from clcore.networks.mlp import MLP
from clcore.networks.network import (
    Network,
    Parameters,
    aligned,
    block_of,
    check_modules,
    is_statistic,
    trained_names,
)
from clcore.networks.resnet import ResNet18

__all__ = [
    "MLP",
    "Network",
    "Parameters",
    "ResNet18",
    "aligned",
    "block_of",
    "check_modules",
    "is_statistic",
    "trained_names",
]
