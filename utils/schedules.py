"""Learning-rate schedules: plain functions of the step, counted from 0 over the whole run."""

import math


def cosine(lr, total_steps, warmup_steps=0):
    """step -> rate: linear from 0 over `warmup_steps`, then half a cosine from `lr` to 0 at `total_steps`.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts; stepped every batch.
    """

    def lr_at(step):
        if step < warmup_steps:
            return lr * (step + 1) / (warmup_steps + 1)
        progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
        return lr * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    return lr_at


def in_equal_shares(values, epochs):
    """epoch -> one of `values`: each for the same number of epochs in turn, the last one for all that follow too."""
    return lambda epoch: values[min(epoch * len(values) // epochs, len(values) - 1)]


def constant(lr):
    """step -> lr."""
    return lambda step: lr
