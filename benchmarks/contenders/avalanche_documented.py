"""Avalanche as its documentation shows it: `avalanche_documented.py DATA BATCH`."""

import torch
from job import HIDDEN, RATE, TASKS, arguments, let_torchvision_import, report, root

let_torchvision_import()

from avalanche.benchmarks.classic import PermutedMNIST  # noqa: E402
from avalanche.models import SimpleMLP  # noqa: E402
from avalanche.training.supervised import Naive  # noqa: E402

(batch,) = arguments()


def job() -> tuple[int, float]:
    benchmark = PermutedMNIST(n_experiences=TASKS, seed=0, dataset_root=root())
    model = SimpleMLP(num_classes=10, hidden_size=HIDDEN, hidden_layers=2, drop_rate=0)
    strategy = Naive(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=RATE),
        criterion=torch.nn.CrossEntropyLoss(),
        train_mb_size=batch,
        train_epochs=1,
        eval_mb_size=batch,
    )
    found = {}
    for k, experience in enumerate(benchmark.train_stream):
        strategy.train(experience)
        found = strategy.eval(benchmark.test_stream[: k + 1])
    key = next(name for name in found if name.startswith("Top1_Acc_Stream"))
    return TASKS * 60_000, found[key]


report(job)
