"""Mixing within a batch: (images, target_probs) -> (images, target_probs). A new one is a class here and a line in MIXINGS."""

import math

import numpy as np
import torch


class CutMix:
    """Paste a box from another image of the batch; labels mix by the pasted area, exactly.

    Source: Yun et al. 2019, arXiv:1905.04899. The share of the box is 1 - Beta(alpha, alpha) before it is cut at the border.
    """

    def __init__(self, alpha=1.0, prob=0.5):
        self.alpha, self.prob = alpha, prob

    def __call__(self, images, target_probs, rng):
        """images (B, C, H, W), target_probs (B, K) -> the same shapes; drawn from the NumPy generator `rng`, inputs unchanged."""
        if rng.random() >= self.prob:
            return images, target_probs
        height, width = images.shape[2:]
        top, bottom, left, right = random_box(height, width, 1 - rng.beta(self.alpha, self.alpha), rng)
        partner = torch.from_numpy(rng.permutation(len(images))).to(images.device)
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
        pasted = (bottom - top) * (right - left) / (height * width)
        return mixed, (1 - pasted) * target_probs + pasted * target_probs[partner]


def random_box(height, width, area_share, rng):
    """(top, bottom, left, right) of a box with the image's proportions around a uniform centre, cut at the border."""
    half_h, half_w = 0.5 * height * math.sqrt(area_share), 0.5 * width * math.sqrt(area_share)
    y, x = rng.uniform(0, height), rng.uniform(0, width)
    edges = (
        np.clip([round(y - half_h), round(y + half_h)], 0, height),
        np.clip([round(x - half_w), round(x + half_w)], 0, width),
    )
    return (*map(int, edges[0]), *map(int, edges[1]))


def no_mixing(images, target_probs, rng):
    """The batch as it is."""
    return images, target_probs


MIXINGS = {"cutmix": CutMix, "none": lambda alpha, prob: no_mixing}
