"""Numeric precision of training: native mixed precision, or NVIDIA apex where it is installed. One path for all."""

import contextlib
import functools
import logging

import torch

from common.errors import UserError

log = logging.getLogger("run")
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


class Precision:
    """Autocast for the forward pass and, for fp16, a scaled backward pass; clipping sees the gradients as they are."""

    def __init__(self, mode, device, *, clip_grad_norm=0.0):
        """clip_grad_norm: the largest norm of all gradients together (L2), longer ones are shortened to it; 0: any."""
        self.mode = _resolve(mode, device)
        self.device_type = device.type
        self.dtype = DTYPES.get(self.mode, torch.float32)
        if clip_grad_norm < 0:
            raise UserError(f"clip_grad_norm={clip_grad_norm}: takes the largest norm allowed, or 0 to clip nothing.")
        self.clip_grad_norm = clip_grad_norm
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.mode == "fp16")
        self._amp = _import_apex() if self.mode == "apex" else None

    def prepare(self, model, optimizer):
        """Model and optimiser as apex wants them (O1); unchanged otherwise."""
        return self._amp.initialize(model, optimizer, opt_level="O1", verbosity=0) if self._amp else (model, optimizer)

    def autocast(self):
        return torch.autocast(self.device_type, self.dtype, enabled=self.mode in ("bf16", "fp16"))

    def step(self, loss, optimizer):
        """Backward pass and optimiser step."""
        scaled = self._amp.scale_loss(loss, optimizer) if self._amp else contextlib.nullcontext(self.scaler.scale(loss))
        with scaled as scaled_loss:
            scaled_loss.backward()
        if self.clip_grad_norm:
            self.scaler.unscale_(optimizer)
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, self.clip_grad_norm)
        self.scaler.step(optimizer)
        self.scaler.update()

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
        _warn_if_bf16_is_emulated()
    return mode


@functools.cache
def _warn_if_bf16_is_emulated():
    """Once a run: without instructions of its own for bf16, a CPU takes ten times as long as in fp32."""
    if not any(there for name, there in torch.cpu.get_capabilities().items() if name.endswith("bf16")):
        log.warning("warning: this CPU has no bf16 instructions and emulates them, many times slower. Use precision='fp32'.")


def _import_apex():
    try:
        from apex import amp
    except ImportError as error:
        raise UserError(
            "precision='apex' needs NVIDIA apex, built from github.com/NVIDIA/apex; the package 'apex' on PyPI is another "
            "project. precision='auto' uses PyTorch's own mixed precision and needs nothing."
        ) from error
    return amp
