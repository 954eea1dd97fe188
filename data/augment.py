"""Augmentation of whole batches: tensor operations, named as pipelines, without per-image Python work but for AutoAugment's.

A batch enters as uint8 (B, 3, H, W), channels last in memory; operations that only move pixels keep uint8, the others
return float32 in 0..255. All randomness comes from the NumPy generator handed in. The same pipelines in per-image form
stand in data/albumentations_pipelines.py, but for AutoAugment and RandAugment, which Albumentations does not have.
"""

import numpy as np
import torch
import torch.nn.functional as F

from common.errors import UserError
from data.auto_augment import AutoAugment, RandAugment


def horizontal_flip(images, rng, prob=0.5):
    """Mirror each image with probability `prob`."""
    flipped = _mask(rng, len(images), prob, images.device)
    return torch.where(flipped[:, None, None, None], images.flip(3), images)


def shift_scale(images, rng, prob=0.5, shift=0.15, scale=0.15):
    """Shift by up to `shift` of the size and zoom by up to 1 +- `scale`, borders reflected."""
    chosen = np.flatnonzero(rng.random(len(images)) < prob)
    zoom = 1 + rng.uniform(-scale, scale, len(chosen))
    theta = np.zeros((len(chosen), 2, 3), np.float32)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / zoom
    theta[:, :, 2] = 2 * rng.uniform(-shift, shift, (len(chosen), 2))
    return _warp(images, chosen, theta)


def hue_saturation_value(images, rng, prob=0.33, hue=20 / 180, saturation=30 / 255, value=20 / 255):
    """Shift hue (share of the circle), saturation and value (share of the range) by up to the given amounts."""
    chosen = np.flatnonzero(rng.random(len(images)) < prob)
    if not len(chosen):
        return images
    shifts = [_column(rng.uniform(-limit, limit, len(chosen)), images.device) for limit in (hue, saturation, value)]
    index = torch.from_numpy(chosen).to(images.device)
    images = images.float() if images.dtype == torch.uint8 else images.clone()
    h, s, v = rgb_to_hsv(images[index] / 255)
    images[index] = 255 * hsv_to_rgb((h + shifts[0]) % 1, (s + shifts[1]).clamp(0, 1), (v + shifts[2]).clamp(0, 1))
    return images


def rgb_to_hsv(rgb):
    """(B, 3, H, W) in 0..1 -> hue, saturation, value, each (B, H, W) in 0..1."""
    value, top = rgb.max(1)
    spread = value - rgb.min(1).values
    r, g, b = rgb.unbind(1)
    safe = spread.clamp_min(1e-8)
    hue = torch.where(top == 0, (g - b) / safe, torch.where(top == 1, 2 + (b - r) / safe, 4 + (r - g) / safe))
    return (hue / 6) % 1, spread / value.clamp_min(1e-8), value


def hsv_to_rgb(hue, saturation, value):
    """Hue, saturation, value, each (B, H, W) in 0..1 -> (B, 3, H, W) in 0..1."""
    channels = []
    for offset in (5, 3, 1):
        k = (offset + hue * 6) % 6
        channels.append(value * (1 - saturation * torch.minimum(k, 4 - k).clamp(0, 1)))
    return torch.stack(channels, 1)


def _warp(images, chosen, theta):
    """Sample the images number `chosen` through the affine maps `theta` (n, 2, 3), output -> input in -1..1."""
    if not len(chosen):
        return images
    index = torch.from_numpy(chosen).to(images.device)
    images = images.float() if images.dtype == torch.uint8 else images.clone()
    part = images[index]
    grid = F.affine_grid(torch.from_numpy(theta).to(images.device), list(part.shape), align_corners=False)
    images[index] = F.grid_sample(part, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return images


def _mask(rng, num, prob, device):
    return torch.from_numpy(rng.random(num) < prob).to(device)


def _column(values, device):
    return torch.from_numpy(values.astype(np.float32)).to(device)[:, None, None]


# name -> (how the network's square is cut from the cached picture, a name from data/crops.py; operations on the batch)
PIPELINES = {
    "none": ("center", ()),
    "teacher": ("center", (horizontal_flip, shift_scale, hue_saturation_value)),
    "student": ("random", (horizontal_flip,)),
    "student_zoom": ("zoom", (horizontal_flip,)),
    "student_zoom_color": ("zoom", (horizontal_flip, hue_saturation_value)),
    "autoaugment": ("random", (horizontal_flip, AutoAugment())),
    "randaugment": ("random", (horizontal_flip, RandAugment())),
}


def batched_pipeline(name):
    """(crop, operations) of the pipeline `name`."""
    if name not in PIPELINES:
        raise UserError(f"unknown augmentation '{name}'. Known: {', '.join(PIPELINES)}.")
    return PIPELINES[name]
