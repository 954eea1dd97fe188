"""Which image comes when: index orders for one epoch, the same on every machine, split over processes."""

import numpy as np

from common.errors import UserError


class ShuffleSampler:
    """Every index once an epoch in a new order; each process gets the same number (at most num_replicas - 1 are left out)."""

    def __init__(self, num_samples, *, seed=0, rank=0, num_replicas=1):
        self.num_samples, self.seed, self.rank, self.num_replicas = num_samples, seed, rank, num_replicas

    def __len__(self):
        return self.num_samples // self.num_replicas

    def indices(self, epoch):
        """int64 (len(self),): this process's indices in epoch number `epoch`."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.num_samples)
        return order[self.rank :: self.num_replicas][: len(self)]


class BalanceClassSampler:
    """Every class equally often an epoch: `upsampling` (as often as the largest), `downsampling` (the smallest) or a number.

    Within a class every index is drawn floor or ceil of draws/count times, and which ones get the extra draw
    changes every epoch. Across processes together the same holds: the draws per class are rounded up until they
    split evenly.
    """

    def __init__(self, labels, *, mode="upsampling", seed=0, rank=0, num_replicas=1):
        labels = np.asarray(labels)
        self.members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self.seed, self.rank, self.num_replicas = seed, rank, num_replicas
        self.draws_per_class = self._draws(mode)

    def _draws(self, mode):
        counts = [len(members) for members in self.members]
        draws = {"upsampling": max(counts), "downsampling": min(counts)}.get(mode, mode)
        if not isinstance(draws, int) or draws < 1:
            raise UserError(f"sampler_mode={mode!r}: takes 'upsampling', 'downsampling' or a number of images per class from 1.")
        while draws * len(counts) % self.num_replicas:
            draws += 1
        return draws

    def __len__(self):
        return self.draws_per_class * len(self.members) // self.num_replicas

    def indices(self, epoch):
        """int64 (len(self),): this process's indices in epoch number `epoch`."""
        rng = np.random.default_rng([self.seed, epoch])
        drawn = []
        for members in self.members:
            rounds = -(-self.draws_per_class // len(members))
            drawn.append(np.concatenate([rng.permutation(members) for _ in range(rounds)])[: self.draws_per_class])
        return rng.permutation(np.concatenate(drawn))[self.rank :: self.num_replicas]
