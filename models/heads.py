"""Heads: pooled features (B, C) -> logits (B, K)."""

import torch
import torch.nn.functional as F
from torch import fx, nn

# Cosines times this are the logits of `arcface`. It lets softmax answer with 0.9999 of ten classes and with 0.96 of a thousand; the
# paper's 64, for tens of thousands of faces, makes so few so certain that there is little left to learn (docs/ablation.md has 30).
ARCFACE_SCALE = 10.0


class SqueezeExcitation(nn.Module):
    """Channel gates on a feature vector (Hu et al. 2018, arXiv:1709.01507): (B, C) -> (B, C)."""

    def __init__(self, num_features, reduction=8):
        super().__init__()
        self.gates = nn.Sequential(
            nn.Linear(num_features, num_features // reduction),
            nn.ReLU(inplace=True),
            nn.Linear(num_features // reduction, num_features),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return x * self.gates(x)


def se_linear(num_features, num_classes, dropout):
    """The teacher's head: squeeze-and-excitation on the pooled vector, then linear."""
    return nn.Sequential(SqueezeExcitation(num_features), nn.Dropout(dropout), nn.Linear(num_features, num_classes))


def mlp1280(num_features, num_classes, dropout):
    """The student's head: a hidden layer of 1280 with BatchNorm and ReLU."""
    return nn.Sequential(
        nn.Linear(num_features, 1280, bias=False),
        nn.BatchNorm1d(1280),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(1280, num_classes),
    )


def linear(num_features, num_classes, dropout):
    """Dropout and one linear layer."""
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(num_features, num_classes))


class CosineLinear(nn.Module):
    """Logits `scale` x cos(angle between the features and the class's weight vector), in float32: (B, C) -> (B, K)."""

    def __init__(self, num_features, num_classes, scale):
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(num_classes, num_features)))
        self.scale = scale

    def forward(self, x):
        return self.scale * _cosines(x, self.weight)


@fx.wrap  # one step of a traced graph: a tracer cannot follow autocast
def _cosines(x, weight):
    with torch.autocast(x.device.type, enabled=False):
        return F.linear(F.normalize(x.float(), dim=1), F.normalize(weight.float(), dim=1))


def arcface(num_features, num_classes, dropout):
    """An embedding of 512, then scaled cosines (Deng et al. 2019, arXiv:1801.07698). The angular margin is `arcface_margin`'s.

    BatchNorm centres the embedding. Without it all pictures lie in nearly one direction, and the margin keeps them there.
    """
    return nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(num_features, 512, bias=False),
        nn.BatchNorm1d(512),
        CosineLinear(512, num_classes, ARCFACE_SCALE),
    )


def divide_logits(head, temperature):
    """Divide what `head` answers by `temperature`, in place: in its last layer, which is linear or makes scaled cosines."""
    last = head[-1]
    if isinstance(last, CosineLinear):
        last.scale /= temperature
        return
    with torch.no_grad():
        last.weight /= temperature
        last.bias /= temperature


HEADS = {"se_linear": se_linear, "mlp1280": mlp1280, "linear": linear, "arcface": arcface}
