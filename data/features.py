"""Pooled features of a frozen backbone: computed once for every image and view, then trained on like pixels."""

import numpy as np
import torch

from common.files import atomic_path


def cached_features(path, compute, shape):
    """The float32 array (V, N, C) at `path`, read piece by piece; first written by `compute(view) -> (N, C)` if missing."""
    if not path.is_file():
        with atomic_path(path) as temporary:
            features = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
            for view in range(shape[0]):
                features[view] = compute(view)
            features.flush()
    return np.load(path, mmap_mode="r")


class FeatureBatches:
    """Like `data.batches.TrainBatches`, with features (B, C) in place of images: one random view of each row an epoch."""

    def __init__(self, features, targets, sampler, *, rows, batch_size, seed=0, device="cpu"):
        self.features, self.targets, self.sampler, self.rows = features, torch.from_numpy(targets), sampler, np.asarray(rows)
        self.batch_size, self.seed, self.device = batch_size, seed, torch.device(device)
        self.seconds_waited = 0.0

    def __len__(self):
        return -(-len(self.sampler) // self.batch_size)

    def epoch(self, epoch):
        """Yields (features (B, C) float32, target_probs (B, K)) on `device`."""
        order = self.rows[self.sampler.indices(epoch)]
        views = np.random.default_rng([self.seed, epoch]).integers(len(self.features), size=len(order))
        for start in range(0, len(order), self.batch_size):
            rows, view = order[start : start + self.batch_size], views[start : start + self.batch_size]
            yield (
                torch.from_numpy(self.features[view, rows]).to(self.device),
                self.targets[torch.from_numpy(rows)].to(self.device),
            )
