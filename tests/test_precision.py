"""Precision: what an optimiser step returns, and what `apex` needs, tried with a stand-in for NVIDIA's module."""

import contextlib
import sys
import types

import pytest
import torch
from torch import nn

from common.errors import UserError
from utils import precision
from utils.precision import Precision, time_in_bf16

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def take_step(precision, factor=1.0):
    """(gradients' norm as the step returns it, how far the weights moved) of a loss whose gradient is 5 x factor long."""
    weights = nn.Parameter(torch.zeros(2))
    model, optimizer = precision.prepare(nn.ParameterList([weights, torch.zeros(3)]), torch.optim.SGD([weights], lr=1.0))
    norm = precision.step((model[0] * torch.tensor([3.0, 4.0]) * factor).sum(), optimizer)
    return norm, weights.detach().norm()


@pytest.mark.parametrize("clip_grad_norm", [0.0, 0.5, 10.0])
def test_step_returns_the_norm_that_the_gradients_had_before_clipping(clip_grad_norm):
    norm, moved = take_step(Precision("fp32", CPU, clip_grad_norm=clip_grad_norm))
    torch.testing.assert_close((norm.shape, norm.requires_grad), (torch.Size([]), False))
    torch.testing.assert_close(norm, torch.tensor(5.0))
    torch.testing.assert_close(moved, torch.tensor(min(5.0, clip_grad_norm or 5.0)), rtol=1e-4, atol=0)


def test_norm_is_of_the_gradients_as_they_are_not_as_fp16_scales_them():
    precision = Precision("fp32", CPU)
    precision.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    norm, moved = take_step(precision)
    torch.testing.assert_close((norm, moved), (torch.tensor(5.0), torch.tensor(5.0)))


@pytest.mark.parametrize(("ratio", "said_so"), [(2.04, "takes 2.0 times as long to train in bf16 as in fp32"), (0.7, "")])
def test_bf16_warns_on_a_cpu_where_it_was_measured_to_be_slower(monkeypatch, said, ratio, said_so):
    monkeypatch.setattr("utils.precision.time_in_bf16", lambda: ratio)
    precision._warn_if_bf16_is_slow.cache_clear()
    for _ in range(2):
        assert Precision("bf16", CPU).mode == "bf16"
    assert said.text.count("times as long") == bool(said_so)
    assert said_so in said.text


def test_bf16_is_measured_and_no_random_number_is_drawn(monkeypatch):
    before = torch.get_rng_state()
    assert 0.05 < time_in_bf16() < 100
    assert torch.equal(torch.get_rng_state(), before)


def test_bf16_is_compared_with_fp32(monkeypatch):
    """Whose steps are made to take a second each, by a clock that only they move."""
    clock = [0.0]

    def square(x):
        clock[0] += 1.0 if torch.is_autocast_enabled("cpu") else 4.0
        return x * x

    monkeypatch.setattr("time.process_time", lambda: clock[0])
    monkeypatch.setattr(torch.Tensor, "square", square)
    assert time_in_bf16() == 0.25


def stand_in(monkeypatch, **contents):
    """A module `apex` with these contents, and no other."""
    apex = types.ModuleType("apex")
    vars(apex).update(contents)
    monkeypatch.setitem(sys.modules, "apex", apex)


class Amp:
    """What this project calls of `apex.amp`; scales losses by 8 as apex does, and gradients back when the block ends."""

    def __init__(self):
        self.calls = []

    def initialize(self, model, optimizer, opt_level, verbosity):
        self.calls.append(opt_level)
        return model, optimizer

    @contextlib.contextmanager
    def scale_loss(self, loss, optimizer):
        yield 8 * loss
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad /= 8

    def state_dict(self):
        return {"loss_scaler0": {"loss_scale": 8.0}}

    def load_state_dict(self, state):
        self.calls.append(state)


def test_apex_prepares_scales_and_is_saved(monkeypatch):
    amp = Amp()
    stand_in(monkeypatch, amp=amp)
    precision = Precision("apex", GPU, clip_grad_norm=0.5)
    norm, moved = take_step(precision)
    torch.testing.assert_close((norm, moved), (torch.tensor(5.0), torch.tensor(0.5)), rtol=1e-4, atol=0)
    precision.load_state_dict(precision.state_dict())
    assert amp.calls == ["O1", amp.state_dict()]


def test_apex_without_amp_names_the_last_release_that_had_it(monkeypatch):
    stand_in(monkeypatch, optimizers=None)  # as NVIDIA's module is now
    with pytest.raises(UserError, match=r"cannot import name 'amp' .*apex 25\.04 .*the last release.*precision='fp16'"):
        Precision("apex", GPU)
    monkeypatch.setitem(sys.modules, "apex", None)
    with pytest.raises(UserError, match=r"apex 25\.04 .*PyPI.*another project"):
        Precision("apex", GPU)
