"""Targets for fixed views: the picture's label and what is stored of each view, put together when a batch asks for them."""

import numpy as np

from data.targets import blend_targets


class ViewTargets:
    """`targets[indices]` is float32 (B, K): probabilities that sum to 1, for views by their index.

    views: the `FixedViews`. hard: float32 (N, K), the pictures' labels; those of blended views are blended by the same share.
    logits: (N, V, K), what teachers say of each view, blended in by `weight`, a number or one for each picture.
    """

    def __init__(self, views, hard, *, logits, weight):
        self.views, self.hard = views, hard
        self.logits = logits.reshape(-1, logits.shape[2])
        self.weight = np.broadcast_to(np.asarray(weight, np.float32), len(hard))

    def __getitem__(self, indices):
        rows, others, share = self.views.pictures(indices)
        hard = blend_targets(self.hard[others], self.hard[rows], share[:, None])
        return blend_targets(hard, softmax(self.logits[indices]), self.weight[rows, None])


def softmax(logits):
    """(B, K) -> probabilities float32 (B, K)."""
    logits = np.asarray(logits, np.float32)
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)
