"""One process or many: the same calls work under `torchrun` and without it."""

import math
import os
import secrets
import socket
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from common.errors import UserError

ANNOUNCED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # by `torchrun`, to each of its processes
# Nobody waits in vain: a process that dies takes the others with it, through torchrun or a broken connection. But while one decodes
# a large data set the others do wait, longer than NCCL's own ten minutes.
TIMEOUT = timedelta(days=1)
CHUNK = 64 * 2**20  # bytes of a process's rows that are sent at a time


def start(device):
    """Join the process group that `torchrun` announces, if any; returns this process's device."""
    if not _is_announced():
        return device
    if device.type == "cuda":
        device = _own_gpu()
    if not dist.is_initialized():
        try:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"cannot join the other processes ({_announcement()}): {error} Start all of them with torchrun, "
                "or unset WORLD_SIZE to train with this process alone."
            ) from error
    return device


def _is_announced():
    """Are there others to join? Half an announcement of several is refused, since each would train alone, into one folder."""
    missing = [name for name in ANNOUNCED if not os.environ.get(name)]
    if not missing:
        return True
    if os.environ.get("WORLD_SIZE") in (None, "", "1"):  # as containers of some schedulers set it
        return False
    raise UserError(
        f"the environment has WORLD_SIZE={os.environ['WORLD_SIZE']}, but no {', '.join(missing)}. Start all processes with "
        "torchrun (torchrun --nproc_per_node=4 m11.py CONFIG), or unset WORLD_SIZE to train with this process alone."
    )


def _announcement():
    return " ".join(f"{name}={os.environ[name]}" for name in ANNOUNCED)


def _own_gpu():
    """The GPU with the number of this process on its machine, from now on the current one."""
    number, available = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if number >= available:
        raise UserError(
            f"process {number} of this machine has no GPU: there are {available}. Use torchrun --nproc_per_node={available}."
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def is_distributed():
    return dist.is_available() and dist.is_initialized()


def rank():
    """This process's number, 0 without `torchrun`."""
    return dist.get_rank() if is_distributed() else 0


def world_size():
    return dist.get_world_size() if is_distributed() else 1


def is_main():
    """Only the main process writes files and prints."""
    return rank() == 0


def barrier():
    if is_distributed():
        dist.barrier()


def said_by_main(value):
    """The main process's `value` (picklable), on every process."""
    if not is_distributed():
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def on_main(function):
    """`function()` on the main process alone, which gets its result; the others wait. A UserError there is raised by all."""
    result = failure = None
    if is_main():
        try:
            result = function()
        except UserError as error:
            failure = error
    failure = said_by_main(failure)
    if failure:
        raise failure
    return result


def main_first(function):
    """`function()` on the main process, then, when its files are there, on the others; a UserError of the first is that of all."""
    result = on_main(function)
    return result if is_main() else function()


def check_shared_folder(folder, patience=30.0):
    """Raise the same UserError on all processes where some of them do not see what the main one writes into `folder`.

    patience: seconds to look for its file, since network disks show new files late.
    """
    if not is_distributed():
        return
    name, failure = said_by_main(f".shared-{secrets.token_hex(8)}"), None
    token = Path(folder, name)
    if is_main():
        try:
            token.parent.mkdir(parents=True, exist_ok=True)
            token.touch()
        except OSError as error:
            failure = UserError(f"{folder}: cannot be written ({error.strerror or error}). Choose another place: work_dir=FOLDER.")
    failure, writer = said_by_main((failure, socket.gethostname()))
    if failure:
        raise failure
    blind = [host for host in _from_all(None if appears(token, patience) else socket.gethostname()) if host]
    if is_main():
        token.unlink(missing_ok=True)
    if blind:
        places = ", ".join(sorted(set(blind)))
        raise UserError(
            f"{folder}: {len(blind)} of {world_size()} processes (on {places}) do not see there what the main one "
            f"(on {writer}) writes. All processes must share one run folder: choose work_dir on a disk that all machines mount."
        )


def appears(path, patience):
    """Is there a file `path`, now or within `patience` seconds?"""
    end = time.monotonic() + patience
    while not path.exists():
        if time.monotonic() > end:
            return False
        if path.parent.is_dir():
            os.listdir(path.parent)  # makes network disks look again
        time.sleep(0.2)
    return True


def _from_all(value):
    """The values of all processes, in their order, on every one."""
    values = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def sum_over_processes(tensor):
    """The element-wise sum of `tensor` over all processes."""
    if is_distributed():
        dist.all_reduce(tensor)
    return tensor


def share_buffers(model):
    """Give every process the main one's buffers (BatchNorm statistics), which it writes and the others predict with."""
    if is_distributed():
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def gather_rows(array):
    """Rows that the processes computed in turn (process r has rows r, r + n, ...), in their order, on every process."""
    if not is_distributed():
        return array
    counts = _from_all(len(array))
    rows = np.empty((sum(counts), *array.shape[1:]), array.dtype)
    step = max(1, CHUNK // max(1, array.itemsize * math.prod(array.shape[1:])))  # a GPU's memory need not hold the whole
    for start in range(0, max(counts), step):
        for i, part in enumerate(_from_all(array[start : start + step])):
            rows[i :: world_size()][start : start + step] = part
    return rows


def finish():
    if is_distributed():
        dist.destroy_process_group()
