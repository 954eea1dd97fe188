"""Losses beside their formulas, written out in NumPy."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from common.errors import UserError
from utils.losses import LOSSES, build_loss


@pytest.fixture(scope="module")
def batch():
    """logits and soft targets (10, 4), float64."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(size=(10, 4)) * 2), torch.from_numpy(rng.dirichlet(np.ones(4), 10))


def test_cross_entropy_is_its_formula(batch):
    logits, targets = batch
    expected = -(targets.numpy() * log_softmax(logits.numpy(), axis=1)).sum(1).mean()
    assert build_loss("cross_entropy")(logits, targets).item() == pytest.approx(expected)


def test_focal_loss_is_its_formula(batch):
    logits, targets = batch
    logs = log_softmax(logits.numpy(), axis=1)
    expected = -0.3 * (targets.numpy() * (1 - np.exp(logs)) ** 1.5 * logs).sum(1).mean()
    assert build_loss("focal", focal_alpha=0.3, focal_gamma=1.5)(logits, targets).item() == pytest.approx(expected)


def test_focal_loss_without_focus_is_cross_entropy(batch):
    torch.testing.assert_close(build_loss("focal", focal_alpha=1.0, focal_gamma=0.0)(*batch), build_loss("cross_entropy")(*batch))


def test_hard_examples_are_the_ones_averaged(batch):
    logits, targets = batch
    losses = -(targets.numpy() * log_softmax(logits.numpy(), axis=1)).sum(1)
    assert build_loss("ohem", ohem_share=0.25)(logits, targets).item() == pytest.approx(np.sort(losses)[-3:].mean())
    assert build_loss("ohem", ohem_share=1.0)(logits, targets).item() == pytest.approx(losses.mean())
    assert build_loss("ohem", ohem_share=0.01)(logits, targets).item() == pytest.approx(losses.max())


def test_easy_examples_teach_nothing(batch):
    logits = batch[0].clone().requires_grad_()
    build_loss("ohem", ohem_share=0.5)(logits, batch[1]).backward()
    assert (logits.grad.abs().sum(1) > 0).sum() == 5


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_stay_finite_where_the_network_is_certain(name):
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    loss = build_loss(name, focal_gamma=0.5)(logits, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_unknown_loss_is_refused():
    with pytest.raises(UserError, match=r"unknown loss 'hinge'\. Known: cross_entropy, focal, ohem"):
        build_loss("hinge")
