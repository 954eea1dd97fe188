"""Several processes at once, and ones that are killed at a chosen step of what they do to the disk."""

import multiprocessing
import os
import signal
import sys
import time

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree"}


def in_parallel(function, arguments):
    """Exit codes of one process for each argument, all at once."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=function, args=(argument,)) for argument in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def killed_at(step, function):
    """Run `function()` in a process that kills itself before its `step`-th change of the disk, from 1; False if it ends before."""
    child = os.fork()
    if child == 0:
        remaining = step

        def count(event, arguments):
            nonlocal remaining
            if event in CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
                remaining -= 1
                if not remaining:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            function()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), f"ended with status {status} at step {step}"
    return status != 0


def kill_once_there(path, function, *arguments, **named):
    """Call the function in a process of its own, which is killed as soon as the file `path` is there.

    Not one that is forked: training starts threads, and this process has had some itself.
    """
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments, kwargs=named)
    process.start()
    deadline = time.time() + 240
    while process.is_alive() and not path.is_file() and time.time() < deadline:
        time.sleep(0.005)
    process.kill()
    process.join()
    assert path.is_file(), f"{path} did not appear, and the process ended with {process.exitcode}"
    assert process.exitcode == -signal.SIGKILL, "it had ended before it was killed"
