"""Numeric precision of training: native mixed precision, or an older NVIDIA apex's where it is installed. One path for all."""

import contextlib
import functools
import logging
import time

import torch
from torch import nn

from common.errors import UserError
from utils.convolutions import fast_convolutions

log = logging.getLogger("run")
# Removed afterwards, https://github.com/NVIDIA/apex/pull/1896; its maintainers refer to this release.
APEX_WITH_AMP = "NVIDIA apex 25.04 (github.com/NVIDIA/apex/releases/tag/25.04), the last release with apex.amp"
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


class Precision:
    """Autocast for the forward pass and, for fp16, a scaled backward pass; clipping sees the gradients as they are."""

    def __init__(self, mode, device, *, clip_grad_norm=0.0):
        """clip_grad_norm: the largest norm of all gradients together (L2), longer ones are shortened to it; 0: any."""
        self.mode = _resolve(mode, device)
        self.device_type = device.type
        self.dtype = DTYPES.get(self.mode, torch.float32)
        self.clip_grad_norm = clip_grad_norm
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.mode == "fp16")
        self._amp = _import_apex() if self.mode == "apex" else None

    def prepare(self, model, optimizer):
        """Model and optimiser as apex wants them (O1); unchanged otherwise."""
        return self._amp.initialize(model, optimizer, opt_level="O1", verbosity=0) if self._amp else (model, optimizer)

    def autocast(self):
        return torch.autocast(self.device_type, self.dtype, enabled=self.mode in ("bf16", "fp16"))

    def step(self, loss, optimizer):
        """Backward pass and optimiser step; returns the L2 norm of all gradients before clipping, a tensor () on the device.

        With fp16 it may be infinite: then the scale was too large, and GradScaler leaves this step out and lowers it.
        """
        scaled = self._amp.scale_loss(loss, optimizer) if self._amp else contextlib.nullcontext(self.scaler.scale(loss))
        with scaled as scaled_loss:
            scaled_loss.backward()
        self.scaler.unscale_(optimizer)
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters])
        if self.clip_grad_norm:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.clip_grad_norm, norm)
        self.scaler.step(optimizer)
        self.scaler.update()
        return norm

    def state_dict(self):
        return self._amp.state_dict() if self._amp else self.scaler.state_dict()

    def load_state_dict(self, state):
        (self._amp or self.scaler).load_state_dict(state)


def _resolve(mode, device):
    if mode == "auto":
        if device.type != "cuda":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if mode in ("fp16", "apex") and device.type != "cuda":
        raise UserError(f"precision='{mode}' needs a GPU. On a CPU use precision='auto', 'fp32' or 'bf16'.")
    if mode == "bf16" and device.type == "cpu":
        _warn_if_bf16_is_slow()
    return mode


@functools.cache
def _warn_if_bf16_is_slow():
    """Once a run. Instructions for bf16 do not tell: what a step wins by them it may lose elsewhere."""
    ratio = time_in_bf16()
    if ratio > 1.1:
        log.warning(
            f"warning: on this CPU a block of a mobile network takes {ratio:.1f} times as long to train in bf16 as in fp32. "
            "Use precision='fp32'."
        )


def time_in_bf16():
    """How many times as much processor time a training step of a small block takes in bf16 as in fp32; measured in 0.2 seconds."""
    with torch.random.fork_rng(devices=[]):  # so that a run draws the same numbers with and without it
        layers = [_conv_bn(24, 96, 1), _conv_bn(96, 96, 3), _conv_bn(96, 96, 5), nn.Conv2d(96, 24, 1)]
        block, images = nn.Sequential(*layers), torch.randn(8, 24, 14, 14)
    block, images = block.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    seconds = {"fp32": [], "bf16": []}
    with fast_convolutions(block):
        for _ in range(4):  # in turns, of which the least counts
            for mode, measured in seconds.items():
                start = time.process_time()
                with torch.autocast("cpu", torch.bfloat16, enabled=mode == "bf16"):
                    loss = block(images).float().square().mean()
                loss.backward()
                measured.append(time.process_time() - start)
    return min(seconds["bf16"]) / min(seconds["fp32"])


def _conv_bn(inputs, outputs, size):
    """Depthwise where there are as many inputs as outputs."""
    groups = inputs if inputs == outputs else 1
    conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.Hardswish())


def _import_apex():
    try:
        from apex import amp
    except ImportError as error:
        raise UserError(
            f"precision='apex': {error}. It needs {APEX_WITH_AMP}; a newer one has none, and the package 'apex' on PyPI is "
            "another project. precision='fp16' does the same with PyTorch alone, and 'auto' chooses what the GPU does best."
        ) from error
    return amp
