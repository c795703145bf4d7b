"""Avalanche as an expert would tune it: `avalanche_expert.py DATA BATCH`.

Tensors instead of images and transforms, whole-batch collation left to the loader, no logger,
and no metric but the accuracy.
"""

import torch
from job import HIDDEN, RATE, TASKS, arguments, let_torchvision_import, mnist, report
from torch.utils.data import TensorDataset

let_torchvision_import()

from avalanche.benchmarks import benchmark_from_datasets  # noqa: E402
from avalanche.benchmarks.utils import as_classification_dataset  # noqa: E402
from avalanche.evaluation.metrics import accuracy_metrics  # noqa: E402
from avalanche.models import SimpleMLP  # noqa: E402
from avalanche.training.plugins import EvaluationPlugin  # noqa: E402
from avalanche.training.supervised import Naive  # noqa: E402

(batch,) = arguments()
train_images, train_labels, test_images, test_labels = (torch.from_numpy(a.copy()) for a in mnist())


def dataset(images: torch.Tensor, labels: torch.Tensor, order: torch.Tensor) -> object:
    values = ((images.float() / 255 - 0.1307) / 0.3081)[:, order]
    tensors = TensorDataset(values, labels.long())
    tensors.targets = labels.long()
    return as_classification_dataset(tensors)


def job() -> tuple[int, float]:
    torch.manual_seed(0)
    orders = [torch.randperm(784) for _ in range(TASKS)]
    benchmark = benchmark_from_datasets(
        train=[dataset(train_images, train_labels, order) for order in orders],
        test=[dataset(test_images, test_labels, order) for order in orders],
    )
    model = SimpleMLP(num_classes=10, hidden_size=HIDDEN, hidden_layers=2, drop_rate=0)
    strategy = Naive(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=RATE),
        criterion=torch.nn.CrossEntropyLoss(),
        train_mb_size=batch,
        train_epochs=1,
        eval_mb_size=512,
        evaluator=EvaluationPlugin(accuracy_metrics(stream=True), loggers=[]),
    )
    found = {}
    for k, experience in enumerate(benchmark.train_stream):
        strategy.train(experience, num_workers=0)
        found = strategy.eval(list(benchmark.test_stream)[: k + 1], num_workers=0)
    return TASKS * 60_000, next(iter(found.values()))


report(job)
