"""Averaging of checkpoints."""

import torch

from utils.checkpoints import load_checkpoint, save_checkpoint


def average_states(states):
    """The mean of several state dicts: floating-point tensors are averaged, integer buffers are the last one's.

    Source: Izmailov et al. 2018, arXiv:1803.05407, with equal weights. Sums run in float64.
    """
    averaged = {}
    for key, last in states[-1].items():
        if last.is_floating_point():
            averaged[key] = torch.stack([state[key].double() for state in states]).mean(0).to(last.dtype)
        else:
            averaged[key] = last.clone()
    return averaged


def average_checkpoints(paths, target):
    """Write the average of the checkpoints at `paths`, with the meta of the last one, to `target`."""
    saved = [load_checkpoint(path) for path in paths]
    save_checkpoint(target, average_states([checkpoint["model"] for checkpoint in saved]), saved[-1]["meta"])
