"""Checkpoints: whole files of tensors and plain values that load without running anyone's code."""

import hashlib
import io
from pathlib import Path

import torch

from common.errors import UserError, os_user_error
from common.files import atomic_path, sha256

SEAL = b"\nsha256:"  # then 64 hex digits of all before it; `torch.load` by itself reads over them
FOREIGN = "not a checkpoint of this project, or damaged"


def save_checkpoint(path, model_state, meta, **training_state):
    """Write {'model', 'meta', **training_state} to `path` atomically, with its SHA-256 at the end. `meta` is JSON-able.

    The same values give the same bytes.
    """
    with atomic_path(path) as temporary:
        with open(temporary, "wb") as file:  # given a path, torch.save would note its name
            torch.save({"model": model_state, "meta": meta, **training_state}, file)
        digest = sha256(temporary)
        with open(temporary, "ab") as file:
            file.write(SEAL + digest.encode())


def load_checkpoint(path, device="cpu"):
    """The dict that `save_checkpoint` wrote, tensors on `device`; UserError if it is missing, damaged or something else."""
    content = _read(path)
    _check_seal(path, content)
    try:
        saved = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise UserError(f"{path}: {FOREIGN} ({type(error).__name__}). Delete it and train again.") from error
    if not isinstance(saved, dict) or not {"model", "meta"} <= saved.keys():
        raise UserError(f"{path}: {FOREIGN} (no model and meta in it). Give a file that e4.py or m11.py wrote.")
    return saved


def state_digest(state):
    """SHA-256, as hex, of a state dict's names and values: equal for equal weights, whatever device they are on."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _read(path):
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such checkpoint. Run the script that trains it first.") from error
    except OSError as error:
        raise os_user_error(error, path, "read") from error


def _check_seal(path, content):
    """UserError if the bytes are not those whose digest was written behind them.

    The checksums that `torch.save` writes (CRC-32) would not do: `torch.load` does not look at them, and a flipped bit in a size or
    an offset leaves them right while other memory is read.
    """
    end = max(0, len(content) - len(SEAL) - 64)
    if content[end : end + len(SEAL)] != SEAL:
        raise UserError(f"{path}: {FOREIGN} (no SHA-256 at its end). Give a file that e4.py or m11.py wrote, or train it again.")
    if content[end + len(SEAL) :] != hashlib.sha256(memoryview(content)[:end]).hexdigest().encode():
        raise UserError(f"{path}: damaged: its SHA-256 is not the one that was written into it. Delete it and train again.")
