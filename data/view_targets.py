"""Targets for fixed views: the picture's label and what is stored of each view, put together when a batch asks for them."""

import copy

import numpy as np

from data.targets import blend_targets


class ViewTargets:
    """`targets[indices]` is float32 (B, K + C): K probabilities that sum to 1, then C features, for views by their index.

    views: the `FixedViews`. hard: float32 (N, K), the pictures' labels; those of blended views are blended by the same share.
    logits: (N, V, K), what teachers say of each view, blended in by `weight`, a number or one for each picture; None: the labels
    alone. features: (N, V, C); None: none, C is 0.
    """

    def __init__(self, views, hard, *, logits=None, weight=0.0, features=None):
        self.views, self.hard = views, hard
        self.logits, self.features = _by_index(logits), _by_index(features)
        self.weight = np.broadcast_to(np.asarray(weight, np.float32), len(hard))

    def without_features(self):
        """The same probabilities alone, (B, K)."""
        alone = copy.copy(self)
        alone.features = None
        return alone

    def __getitem__(self, indices):
        rows, others, share = self.views.pictures(indices)
        parts = [blend_targets(self.hard[others], self.hard[rows], share[:, None])]
        if self.logits is not None:
            parts = [blend_targets(parts[0], softmax(self.logits[indices]), self.weight[rows, None])]
        if self.features is not None:
            parts.append(self.features[indices].astype(np.float32))
        return np.concatenate(parts, axis=1)


def softmax(logits):
    """(B, K) -> probabilities float32 (B, K)."""
    logits = np.asarray(logits, np.float32)
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def _by_index(stored):
    return None if stored is None else stored.reshape(-1, stored.shape[2])
