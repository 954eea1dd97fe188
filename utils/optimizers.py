"""Optimisers by name. A new one is a line in OPTIMIZERS."""

import torch

from common.errors import UserError


def _ranger(groups, **kw):
    # Without `degenerated_to_sgd` the library's first five steps go uphill: their rate is negative.
    return _pytorch_optimizer().Ranger(groups, degenerated_to_sgd=True, **kw)


def _over9000(groups, **kw):
    library = _pytorch_optimizer()
    return library.Lookahead(library.Lamb(groups, rectify=True, degenerated_to_sgd=True, **kw), k=6, alpha=0.5)


def _lamb(groups, **kw):
    return _pytorch_optimizer().Lamb(groups, **kw)


def _pytorch_optimizer():
    import pytorch_optimizer  # takes a second to import, and most runs do without

    return pytorch_optimizer


# `foreach` steps all tensors in a few grouped operations instead of one Python loop over them.
OPTIMIZERS = {
    # Liu et al. 2020, arXiv:1908.03265; weight decay as in AdamW.
    "radam": lambda groups, **kw: torch.optim.RAdam(groups, foreach=True, decoupled_weight_decay=True, **kw),
    "adam": lambda groups, **kw: torch.optim.Adam(groups, foreach=True, **kw),
    "adamw": lambda groups, **kw: torch.optim.AdamW(groups, foreach=True, **kw),
    "sgd": lambda groups, **kw: torch.optim.SGD(groups, momentum=0.9, nesterov=True, foreach=True, **kw),
    "ranger": _ranger,  # RAdam, Lookahead and centred gradients: Wright and Demeure 2021, arXiv:2106.13731
    "over9000": _over9000,  # RAdam with LAMB's trust ratio (RaLamb), and Lookahead: Zhang et al. 2019, arXiv:1907.08610
    "lamb": _lamb,  # You et al. 2020, arXiv:1904.00962
}


def build_optimizer(name, modules, *, lr, weight_decay=0.0):
    """The optimiser `name` over the trainable parameters of `modules`, a list of (module, share of lr) pairs.

    Weight decay spares norms and biases (parameters of one dimension); Adam and SGD add it to the gradient, the others shrink the
    weights themselves. Each group keeps its share in `lr_scale`, for `set_lr`.
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
