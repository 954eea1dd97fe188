"""Learning-rate schedules: plain functions of the step, counted from 0 over the whole run. A new one is a line in SCHEDULES."""

import math


def cosine(lr, total_steps, warmup_steps=0):
    """step -> rate: linear from 0 over `warmup_steps`, then half a cosine from `lr` to 0 at `total_steps`.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts; stepped every batch.
    """

    def lr_at(step):
        if step < warmup_steps:
            return _warming_up(lr, step, warmup_steps)
        progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
        return _half_cosine(lr, 0.0, progress)

    return lr_at


def one_cycle(lr, total_steps, warmup_steps=0):
    """step -> rate: half a cosine up from `lr` / 25 to `lr`, then one down to `lr` / 250,000 at the last step.

    It rises for `warmup_steps`, or, where that is 0, for three tenths of the run: torch's OneCycleLR with its own values.
    Source: Smith and Topin 2018, arXiv:1708.07120, with cosines, and a constant momentum.
    """
    last = max(1, total_steps - 1)
    peak = warmup_steps or max(1, 0.3 * total_steps - 1)

    def lr_at(step):
        if step <= peak:
            return _half_cosine(lr / 25, lr, step / peak)
        return _half_cosine(lr, lr / 250_000, (step - peak) / max(1, last - peak))

    return lr_at


def constant(lr, total_steps=None, warmup_steps=0):
    """step -> rate: linear from 0 over `warmup_steps`, then `lr`."""
    return lambda step: _warming_up(lr, step, warmup_steps) if step < warmup_steps else lr


def _warming_up(lr, step, warmup_steps):
    return lr * (step + 1) / (warmup_steps + 1)


def _half_cosine(start, end, progress):
    """From `start` at 0 to `end` at 1 and after."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


SCHEDULES = {"cosine": cosine, "onecycle": one_cycle, "constant": constant}


def in_equal_shares(values, epochs):
    """epoch -> one of `values`: each for the same number of epochs in turn, the last one for all that follow too."""
    return lambda epoch: values[min(epoch * len(values) // epochs, len(values) - 1)]
