"""ArcFace: the head answers with scaled cosines, the loss adds the angular margin of the paper."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers import largest_relative_difference, with_random_statistics

from deploy.fuse import fuse
from models import build_model
from models.heads import ARCFACE_SCALE, CosineLinear, arcface
from recipe.training import objective
from utils.config import StudentConfig
from utils.losses import arcface_margin, soft_cross_entropy

SCALE, MARGIN = 20.0, 0.5


def angles(*shape):
    return math.pi * torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def logits_of(angle):
    return (SCALE * angle.cos()).float()


def test_hard_labels_get_the_margin_of_the_paper():
    theta, labels = angles(8, 5) * 0.8, torch.arange(8) % 5  # theta + margin < pi
    expected = []
    for row, label in zip(theta, labels, strict=True):
        numerator = math.exp(SCALE * math.cos(row[label] + MARGIN))
        others = sum(math.exp(SCALE * math.cos(row[k])) for k in range(5) if k != label)
        expected.append(-math.log(numerator / (numerator + others)))
    targets = F.one_hot(labels, 5).float()
    loss = soft_cross_entropy(arcface_margin(logits_of(theta), targets, scale=SCALE, margin=MARGIN), targets)
    assert loss.item() == pytest.approx(sum(expected) / 8, rel=1e-4)


def test_soft_labels_share_the_margin():
    theta, targets = angles(6, 4) * 0.8, torch.softmax(angles(6, 4), 1).float()
    shifted = arcface_margin(logits_of(theta), targets, scale=SCALE, margin=MARGIN)
    assert torch.allclose(shifted, logits_of(theta + MARGIN * targets.double()), atol=1e-3)


def test_no_margin_changes_nothing():
    targets = torch.full((6, 4), 0.25)
    assert torch.allclose(
        arcface_margin(logits_of(angles(6, 4)), targets, scale=SCALE, margin=0.0), logits_of(angles(6, 4)), atol=1e-4
    )


def test_larger_angle_is_never_rewarded():
    theta = torch.linspace(0.01, math.pi - 0.01, 1000, dtype=torch.float64)[:, None]
    shifted = arcface_margin(logits_of(theta), torch.ones(1000, 1), scale=SCALE, margin=MARGIN)
    steps_down = shifted[1:] - shifted[:-1]
    assert (steps_down < 0).all()
    assert steps_down.abs().max() < 0.1  # no jump where angle + margin passes pi


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_gradients_are_finite_at_the_ends_of_the_cosine(dtype):
    logits = torch.tensor([[SCALE, -SCALE]], dtype=dtype, requires_grad=True)
    shifted = arcface_margin(logits, torch.tensor([[0.5, 0.5]], dtype=dtype), scale=SCALE)
    assert shifted.dtype == torch.float32
    shifted.sum().backward()
    assert logits.grad.isfinite().all()


def test_head_answers_with_scaled_cosines_in_float32_under_autocast():
    head, x = CosineLinear(64, 5, SCALE), torch.randn(8, 64)
    cosines = F.cosine_similarity(x[:, None], head.weight[None], dim=2)
    with torch.autocast("cpu", torch.bfloat16):
        logits = head(x)
    assert logits.dtype == torch.float32
    assert torch.allclose(logits, SCALE * cosines, atol=1e-4)


def test_training_uses_the_margin_and_the_fused_network_does_not():
    model = with_random_statistics(build_model("mobilenet_v3_small", 3, head="arcface", image_size=32))
    assert largest_relative_difference(model, fuse(model), (2, 3, 32, 32)) < 1e-5
    logits, targets = model(torch.randn(4, 3, 32, 32)), torch.eye(3)[[0, 1, 2, 0]]
    assert logits.abs().max() <= ARCFACE_SCALE
    loss = objective(StudentConfig(head="arcface"))(logits, targets, None, 0)
    assert loss > objective(StudentConfig())(logits, targets, None, 0) + 1


def test_margin_grows_from_none_to_all_of_it():
    config, targets = StudentConfig(head="arcface"), torch.eye(4)[:3]
    logits = (ARCFACE_SCALE * angles(3, 4).cos()).float()
    growing = objective(config, growing_steps=100)
    losses = [growing(logits, targets, None, step).item() for step in (0, 50, 100, 150)]
    expected = [
        soft_cross_entropy(arcface_margin(logits, targets, scale=ARCFACE_SCALE, margin=margin), targets).item()
        for margin in (0.0, 0.25, 0.5, 0.5)
    ]
    assert losses == pytest.approx(expected)
    assert objective(config)(logits, targets, None, 0).item() == losses[-1]


def test_head_tells_apart_features_that_have_most_in_common():
    """Pooled features are like this before training: nearly one direction, where the margin alone decides the loss."""
    torch.manual_seed(0)
    labels = torch.arange(64) % 8
    x = 5 + 0.3 * torch.randn(8, 32)[labels] + 0.1 * torch.randn(64, 32)
    head, loss = arcface(32, 8, dropout=0.0), objective(StudentConfig(head="arcface"))
    optimizer = torch.optim.RAdam(head.parameters(), lr=2e-3)
    for _ in range(100):
        optimizer.zero_grad()
        loss(head(x), F.one_hot(labels).float(), None, 0).backward()
        optimizer.step()
    assert (head.eval()(x).argmax(1) == labels).float().mean() > 0.95
