"""The ResNet-18 of the plain loops."""

from torch import nn

from clcore.streams.torchvision_import import torchvision_datasets


def small_resnet(width: int, outputs: int) -> nn.Module:
    """Return torchvision's ResNet-18 of a width, with the stem for small images."""
    torchvision_datasets()
    from torchvision.models.resnet import BasicBlock, ResNet

    class Small(ResNet):
        def __init__(self) -> None:
            super().__init__(BasicBlock, [2, 2, 2, 2], num_classes=outputs)
            self.inplanes = width
            self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.maxpool = nn.Identity()
            for i, stride in enumerate((1, 2, 2, 2)):
                layer = self._make_layer(BasicBlock, width * 2**i, 2, stride=stride)
                setattr(self, f"layer{i + 1}", layer)
            self.fc = nn.Linear(8 * width, outputs)

    return Small()
