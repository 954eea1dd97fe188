"""Optimisers by name. A new one is a line in OPTIMIZERS."""

import torch

from common.errors import UserError

# `foreach` steps all tensors in a few grouped operations instead of one Python loop over them.
OPTIMIZERS = {
    # Liu et al. 2020, arXiv:1908.03265; weight decay as in AdamW.
    "radam": lambda groups, **kw: torch.optim.RAdam(groups, foreach=True, decoupled_weight_decay=True, **kw),
    "adam": lambda groups, **kw: torch.optim.Adam(groups, foreach=True, **kw),
    "adamw": lambda groups, **kw: torch.optim.AdamW(groups, foreach=True, **kw),
    "sgd": lambda groups, **kw: torch.optim.SGD(groups, momentum=0.9, nesterov=True, foreach=True, **kw),
}


def build_optimizer(name, modules, *, lr, weight_decay=0.0):
    """The optimiser `name` over the trainable parameters of `modules`, a list of (module, share of lr) pairs.

    Weight decay spares norms and biases (parameters of one dimension). Each group keeps its share in `lr_scale`, for `set_lr`.
    """
    if name not in OPTIMIZERS:
        raise UserError(f"unknown optimizer '{name}'. Known: {', '.join(OPTIMIZERS)}.")
    groups = []
    for module, scale in modules:
        parameters = [p for p in module.parameters() if p.requires_grad]
        for part, decay in (([p for p in parameters if p.ndim > 1], weight_decay), ([p for p in parameters if p.ndim <= 1], 0.0)):
            if part:
                groups.append({"params": part, "lr": lr * scale, "lr_scale": scale, "weight_decay": decay})
    return OPTIMIZERS[name](groups, lr=lr)


def set_lr(optimizer, lr):
    """Give every parameter group its share of the learning rate `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
