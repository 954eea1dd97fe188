"""How long exported networks take from a picture's file to its class, and whether the machine was quiet meanwhile."""

import os
import time

import numpy as np
import psutil

from utils.runlog import log

TURN = 20  # pictures
SECONDS = 5.0  # for each network
QUIET = 0.1  # share of the cores that others may keep busy


def file_to_class(predictors, files):
    """{name: milliseconds (N,)} of the first N of `files`, one picture at a time: read, decode, resize, infer.

    predictors: {name: `recipe.predictor.Predictor`}. They take turns of `TURN` pictures, the same for all, so that noise hits all
    alike. One turn goes before, to warm up; where all files take longer than `SECONDS` for each network, fewer do.
    """
    times = {name: [] for name in predictors}
    turns = [files[first : first + TURN] for first in range(0, len(files), TURN)]
    end = time.perf_counter() + SECONDS * len(predictors)
    for number, turn in enumerate([turns[0], *turns]):
        if number > 1 and time.perf_counter() > end:
            break
        for name, predictor in predictors.items():
            taken = [_milliseconds(predictor, path) for path in turn[:1] * 2 + turn]
            times[name] += taken[2:] if number else []  # during the first two, threads of the network before spin on
    return {name: np.array(taken) for name, taken in times.items()}


def _milliseconds(predictor, path):
    start = time.perf_counter()
    predictor.logits(predictor.read(path))
    return 1e3 * (time.perf_counter() - start)


def busy_share(seconds=1.0):
    """Share of the cores that this process may use which others keep busy, 0..1; call it while this process rests."""
    busy = psutil.cpu_percent(seconds, percpu=True)
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(busy))  # macOS binds no process to cores
    return float(np.mean([busy[core] for core in cores])) / 100


def quietly(measure):
    """(what `measure()` returns, the larger `busy_share` of before and after); a machine that is not quiet is said."""
    before = busy_share()
    result = measure()
    busy = max(before, busy_share())
    if busy > QUIET:
        log.info(f"other work keeps {busy:.0%} of the cores busy, so the milliseconds are too long: measure again later")
    return result, busy
