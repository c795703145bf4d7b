"""A plain PyTorch loop: `plain_loop.py DATA BATCH LOADER` (1: DataLoader, 0: indexed tensor)."""

import torch
from job import HIDDEN, RATE, TASKS, arguments, mnist, report
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

batch, with_loader = arguments()
train_images, train_labels, test_images, test_labels = (torch.from_numpy(a.copy()) for a in mnist())


def normalized(images: torch.Tensor) -> torch.Tensor:
    return (images.float() / 255 - 0.1307) / 0.3081


def job() -> tuple[int, float]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(784, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), RATE)
    criterion = nn.CrossEntropyLoss()
    orders = [torch.randperm(784) for _ in range(TASKS)]
    x, y = normalized(train_images), train_labels.long()
    test_x, test_y = normalized(test_images), test_labels.long()
    scores: list[float] = []
    for k, order in enumerate(orders):
        shown = x[:, order]
        if with_loader:
            batches = iter(DataLoader(TensorDataset(shown, y), batch, shuffle=True))
        else:
            batches = ((shown[i], y[i]) for i in torch.randperm(len(x)).split(batch))
        for images, labels in batches:
            optimizer.zero_grad()
            criterion(model(images), labels).backward()
            optimizer.step()
        with torch.no_grad():
            scores = [
                sum(
                    (model(a[:, seen]).argmax(1) == b).sum().item()
                    for a, b in zip(test_x.split(512), test_y.split(512), strict=True)
                )
                / len(test_y)
                for seen in orders[: k + 1]
            ]
    return TASKS * len(x), sum(scores) / TASKS


report(job)
