"""Backbones: (B, 3, H, W) images -> (B, C, h, w) feature maps, as a sequence of stages that fine-tuning may freeze.

A new backbone is one function here and its name in BACKBONES; any other name is looked for in timm.
"""

import difflib
from functools import partial

import timm
import torchvision
from efficientnet_pytorch import EfficientNet
from torch import nn

from common.errors import UserError
from models.timm_backbone import is_timm_name, timm_backbone
from models.weights import lite_package, load_backbone_weights


class Backbone(nn.Module):
    """Stages in a row; `num_features` is the number of channels C of the last one."""

    def __init__(self, stages, num_features):
        super().__init__()
        self.stages = nn.Sequential(*stages)
        self.num_features = num_features

    def forward(self, x):
        return self.stages(x)


class _DropConnectBlock(nn.Module):
    """A library block together with its own drop-connect rate, so that blocks can stand in a Sequential."""

    def __init__(self, block, drop_connect_rate):
        super().__init__()
        self.block = block
        self.drop_connect_rate = drop_connect_rate

    def forward(self, x):
        return self.block(x, drop_connect_rate=self.drop_connect_rate)


def _split_efficientnet(network):
    """Stem, one stage for each block width, final 1x1 convolution."""
    rate, blocks = network._global_params.drop_connect_rate or 0.0, network._blocks
    stages, width = [nn.Sequential(network._conv_stem, network._bn0, _activation(network))], None
    for i, block in enumerate(blocks):
        if block._project_conv.out_channels != width:
            width = block._project_conv.out_channels
            stages.append(nn.Sequential())
        stages[-1].append(_DropConnectBlock(block, rate * i / len(blocks)))
    stages.append(nn.Sequential(network._conv_head, network._bn1, _activation(network)))
    return Backbone(stages, network._conv_head.out_channels)


def _activation(network):
    """The stem and the head share the network's own activation module; a plain SiLU can be traced, the library's cannot."""
    return nn.ReLU6() if isinstance(network._swish, nn.ReLU6) else nn.SiLU()


def _efficientnet(name, *, image_size, weights):
    # A fixed image size makes the library pad statically, which torch.fx can trace and ONNX can express.
    network = EfficientNet.from_name(name.replace("_", "-"), image_size=image_size)
    load_backbone_weights(network, name, weights, head="_fc.")
    for block in network._blocks:
        block._swish = nn.SiLU()
    return _split_efficientnet(network)


def _efficientnet_lite(name, *, image_size, weights):
    library = lite_package(name)
    network = library.EfficientNet.from_name(name.replace("_", "-"), image_size=image_size)
    load_backbone_weights(network, name, weights, head="_fc.")
    return _split_efficientnet(network)


def _mobilenet_v3(name, *, image_size, weights):
    network = getattr(torchvision.models, name)()
    for module in network.modules():
        if isinstance(module, nn.Hardswish):
            module.inplace = False  # in place it would copy its input for the backward pass first
    load_backbone_weights(network, name, weights, head="classifier.")
    return Backbone(network.features, network.classifier[0].in_features)


def _shufflenet_v2(name, *, image_size, weights):
    network = getattr(torchvision.models, name)()
    load_backbone_weights(network, name, weights, head="fc.")
    stages = [network.conv1, network.maxpool, network.stage2, network.stage3, network.stage4, network.conv5]
    return Backbone(stages, network.fc.in_features)


_EFFICIENTNETS = [f"efficientnet_b{i}" for i in range(8)]
_EFFICIENTNET_LITES = [f"efficientnet_lite{i}" for i in range(3)]
BACKBONES = {
    **{name: partial(_efficientnet, name) for name in _EFFICIENTNETS},
    **{name: partial(_efficientnet_lite, name) for name in _EFFICIENTNET_LITES},
    "mobilenet_v3_small": partial(_mobilenet_v3, "mobilenet_v3_small"),
    "mobilenet_v3_large": partial(_mobilenet_v3, "mobilenet_v3_large"),
    "shufflenet_v2_x1_0": partial(_shufflenet_v2, "shufflenet_v2_x1_0"),
}


def check_backbone(name):
    """UserError, with the nearest known ones, unless there is a backbone `name`."""
    if name in BACKBONES or is_timm_name(name):
        return
    near = difflib.get_close_matches(name, [*BACKBONES, *timm.list_models(), *timm.list_pretrained()], n=5)
    hint = f"Did you mean {', '.join(near)}? " if near else ""
    raise UserError(f"unknown backbone '{name}'. {hint}Known: {', '.join(BACKBONES)}, and every convolutional network of timm.")


def build_backbone(name, *, image_size, weights):
    """The backbone `name`, from BACKBONES or else from timm, for images of `image_size` pixels; `weights` as in `build_model`.

    It has `stages` (a sequence of modules), `num_features` and the forward pass (B, 3, H, W) -> (B, C, h, w).
    Raises UserError for an unknown name, with the nearest known ones.
    """
    check_backbone(name)
    build = BACKBONES.get(name) or partial(timm_backbone, name)
    return build(image_size=image_size, weights=weights)
