"""The classifier that every script trains: backbone -> pooling -> head."""

import copy

from torch import nn

from common.errors import UserError
from models.backbones import build_backbone, check_backbone
from models.heads import HEADS, divide_logits
from models.pooling import POOLINGS


def build_model(
    name, num_classes, *, head="linear", pooling="avg", image_size=224, weights="none", dropout=0.2, bn_momentum=None
):  # fmt: skip
    """A `Classifier` with the backbone `name`, the pooling and the head named, for square inputs of `image_size` pixels.

    weights: `none` (random), `imagenet` (the library's cache, download or package) or the path of a local file.
    bn_momentum: share of each new batch in the running BatchNorm statistics; None keeps the library's value.
    Raises UserError for an unknown name and for weights that are missing or do not fit.
    """
    new_pool, new_head = _lookup(POOLINGS, pooling, "pooling"), _lookup(HEADS, head, "head")
    backbone = build_backbone(name, image_size=image_size, weights=weights)
    model = Classifier(backbone, new_pool(), new_head(backbone.num_features * new_pool.expansion, num_classes, dropout))
    if bn_momentum is not None:
        for module in batchnorms(model):
            module.momentum = bn_momentum
    return model


def check_model(name, head, pooling):
    """UserError unless there are such a backbone, head and pooling; nothing is built."""
    check_backbone(name)
    _lookup(HEADS, head, "head")
    _lookup(POOLINGS, pooling, "pooling")


class Classifier(nn.Module):
    """(B, 3, H, W) normalised float images -> (B, K) logits."""

    def __init__(self, backbone, pool, head):
        super().__init__()
        self.backbone = backbone
        self.pool = pool
        self.head = head
        self._frozen_stages, self._frozen_batchnorm = 0, False

    def forward(self, x):
        return self.head(self.features(x))

    @property
    def num_features(self):
        """Number of pooled features C that the head takes."""
        return self.backbone.num_features * self.pool.expansion

    def features(self, x):
        """(B, 3, H, W) images -> (B, C) pooled features."""
        return self.pool(self.backbone(x))

    def let_statistics_keep_up(self, num_steps):
        """Raise the BatchNorm momentum to 10 / `num_steps`, at most 0.1, where it is less.

        With MobileNetV3's 0.01 a run of 200 steps would end with statistics that are still a seventh those of initialisation.
        """
        for module in batchnorms(self):
            module.momentum = max(module.momentum, min(0.1, 10 / num_steps))

    def freeze(self, num_stages, *, batchnorm=False):
        """Stop training the first `num_stages` stages of the backbone; with `batchnorm`, hold all its BatchNorm statistics too.

        Frozen modules stay in eval mode whatever `train()` is told; nothing before the first trained stage
        is recorded for the backward pass, so freezing saves its time and memory.
        """
        if not 0 <= num_stages <= len(self.backbone.stages):
            raise UserError(f"frozen_stages={num_stages}: this backbone has {len(self.backbone.stages)} stages.")
        for stage in self.backbone.stages[:num_stages]:
            stage.requires_grad_(False)
        self._frozen_stages, self._frozen_batchnorm = num_stages, batchnorm
        self.train(self.training)

    def train(self, mode=True):
        super().train(mode)
        for stage in self.backbone.stages[: self._frozen_stages]:
            stage.eval()
        if self._frozen_batchnorm:
            for module in batchnorms(self.backbone):
                module.eval()
        return self


def calibrated(model, temperature):
    """A copy of the `Classifier` whose logits are divided by `temperature`, without an operation more."""
    model = copy.deepcopy(model)
    divide_logits(model.head, temperature)
    return model


def batchnorms(module):
    """All BatchNorm modules in `module`."""
    return [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]


def _lookup(table, name, kind):
    if name not in table:
        raise UserError(f"unknown {kind} '{name}'. Known: {', '.join(table)}.")
    return table[name]
