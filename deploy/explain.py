"""Where a network looks: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391), laid over the picture."""

import cv2
import numpy as np
import torch

LONGEST_SIDE = 4096  # pixels of a map; JPEG ends at 65,500, and memory long before


def grad_cam(model, x, class_index):
    """float32 (h, w) in 0..1: how much each place of the last feature map speaks for the class; x (1, 3, S, S)."""
    with torch.enable_grad():
        features = model.backbone(x).detach().requires_grad_()
        logit = model.head(model.pool(features).flatten(1))[0, class_index]
        (gradient,) = torch.autograd.grad(logit, features)
    heat = (gradient.mean((2, 3), keepdim=True) * features).sum(1).relu()[0].detach().numpy()
    return heat / max(heat.max(), 1e-12)


def shrunk(pixels):
    """uint8 (H, W, 3) -> the picture at `LONGEST_SIDE` if a side of it is longer."""
    height, width = pixels.shape[:2]
    scale = LONGEST_SIDE / max(height, width)
    if scale >= 1:
        return pixels
    return cv2.resize(pixels, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA)


def overlay(pixels, heat, share=1.0):
    """uint8 RGB (H, W, 3): the picture with `heat` (h, w) in 0..1 in colour over its middle, `share` of each side.

    The rest is what the network's centre cut leaves out; it stays grey.
    """
    height, width = pixels.shape[:2]
    inner_h, inner_w = max(1, round(height * share)), max(1, round(width * share))
    top, left = (height - inner_h) // 2, (width - inner_w) // 2
    heat = cv2.resize(heat, (inner_w, inner_h), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    colours = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_JET)[..., ::-1]
    result = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    inner = pixels[top : top + inner_h, left : left + inner_w]
    result[top : top + inner_h, left : left + inner_w] = (0.55 * inner + 0.45 * colours).astype(np.uint8)
    return result
