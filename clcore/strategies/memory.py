"""A few training samples of the past, kept by reservoir sampling."""

from collections.abc import Sequence

import torch
from torch import Tensor

from clcore.errors import InputError
from clcore.streams.batches import Batch


class Memory:
    """So many samples of each replica: at any time a uniform sample of all that it was shown.

    What is shown in several epochs counts as often. Source: reservoir sampling, algorithm R
    (Vitter, 1985), as Chaudhry et al. (2019, On Tiny Episodic Memories) use it.

    Parameters
    ----------
    size : int
        Samples kept of each replica.

    Attributes
    ----------
    shown : Tensor
        int64, (R,), on the CPU: how many samples each replica was shown.
    kept : dict of str to Tensor
        (R, size, …): `rows`, `labels`, `tasks` and what else `add` was given; beyond `shown`, 0.

    Raises
    ------
    InputError
        If `size` is below 1.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise InputError(f"memory of {size} samples: keep at least 1")
        self.size = size
        self.shown = torch.zeros(0, dtype=torch.int64)
        self.kept: dict[str, Tensor] = {}

    def add(self, batch: Batch, draws: Sequence[torch.Generator], **values: Tensor) -> None:
        """Show the memory a batch, without its padding.

        Parameters
        ----------
        batch : Batch
            Of R replicas.
        draws : sequence of torch.Generator
            Each replica's own, on the CPU.
        **values : Tensor
            (R, B, …): what else to keep of each sample.
        """
        rows, device = batch.rows, batch.rows.device
        whose = batch.tasks
        tasks = torch.full_like(rows, whose) if isinstance(whose, int) else whose
        given = {"rows": rows, "labels": batch.labels, "tasks": tasks, **values}
        if not self.kept:
            self.shown = torch.zeros(len(rows), dtype=torch.int64)
            self.kept = {
                n: v.new_zeros((len(v), self.size, *v.shape[2:])) for n, v in given.items()
            }
        counts, within = torch.tensor(batch.counts), torch.arange(rows.shape[1])
        chances = torch.zeros(rows.shape, dtype=torch.float64)
        for r, count in enumerate(batch.counts):
            chances[r, :count] = torch.rand(count, dtype=torch.float64, generator=draws[r])
        # Sample n, from 0, takes a place drawn from n + 1; the first ones fill the memory.
        order = self.shown[:, None] + within
        places = torch.where(order < self.size, order, (chances * (order + 1)).long())
        places[(places >= self.size) | (within >= counts[:, None])] = self.size  # none
        # Which sample of the batch each place takes, −1 for none; of several, the last.
        taken = torch.full((len(rows), self.size + 1), -1)
        taken.scatter_reduce_(1, places, within.expand_as(places), "amax")
        replicas, places = (taken[:, :-1] >= 0).nonzero(as_tuple=True)
        # A GPU must not be waited for.
        moves = torch.stack([replicas, places, taken[replicas, places]])
        replicas, places, samples = moves.to(device, non_blocking=True)
        for n, value in given.items():
            self.kept[n][replicas, places] = value[replicas, samples]
        self.shown += counts

    def sample(self, number: int, draws: Sequence[torch.Generator]) -> dict[str, Tensor]:
        """Return samples of each replica, drawn with replacement: name → (R, number, …).

        Empty before anything was shown.
        """
        if not self.kept:
            return {}
        filled = self.shown.clamp_max(self.size).tolist()
        picked = [
            torch.randint(count, (number,), generator=g)
            for count, g in zip(filled, draws, strict=True)
        ]
        device = self.kept["rows"].device
        places = torch.stack(picked).to(device, non_blocking=True)
        replicas = torch.arange(len(places), device=device)[:, None]
        return {n: value[replicas, places] for n, value in self.kept.items()}
