"""Optimisers and schedules: each steps as its reference does, goes downhill, and decays what it should."""

import math

import pytest
import pytorch_optimizer
import torch
from torch import nn

from common.errors import UserError
from utils.optimizers import OPTIMIZERS, build_optimizer, set_lr
from utils.schedules import SCHEDULES, constant, cosine, in_equal_shares, one_cycle

# What each name stands for, as its own library builds it.
REFERENCES = {
    "radam": lambda p, **kw: torch.optim.RAdam(p, decoupled_weight_decay=True, foreach=False, **kw),
    "adam": lambda p, **kw: torch.optim.Adam(p, foreach=False, **kw),
    "adamw": lambda p, **kw: torch.optim.AdamW(p, foreach=False, **kw),
    "sgd": lambda p, **kw: torch.optim.SGD(p, momentum=0.9, nesterov=True, foreach=False, **kw),
    "ranger": lambda p, **kw: pytorch_optimizer.Ranger(p, degenerated_to_sgd=True, foreach=False, **kw),
    "over9000": lambda p, **kw: pytorch_optimizer.Lookahead(
        pytorch_optimizer.Lamb(p, rectify=True, degenerated_to_sgd=True, foreach=False, **kw), k=6
    ),
    "lamb": lambda p, **kw: pytorch_optimizer.Lamb(p, foreach=False, **kw),
}


def quadratic(weights):
    """A narrow valley with its floor where every row sums to 0, which Ranger's centred gradients can reach."""
    scale = torch.linspace(0.1, 3.0, weights.shape[0])[:, None]
    floor = torch.linspace(-1, 1, weights.shape[1])
    return (scale * (weights - weights.mean(1, keepdim=True) - floor).square()).sum()


def descend(optimizer, weights, steps, rate=None):
    """The loss before each step."""
    losses = []
    for step in range(steps):
        if rate:
            set_lr(optimizer, rate(step))
        loss = quadratic(weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_steps_as_its_reference_on_a_quadratic(name):
    start = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    module = nn.Linear(4, 5, bias=False)
    with torch.no_grad():
        module.weight.copy_(start)
    rate = cosine(0.02, 25)
    descend(build_optimizer(name, [(module, 1.0)], lr=0.02, weight_decay=0.1), module.weight, 25, rate)
    twin = nn.Parameter(start.clone())
    reference = REFERENCES[name]([twin], lr=0.02, weight_decay=0.1)
    descend(reference, twin, 25, rate)
    torch.testing.assert_close(module.weight, twin, rtol=1e-5, atol=1e-6)


def test_over9000_pulls_back_halfway_to_the_slow_weights_every_sixth_step():
    weights, twin = (nn.Linear(3, 3, bias=False) for _ in range(2))
    twin.load_state_dict(weights.state_dict())
    start = twin.weight.detach().clone()
    fast = pytorch_optimizer.Lamb(twin.parameters(), lr=0.02, rectify=True, degenerated_to_sgd=True)
    descend(fast, twin.weight, 6)
    descend(build_optimizer("over9000", [(weights, 1.0)], lr=0.02), weights.weight, 6)
    torch.testing.assert_close(weights.weight, (start + twin.weight) / 2)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_go_downhill_from_the_first_step(name):
    weights = nn.Linear(4, 5, bias=False)
    losses = descend(build_optimizer(name, [(weights, 1.0)], lr=0.02), weights.weight, 60)
    assert losses[3] < losses[0]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in ("adam", "sgd")])
def test_weight_decay_spares_norms_and_biases(name):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    optimizer = build_optimizer(name, [(model, 1.0)], lr=0.1, weight_decay=0.5)
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for key, value in model.named_parameters():
        assert torch.equal(value, before[key]) == (key != "0.weight")
    torch.testing.assert_close(model[0].weight, before["0.weight"] * (1 - 0.1 * 0.5))


def test_unknown_optimizer_is_refused():
    with pytest.raises(UserError, match=r"unknown optimizer 'addam'. Known: radam, adam"):
        build_optimizer("addam", [], lr=1)


def test_learning_rate_is_stepped_every_batch():
    lr_at = cosine(2.0, 10)
    assert [lr_at(0), lr_at(5), lr_at(10)] == pytest.approx([2.0, 1.0, 0.0])
    assert lr_at(3) == pytest.approx(1 + math.cos(math.pi * 0.3))
    warm = cosine(1.0, 10, warmup_steps=4)
    assert [warm(0), warm(3), warm(4), warm(10)] == pytest.approx([0.2, 0.8, 1.0, 0.0])


def test_values_take_equal_shares_of_the_epochs_and_the_last_one_stays():
    size_at = in_equal_shares((80, 96, 112), 6)
    assert [size_at(epoch) for epoch in range(8)] == [80, 80, 96, 96, 112, 112, 112, 112]


@pytest.mark.parametrize("total", [10, 97])
def test_one_cycle_is_torchs(total):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))])
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.3, total_steps=total, cycle_momentum=False)
    lr_at, theirs = one_cycle(0.3, total), []
    for step in range(total):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step + 1 < total:
            scheduler.step()
    assert [lr_at(step) for step in range(total)] == pytest.approx(theirs)


@pytest.mark.parametrize("schedule", SCHEDULES.values())
@pytest.mark.parametrize("total", [1, 2, 3])
def test_schedules_bear_the_shortest_runs(schedule, total):
    for warmup_steps in (0, 1, 5):
        assert all(0 <= schedule(0.3, total, warmup_steps)(step) <= 0.3 for step in range(total))


def test_one_cycle_peaks_where_the_warm_up_ends():
    lr_at = one_cycle(1.0, 100, warmup_steps=10)
    assert max(range(100), key=lr_at) == 10
    assert lr_at(10) == 1.0


def test_constant_rate_stays_after_its_warm_up():
    assert [constant(2.0)(step) for step in (0, 999)] == [2.0, 2.0]
    assert [constant(2.0, 100, warmup_steps=3)(step) for step in (0, 1, 2, 3, 99)] == [0.5, 1.0, 1.5, 2.0, 2.0]
