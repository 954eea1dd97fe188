"""Mixing within a batch: (images, target_probs) -> (images, target_probs). A new one is a class here and a line in MIXINGS.

Each draws from the NumPy generator that is handed in, and leaves its inputs as they were.
"""

import math

import numpy as np
import torch

from common.errors import UserError


class CutMix:
    """Paste a box from another image of the batch; labels mix by the pasted area, exactly.

    Source: Yun et al. 2019, arXiv:1905.04899. The share of the box is 1 - Beta(alpha, alpha) before it is cut at the border.
    """

    def __init__(self, alpha=1.0, prob=0.5):
        self.alpha, self.prob = alpha, prob

    def __call__(self, images, target_probs, rng):
        """images (B, C, H, W), target_probs (B, K) -> the same shapes; the share `prob` of the batches is mixed."""
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


class MixUp:
    """Blend every image with another one of the batch, and the labels alike; one share from Beta(alpha, alpha) for all of them.

    Source: Zhang et al. 2018, arXiv:1710.09412.
    """

    def __init__(self, alpha=1.0, prob=0.5):
        self.alpha, self.prob = alpha, prob

    def __call__(self, images, target_probs, rng):
        """images (B, C, H, W) float, target_probs (B, K) -> the same shapes; the share `prob` of the batches is mixed."""
        if rng.random() >= self.prob:
            return images, target_probs
        share = rng.beta(self.alpha, self.alpha)
        partner = torch.from_numpy(rng.permutation(len(images))).to(images.device)
        return images.lerp(images[partner], share), target_probs.lerp(target_probs[partner], share)


class GridMask:
    """Blank out a grid of squares, in each image another one; labels stay.

    The grid repeats every d1..d2 pixels and is turned by up to `rotate` degrees; `ratio` of each side of a repeat stays, so
    (1 - ratio)^2 of the area is lost. d1 and d2 are for images of 224 px and shrink with them. Blank is 0, the mean colour of
    normalised images. Source: Chen et al. 2020, arXiv:2001.04086.
    """

    def __init__(self, prob=0.5, d1=10, d2=100, rotate=7, ratio=(0.4, 0.6)):
        self.prob, self.d1, self.d2, self.rotate, self.ratio = prob, d1, d2, rotate, ratio

    def __call__(self, images, target_probs, rng):
        """images (B, C, H, W) -> the same shape; each image is masked with the probability `prob`."""
        num, (height, width) = len(images), images.shape[2:]
        period = rng.uniform(self.d1, self.d2, num) * min(height, width) / 224
        kept = rng.uniform(*self.ratio, num) * period
        kept[rng.random(num) >= self.prob] = np.inf  # more than a repeat: these images stay whole
        top, left = rng.random((2, num)) * period
        angle = np.deg2rad(rng.uniform(-self.rotate, self.rotate, num))
        grids = torch.from_numpy(np.stack([period, kept, top, left, angle]).astype(np.float32)).to(images.device)
        return images * grid_mask(height, width, *grids)[:, None], target_probs


def grid_mask(height, width, period, kept, top, left, angle):
    """bool (B, H, W): False in squares of `period` - `kept` pixels, which repeat every `period` pixels.

    The grid is turned by `angle` (radians) around the image's centre and shifted by `top` and `left` pixels; all five are (B,).
    """
    y = torch.arange(height, device=period.device)[:, None] - (height - 1) / 2
    x = torch.arange(width, device=period.device)[None, :] - (width - 1) / 2
    period, kept, top, left, angle = (values[:, None, None] for values in (period, kept, top, left, angle))
    down = (y * angle.cos() - x * angle.sin() + top) % period
    right = (y * angle.sin() + x * angle.cos() + left) % period
    return (down < kept) | (right < kept)


class OneOf:
    """One of several mixings for each batch, drawn by weight."""

    def __init__(self, mixings, weights):
        self.mixings, self.shares = mixings, np.array(weights, float) / sum(weights)

    def __call__(self, images, target_probs, rng):
        return self.mixings[rng.choice(len(self.mixings), p=self.shares)](images, target_probs, rng)


def no_mixing(images, target_probs, rng):
    """The batch as it is."""
    return images, target_probs


MIXINGS = {
    "cutmix": CutMix,
    "mixup": MixUp,
    "gridmask": lambda alpha, prob: GridMask(prob),
    "none": lambda alpha, prob: no_mixing,
}


def build_mixing(mixing, alpha=1.0, prob=0.5):
    """The mixing of that name, or, for a dict {name: weight}, one of them for each batch.

    alpha, prob: a number for all of them, or {name: number}; a name that is left out has alpha 1 and prob 0.5.
    Raises UserError for an unknown name.
    """
    weights = mixing if isinstance(mixing, dict) else {mixing: 1.0}
    unknown = [name for name in weights if name not in MIXINGS]
    if unknown or not weights:
        raise UserError(f"unknown mixing '{', '.join(unknown)}'. Known: {', '.join(MIXINGS)}.")
    if sum(weights.values()) <= 0:
        raise UserError(f"mixing={mixing}: one of the weights must be above 0.")
    alphas, probs = _by_name("mixing_alpha", alpha, weights, 1.0), _by_name("mixing_prob", prob, weights, 0.5)
    mixings = [MIXINGS[name](alphas[name], probs[name]) for name in weights]
    return mixings[0] if len(mixings) == 1 else OneOf(mixings, list(weights.values()))


def _by_name(key, value, names, default):
    """{name: number} for all `names`."""
    if not isinstance(value, dict):
        return dict.fromkeys(names, value)
    strangers = [name for name in value if name not in names]
    if strangers:
        raise UserError(f"{key} names '{strangers[0]}', which is not among the mixings of this run: {', '.join(names)}.")
    return {name: value.get(name, default) for name in names}
