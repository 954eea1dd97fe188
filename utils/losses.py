"""Losses on (logits, target_probs), both (B, K). A new one is a function here and a line in LOSSES."""

import math
from functools import partial

import torch
import torch.nn.functional as F

from common.errors import UserError


def soft_cross_entropy(logits, target_probs):
    """Mean over the batch of -sum_k target_k log softmax(logits)_k."""
    return F.cross_entropy(logits, target_probs)


def focal_loss(logits, target_probs, alpha=0.25, gamma=2.0):
    """Mean over the batch of -alpha sum_k target_k (1 - p_k)^gamma log p_k, with p = softmax(logits).

    The term of a class that is predicted well weighs little. With several classes `alpha` is a plain factor.
    Source: Lin et al. 2017, arXiv:1708.02002, with soft targets.
    """
    log_probs = logits.log_softmax(1)
    missing = (1 - log_probs.exp()).clamp_min(1e-8)  # at 0 a gamma below 1 has no slope
    return -alpha * (target_probs * missing**gamma * log_probs).sum(1).mean()


def hard_example_loss(logits, target_probs, share=0.7):
    """Cross-entropy, averaged over the `share` of the batch (rounded up) where it is largest; the others teach nothing.

    Each process chooses among its own images. Source: Shrivastava et al. 2016, arXiv:1604.03540.
    """
    losses = F.cross_entropy(logits, target_probs, reduction="none")
    return losses.topk(math.ceil(share * len(losses))).values.mean()


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


LOSSES = {"cross_entropy": soft_cross_entropy, "focal": focal_loss, "ohem": hard_example_loss}


def build_loss(name, *, focal_alpha=0.25, focal_gamma=2.0, ohem_share=0.7):
    """The loss `name`, a function of (logits, target_probs); UserError for an unknown name."""
    if name not in LOSSES:
        raise UserError(f"unknown loss '{name}'. Known: {', '.join(LOSSES)}.")
    values = {"focal": {"alpha": focal_alpha, "gamma": focal_gamma}, "ohem": {"share": ohem_share}}
    return partial(LOSSES[name], **values.get(name, {}))
