"""One process or many: the same calls work under `torchrun` and without it."""

import json
import math
import os
import re
import secrets
import signal
import socket
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from common.errors import UserError
from common.memory import usable_cpus
from utils.differences import differences
from utils.heartbeat import Heartbeat

ANNOUNCED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # by `torchrun`, to each of its processes
# While one decodes a large data set the others wait, longer than NCCL's own ten minutes. A heartbeat sees to it that nobody waits
# in vain.
TIMEOUT = timedelta(days=1)
JOINING = timedelta(minutes=5)  # for all processes to start
GOES_ON = "This process ends too. When all have, the same command goes on from the last finished epoch."
CHUNK = 64 * 2**20  # bytes of a process's rows that are sent at a time
_heartbeat = _wakeup = None  # of this process, where there are others


def start(device):
    """Join the process group that `torchrun` announces, if any; returns this process's device."""
    if not is_announced():
        return device
    if device.type == "cuda":
        device = _own_gpu()
    if not dist.is_initialized():
        try:
            _join("nccl" if device.type == "cuda" else "gloo")
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"cannot join the other processes ({_announcement()}): {error} Start all of them with torchrun, "
                "or unset WORLD_SIZE to train with this process alone."
            ) from error
        _end_by_signal()
    return device


def _join(backend):
    global _heartbeat
    store, number, count = next(dist.rendezvous("env://", timeout=JOINING))
    store = _of_this_start(store, number, count)
    dist.init_process_group(backend, store=store, rank=number, world_size=count, timeout=TIMEOUT)
    _heartbeat = Heartbeat(dist.PrefixStore("heartbeat", store).clone(), number, count, _say_last)


def _of_this_start(store, number, count):
    """`store` under a prefix that all processes agree on now.

    With --max-restarts torchrun keeps one store for all its attempts, and what the dead have left there, such as addresses, leads
    the next astray. So each calls under a name that nobody had before, and process 0 gives it the prefix, until all have it.
    """
    if number:
        name = secrets.token_hex(8)
        store.set(f"name/{number}", name)
        prefix = store.get(f"prefix/{name}").decode()
        store.set(f"{prefix}/heard/{number}", "")
        return dist.PrefixStore(prefix, store)
    prefix, waiting, end = secrets.token_hex(8), range(1, count), time.monotonic() + JOINING.total_seconds()
    while waiting := [other for other in waiting if not store.check([f"{prefix}/heard/{other}"])]:
        if time.monotonic() > end:
            raise RuntimeError(f"process {waiting[0]} did not start within {JOINING}.")
        for other in waiting:
            if store.check([f"name/{other}"]):
                store.set(f"prefix/{store.get(f'name/{other}').decode()}", prefix)
        time.sleep(0.05)
    return dist.PrefixStore(prefix, store)


def _end_by_signal():
    """End with a message at SIGTERM, by which torchrun ends those that a dead one on their machine leaves, and schedulers all.

    A thread of its own does that: the main one may wait for another process, where no handler runs.
    """
    global _wakeup
    signals, _wakeup = socket.socketpair()
    _wakeup.setblocking(False)
    signal.set_wakeup_fd(_wakeup.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda number, frame: None)

    def end():
        while signals.recv(1)[0] != signal.SIGTERM:
            pass
        _say_last("ended from outside (SIGTERM), by torchrun if another process failed.")
        sys.stdout.flush()
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=end, name="end by signal", daemon=True).start()


def _say_last(reason):
    message = _told(reason)
    tell_torchrun(message)
    print(f"error: {message}", file=sys.stderr, flush=True)


def _told(reason):
    return f"process {rank()} (on {socket.gethostname()}): {reason} {GOES_ON}"


def tell_torchrun(message):
    """Have torchrun, if it started this process, repeat what it failed of in the summary that it ends with."""
    if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        more = {"py_callstack": message, "timestamp": str(int(time.time()))}  # torchrun shows the first
        Path(file).write_text(json.dumps({"message": {"message": message, "extraInfo": more}}), encoding="utf-8")


def lost_connection(error):
    """The UserError for a RuntimeError that says that another process is gone; None for any other."""
    if not is_distributed() or not (isinstance(error, dist.DistError) or "gloo" in str(error)):
        return None
    reason = re.sub(r"^\[\S+\] |\. This is typically.*", "", str(error).partition("\n")[0])
    return UserError(_told(f"lost another process, which died or was cut off ({reason}); its own machine says why."))


def is_announced():
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


def own_cpus():
    """How many processors there are for this process, where `torchrun` starts several on a machine."""
    return max(1, usable_cpus() // int(os.environ.get("LOCAL_WORLD_SIZE", 1))) if is_distributed() else usable_cpus()


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
    """`function()` on the main process, then, when its files are there, on the others; a UserError of any is that of all."""
    result, failure = on_main(function), None
    if not is_main():
        try:
            result = function()
        except UserError as error:
            failure = f"on {socket.gethostname()}: {error}"
    if failures := sorted({failure for failure in _from_all(failure) if failure}):
        raise UserError("\n".join(failures))
    return result


def check_same(facts, what, way_out):
    """Raise the same UserError on all processes where the `facts` of one, a dict of JSON types, are not those of the main one."""
    main, *others = _from_all((socket.gethostname(), facts))
    for number, (host, found) in enumerate(others, 1):
        if lines := differences(main[1], found, where=(f"on {main[0]}", f"on {host}")):
            raise UserError(
                f"{what} of process {number} (on {host}) are not those of process 0 (on {main[0]}):\n{lines}\n{way_out}"
            )


def check_shared_folder(folder, patience=30.0, key="work_dir"):
    """Raise the same UserError on all processes where some of them do not see what the main one writes into `folder`.

    key: of the config, which says where the folder lies.

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
            failure = UserError(f"{folder}: cannot be written ({error.strerror or error}). Choose another place: {key}=FOLDER.")
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
            f"(on {writer}) writes. All processes must share this folder: choose {key} on a disk that all machines mount."
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
    values = [value] * world_size()
    if not is_distributed():
        return values
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
    """Wait for all processes to come to their end, and leave them: none looks any more whether the others live."""
    if is_distributed():
        barrier()
        _heartbeat.stop()
        dist.destroy_process_group()
