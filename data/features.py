"""Pooled features of a frozen backbone: computed once for every image and view, then trained on like pixels."""

import numpy as np
import torch

from common.arrays import open_array, write_array
from data.batches import in_chunks


def open_features(path, shape, mark):
    """The float32 array `shape` = (V, N, C) at `path`, read piece by piece; None unless it is there, whole, and of `mark`.

    mark: text that says what the features are of (pictures and backbone).
    """
    features = open_array(path, mark)
    return None if features is None or features.shape != shape else features


def write_features(path, compute, shape, mark):
    """Write the array that `open_features` reads, view after view: `compute(view) -> (N, C)`; returns it."""

    def fill(features):
        for view in range(shape[0]):
            features[view] = compute(view)
        return mark

    return write_array(path, np.float32, shape, fill)


class FeatureBatches:
    """Like `data.batches.TrainBatches`, with features (B, C) in place of images: one random view of each row an epoch."""

    def __init__(self, features, targets, sampler, *, rows, batch_size, seed=0, device="cpu"):
        self.features, self.targets, self.sampler, self.rows = features, torch.from_numpy(targets), sampler, np.asarray(rows)
        self.batch_size, self.seed, self.device = batch_size, seed, torch.device(device)
        self.seconds_waited = 0.0

    def __len__(self):
        return len(in_chunks(np.arange(len(self.sampler)), self.batch_size))

    def epoch(self, epoch):
        """Yields (features (B, C) float32, target_probs (B, K)) on `device`."""
        order = self.rows[self.sampler.indices(epoch)]
        views = np.random.default_rng([self.seed, epoch]).integers(len(self.features), size=len(order))
        for chunk in in_chunks(np.arange(len(order)), self.batch_size):
            rows, view = order[chunk], views[chunk]
            yield (
                torch.from_numpy(self.features[view, rows]).to(self.device),
                self.targets[torch.from_numpy(rows)].to(self.device),
            )
