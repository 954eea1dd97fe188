"""Checkpoints: whole files of tensors and plain values that load without running anyone's code."""

import torch

from common.errors import UserError
from common.files import atomic_path


def save_checkpoint(path, model_state, meta, **training_state):
    """Write {'model', 'meta', **training_state} to `path` atomically. `meta` is JSON-able."""
    with atomic_path(path) as temporary:
        torch.save({"model": model_state, "meta": meta, **training_state}, temporary)


def load_checkpoint(path, device="cpu"):
    """The dict that `save_checkpoint` wrote, tensors on `device`; UserError if it is missing or broken."""
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such checkpoint. Run the script that trains it first.") from error
    except Exception as error:
        raise UserError(
            f"{path}: not a checkpoint of this project, or damaged ({type(error).__name__}). Delete it and train again."
        ) from error
