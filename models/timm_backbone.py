"""Any timm convnet as a backbone: the network up to its last feature map, in stages that fine-tuning may freeze."""

import functools
import warnings

import timm
import torch
from timm.layers import BatchNormAct2d
from timm.models import group_modules
from torch import nn

from common.errors import UserError
from models.tracing import trace
from models.weights import timm_network


class TimmBackbone(nn.Module):
    """(B, 3, H, W) images -> (B, C, h, w), what the network calls `forward_features`; `num_features` is C.

    Layers that timm has after its own pooling (MobileNetV4's convolution to 1280) are not part of it, as in the recipe's student.
    """

    def __init__(self, network, num_features):
        super().__init__()
        self.network = network
        self.num_features = num_features

    def forward(self, x):
        return self.network.forward_features(x)

    @property
    def stages(self):
        """timm's own groups of layers, from the input to the output: a list of `ModuleList`s of all layers that have parameters.

        They are looked up anew each time, because layers may be replaced (SyncBatchNorm) after the network is built. The few
        networks that timm does not divide (PoolFormer and its kin) are one stage; one (RDNet) has only timm's finer groups.
        """
        if not hasattr(self.network, "group_matcher"):
            return [self.network]
        try:
            matcher = self.network.group_matcher(coarse=True)
        except AssertionError:
            matcher = self.network.group_matcher()
        groups = group_modules(self.network, matcher, return_values=True)
        return [nn.ModuleList(modules) for _, modules in sorted(groups.items())]


def is_timm_name(name):
    """Is `name` (`ghostnet_100`, or with the name of its weights `ghostnet_100.in1k`) a network that timm knows?"""
    return name in timm.list_models() or name in timm.list_pretrained()


def timm_backbone(name, *, image_size, weights):
    """The `TimmBackbone` of the timm network `name`, with `weights` as in `build_model`.

    Raises UserError where the network does not take this image size, has no feature map (B, C, h, w), such as a transformer of
    tokens, or could not be exported after the training: neither torch.fx nor torch.export can follow its forward pass.
    """
    network = timm_network(name, weights)
    feature_map, unused = _probe(network, name, image_size)
    _remove(network, unused)
    _split_norm_act(network)
    backbone = TimmBackbone(network, feature_map.shape[1])
    try:
        trace(backbone)
    except UserError:
        _check_export(name, image_size)
    return backbone.train()


def _probe(network, name, image_size):
    """(feature map of one black picture, the parameters that it does not depend on)."""
    parameters = list(network.parameters())
    try:
        feature_map = network.eval().forward_features(torch.zeros(1, 3, image_size, image_size))
    except Exception as error:  # timm's networks have many ways to say it
        raise UserError(
            f"{name} cannot take images of {image_size} pixels ({error}). Choose another image_size or backbone."
        ) from error
    if getattr(feature_map, "ndim", 0) != 4 or feature_map.shape[1] != network.num_features:
        raise UserError(f"{name}: its features are no map (B, C, h, w), as in most transformers. Choose a convolutional backbone.")
    gradients = torch.autograd.grad(feature_map.sum(), parameters, allow_unused=True)
    return feature_map, {parameter for parameter, gradient in zip(parameters, gradients, strict=True) if gradient is None}


@functools.cache  # it takes seconds, and a model is built more than once in a process
def _check_export(name, image_size):
    """UserError unless torch.export can follow the network's forward pass, for batches of any size."""
    with torch.device("meta"):
        backbone, example = TimmBackbone(timm.create_model(name), None).eval(), torch.zeros(2, 3, image_size, image_size)
    try:
        with warnings.catch_warnings(action="ignore"):
            torch.export.export(backbone, (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{name} could not be exported after training, choose another backbone. {reason}") from error


def _remove(module, unused):
    """Put Identity in place of the layers whose parameters are all in the set `unused`, such as timm's classifier."""
    for name, child in module.named_children():
        parameters = set(child.parameters())
        if parameters and parameters <= unused:
            setattr(module, name, nn.Identity())
        elif parameters & unused:
            _remove(child, unused)


def _split_norm_act(module):
    """Take timm's BatchNorm-and-activation in one apart: fusing, and PyTorch's SyncBatchNorm, would lose the activation."""
    for name, child in module.named_children():
        if isinstance(child, BatchNormAct2d):
            norm = nn.BatchNorm2d(child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats)
            norm.load_state_dict(child.state_dict(), strict=False)  # an activation may have parameters too
            setattr(module, name, nn.Sequential(norm, child.drop, child.act))
        else:
            _split_norm_act(child)
