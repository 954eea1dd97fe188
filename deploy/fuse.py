"""Fold BatchNorm into the convolution or linear layer before it, wherever a traced graph shows such a pair."""

import collections
import copy

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from common.errors import UserError
from models.tracing import BATCHNORMS, LAYERS, trace


def fuse(model):
    """A copy of `model` in eval mode without the BatchNorms that follow a convolution or linear layer; same outputs.

    A layer that is used twice, or whose output also goes elsewhere, is left alone, and so is all of a model that torch.fx cannot
    trace; inference engines fuse by themselves. A ReLU after the pair stays an operation of its own, which they merge too.
    """
    model = copy.deepcopy(model).eval()
    try:
        traced = trace(model)
    except UserError:
        return model
    modules = dict(traced.named_modules())
    for layer, norm in _mergeable(traced, modules):
        fuse_pair = fuse_linear_bn_eval if isinstance(modules[layer.target], nn.Linear) else fuse_conv_bn_eval
        _replace(traced, modules, layer.target, fuse_pair(modules[layer.target], modules[norm.target]))
        norm.replace_all_uses_with(layer)
        traced.graph.erase_node(norm)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def unfused_batchnorms(model):
    """Names of the BatchNorms in `model` that still follow a convolution or linear layer; of all, if torch.fx cannot trace it."""
    try:
        traced = model if isinstance(model, fx.GraphModule) else trace(copy.deepcopy(model).eval())
    except UserError:
        return [name for name, module in model.named_modules() if isinstance(module, BATCHNORMS)]
    return [norm.target for _, norm in _pairs(traced, dict(traced.named_modules()))]


def _pairs(traced, modules):
    """All (layer node, BatchNorm node) pairs in which the one feeds the other."""
    calls = [node for node in traced.graph.nodes if node.op == "call_module"]
    for norm in calls:
        layer = norm.args[0] if norm.args else None
        if isinstance(modules[norm.target], BATCHNORMS) and layer in calls and isinstance(modules[layer.target], LAYERS):
            yield layer, norm


def _mergeable(traced, modules):
    """The pairs that can be merged without changing any other output."""
    used = collections.Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
    for layer, norm in list(_pairs(traced, modules)):
        fixed = modules[norm.target].running_mean is not None
        if fixed and len(layer.users) == 1 and used[layer.target] == 1 and used[norm.target] == 1:
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
        self.register_buffer("mean", 255 * torch.tensor(mean))
        self.register_buffer("std", 255 * torch.tensor(std))

    def forward(self, pixels):
        # Channels move last, as in OpenVINO's own preprocessing. The other way round, OpenVINO 2026.4 normalises
        # coarsely on CPUs that compute in bf16 (probabilities of a test network off by 0.025 instead of 0.003).
        x = pixels.float()
        x = ((x.flip(-1) if self.reverse else x) - self.mean) / self.std
        return self.model(x.permute(0, 3, 1, 2))
