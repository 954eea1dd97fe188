"""Fold BatchNorm into the convolution or linear layer before it, wherever a traced graph shows such a pair."""

import copy

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from common.errors import UserError

BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def fuse(model):
    """A copy of `model` in eval mode without the BatchNorms that follow a convolution or linear layer; same outputs.

    Works on any model that torch.fx can trace. A layer that is used twice, or whose output also goes elsewhere, is left alone.
    A ReLU after the pair stays an operation of its own; inference engines merge it by themselves.
    """
    traced = trace(copy.deepcopy(model).eval())
    modules = dict(traced.named_modules())
    for layer, norm in _pairs(traced, modules):
        fuse_pair = fuse_linear_bn_eval if isinstance(modules[layer.target], nn.Linear) else fuse_conv_bn_eval
        _replace(traced, modules, layer.target, fuse_pair(modules[layer.target], modules[norm.target]))
        norm.replace_all_uses_with(layer)
        traced.graph.erase_node(norm)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def unfused_batchnorms(model):
    """Names of the BatchNorms in `model` that still follow a convolution or linear layer."""
    traced = model if isinstance(model, fx.GraphModule) else trace(copy.deepcopy(model).eval())
    return [norm.target for _, norm in _pairs(traced, dict(traced.named_modules()))]


def trace(model):
    """The torch.fx graph of `model`; UserError if its forward pass depends on values."""
    try:
        return fx.symbolic_trace(model)
    except Exception as error:
        raise UserError(
            f"{type(model).__name__}: cannot be traced by torch.fx ({error}), so its BatchNorms cannot be found. "
            "Its forward pass must not branch on tensor values or shapes."
        ) from error


def _pairs(traced, modules):
    """(layer node, BatchNorm node) pairs that may be merged."""
    calls = [node for node in traced.graph.nodes if node.op == "call_module"]
    used = [node.target for node in calls]
    for norm in calls:
        layer = norm.args[0] if norm.args else None
        if not isinstance(modules[norm.target], BATCHNORMS) or layer not in calls:
            continue
        mergeable = isinstance(modules[layer.target], nn.Conv1d | nn.Conv2d | nn.Linear)
        if mergeable and len(layer.users) == 1 and used.count(layer.target) == 1 and used.count(norm.target) == 1:
            yield layer, norm


def _replace(traced, modules, name, module):
    parent, _, child = name.rpartition(".")
    setattr(traced.get_submodule(parent), child, module)
    modules[name] = module


class PixelInput(nn.Module):
    """A model on raw pixels: uint8 (B, H, W, 3), RGB or BGR, normalised inside."""

    def __init__(self, model, mean, std, color="rgb"):
        super().__init__()
        self.model, self.reverse = model, color == "bgr"
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, pixels):
        x = pixels.permute(0, 3, 1, 2).float()
        return self.model(((x.flip(1) if self.reverse else x) - self.mean) / self.std)
