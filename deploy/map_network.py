"""A network that answers with its class activation map too: Grad-CAM within the graph, for engines without gradients."""

import torch
from torch import fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from common.errors import UserError


class MapNetwork(nn.Module):
    """What `deploy.fuse.fuse` made of a `Classifier`, with a second output, for batches of one.

    float (1, 3, S, S) -> logits (1, K), and what `deploy.explain.grad_cam` says of the class that is answered, (h, w) in 0..1.
    example: such a batch. Raises UserError where it is not one value, the last feature map, that leaves the backbone.
    """

    def __init__(self, fused, example):
        super().__init__()
        self.backbone, head = _split(fused)
        with torch.no_grad():
            features = self.backbone(example).contiguous()
        self.head = make_fx(_with_gradient(head))(features)  # the gradient too becomes a graph of plain operations

    def forward(self, x):
        features = self.backbone(x).contiguous()
        logits, gradient = self.head(features)
        heat = (gradient.mean((2, 3), keepdim=True) * features).sum(1).relu()[0]
        return logits, heat / heat.max().clamp(min=1e-12)


def _split(fused):
    """Two modules: image -> the last feature map, and feature map -> logits. They are graphs unless torch.fx could not trace it."""
    if not isinstance(fused, fx.GraphModule):
        return fused.backbone, nn.Sequential(fused.pool, fused.head)
    inside = {node: "backbone" in node.meta.get("nn_module_stack", {}) or node.op == "placeholder" for node in fused.graph.nodes}
    leaving = [node for node in inside if inside[node] and not all(inside[user] for user in node.users)]
    if len(leaving) != 1:
        raise UserError(f"{len(leaving)} values leave the backbone, not one feature map: there is no class activation map.")
    first, second = fx.Graph(), fx.Graph()
    copies = {leaving[0]: second.placeholder("features")}
    before = {}
    for node in fused.graph.nodes:
        if inside[node]:
            before[node] = first.node_copy(node, before.get)
        else:
            copies[node] = second.node_copy(node, copies.get)
    first.output(before[leaving[0]])
    return fx.GraphModule(fused, first), fx.GraphModule(fused, second)


def _with_gradient(head):
    """features (1, C, h, w) -> logits (1, K), and the gradient (1, C, h, w) of the highest one."""

    def highest(features):
        logits = head(features)
        return logits.max(), logits

    def run(features):
        gradient, logits = torch.func.grad(highest, has_aux=True)(features)
        return logits, gradient

    return run
