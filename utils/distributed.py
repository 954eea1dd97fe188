"""One process or many: the same calls work under `torchrun` and without it."""

import os

import numpy as np
import torch
import torch.distributed as dist


def start(device):
    """Join the process group that `torchrun` announces, if any; returns this process's device."""
    if "WORLD_SIZE" in os.environ and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    if device.type == "cuda" and is_distributed():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    return device


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


def main_first(function):
    """`function()` on the main process, then, when its files are there, on the others."""
    if not is_distributed():
        return function()
    result = function() if is_main() else None
    barrier()
    return result if is_main() else function()


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
    parts = [None] * world_size()
    dist.all_gather_object(parts, array)
    rows = np.empty((sum(map(len, parts)), *array.shape[1:]), array.dtype)
    for i, part in enumerate(parts):
        rows[i :: world_size()] = part
    return rows


def finish():
    if is_distributed():
        dist.destroy_process_group()
