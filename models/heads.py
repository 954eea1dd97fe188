"""Heads: pooled features (B, C) -> logits (B, K)."""

from torch import nn


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


HEADS = {"se_linear": se_linear, "mlp1280": mlp1280, "linear": linear}
