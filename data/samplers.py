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
    """How often each class comes in an epoch: `upsampling`, `downsampling`, `sqrt` or a number of images.

    Equally often: as the largest class, as the smallest, or that number; over several processes rounded up until the draws split
    evenly. `sqrt`: in proportion to the square root of the class's size, together as many as there are images, rounded up alike.

    Within a class every index is drawn floor or ceil of draws/count times, and which ones get the extra draw
    changes every epoch, over all processes together.
    """

    def __init__(self, labels, *, mode="upsampling", seed=0, rank=0, num_replicas=1):
        labels = np.asarray(labels)
        self.members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self.seed, self.rank, self.num_replicas = seed, rank, num_replicas
        self.draws = self._draws(mode, np.array([len(members) for members in self.members]))

    def _draws(self, mode, counts):
        """int (classes,): images of each class in an epoch."""
        if mode == "sqrt":
            return _apportion(-(-counts.sum() // self.num_replicas) * self.num_replicas, np.sqrt(counts))
        draws = {"upsampling": int(counts.max()), "downsampling": int(counts.min())}.get(mode, mode)
        if not isinstance(draws, int) or draws < 1:
            raise UserError(
                f"sampler_mode={mode!r}: takes 'upsampling', 'downsampling', 'sqrt' or a number of images per class from 1."
            )
        while draws * len(counts) % self.num_replicas:
            draws += 1
        return np.full(len(counts), draws)

    def __len__(self):
        return int(self.draws.sum()) // self.num_replicas

    def indices(self, epoch):
        """int64 (len(self),): this process's indices in epoch number `epoch`."""
        rng = np.random.default_rng([self.seed, epoch])
        drawn = []
        for members, draws in zip(self.members, self.draws, strict=True):
            rounds = -(-draws // len(members))
            drawn.append(np.concatenate([rng.permutation(members) for _ in range(rounds)])[:draws])
        return rng.permutation(np.concatenate(drawn))[self.rank :: self.num_replicas]


class BothSamplers:
    """The draws of two samplers, shuffled together; those of the second are numbered on from `offset`."""

    def __init__(self, first, second, *, offset, seed=0):
        self.first, self.second, self.offset, self.seed = first, second, offset, seed

    def __len__(self):
        return len(self.first) + len(self.second)

    def indices(self, epoch):
        """int64 (len(self),): this process's indices in epoch number `epoch`."""
        drawn = np.concatenate([self.first.indices(epoch), self.offset + self.second.indices(epoch)])
        return np.random.default_rng([self.seed, epoch]).permutation(drawn)


def _apportion(total, weights):
    """int (n,) that sum to `total`, in proportion to `weights`: rounded down, and the largest remainders get one more."""
    shares = total * weights / weights.sum()
    draws = np.floor(shares).astype(int)
    draws[np.argsort(draws - shares, kind="stable")[: total - draws.sum()]] += 1
    return draws
