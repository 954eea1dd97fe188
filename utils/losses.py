"""Losses on (logits, target_probs), both (B, K)."""

import torch.nn.functional as F


def soft_cross_entropy(logits, target_probs):
    """Mean over the batch of -sum_k target_k log softmax(logits)_k."""
    return F.cross_entropy(logits, target_probs)
