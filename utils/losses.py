"""Losses on (logits, target_probs), both (B, K)."""

import math

import torch
import torch.nn.functional as F


def soft_cross_entropy(logits, target_probs):
    """Mean over the batch of -sum_k target_k log softmax(logits)_k."""
    return F.cross_entropy(logits, target_probs)


def arcface_margin(logits, target_probs, *, scale, margin=0.5):
    """Logits `scale` x cos(angle) -> `scale` x cos(angle + margin x target), float32 (B, K), for any loss to take in training.

    For hard labels this is the additive angular margin, in radians, of ArcFace (Deng et al. 2019, arXiv:1801.07698). With soft
    ones each class gets its share of the margin. Beyond pi, where the cosine would rise again, the logits go on falling.
    """
    cosine = (logits.float() / scale).clamp(-1 + 1e-6, 1 - 1e-6)  # at +-1 the sine has no finite slope
    margins = margin * target_probs.float()
    shifted = cosine * margins.cos() - (1 - cosine.square()).sqrt() * margins.sin()
    beyond = cosine < (math.pi - margins).cos()
    return scale * torch.where(beyond, cosine - 1 + margins.cos(), shifted)
