"""Pooling: feature maps (B, C, h, w) -> features (B, C x `expansion`). A new one is a class here and its name in POOLINGS."""

import torch
import torch.nn.functional as F
from torch import nn


class AveragePooling(nn.Module):
    """Mean over all places."""

    expansion = 1

    def forward(self, x):
        return F.adaptive_avg_pool2d(x, 1).flatten(1)


class ConcatPooling(nn.Module):
    """Mean and maximum side by side, twice as many features: what is there on the whole, and what is there at all."""

    expansion = 2

    def forward(self, x):
        return torch.cat([F.adaptive_avg_pool2d(x, 1).flatten(1), x.amax((2, 3))], 1)


class GeMPooling(nn.Module):
    """Generalised mean (Radenovic et al. 2018, arXiv:1711.02512): mean(x^p)^(1/p), of values below `eps` as `eps`.

    p is learned; p = 1 is the mean of a ReLU's output, p -> infinity the maximum.
    Computed in float32: half precision rounds `eps` to 0.
    """

    expansion = 1

    def __init__(self, p=3.0, eps=1e-6):
        super().__init__()
        self.p = nn.Parameter(torch.tensor([p]))
        self.eps = eps

    def forward(self, x):
        return x.float().clamp(min=self.eps).pow(self.p).mean((2, 3)).pow(1 / self.p)


POOLINGS = {"avg": AveragePooling, "concat": ConcatPooling, "gem": GeMPooling}
