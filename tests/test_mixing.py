"""Mixing: labels follow the pixels, to the pixel; each method beside its formula."""

import numpy as np
import pytest
import torch

from common.errors import UserError
from data.mixing import MIXINGS, CutMix, GridMask, MixUp, build_mixing, grid_mask, random_box


def test_label_weights_equal_the_pasted_area_exactly():
    # Image i is filled with i, so every pixel tells where it came from.
    images = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 3, 17, 23).contiguous()
    for seed in range(50):
        mixed, targets = CutMix(alpha=1.0, prob=1.0)(images, torch.eye(6), np.random.default_rng(seed))
        for i in range(6):
            share = torch.bincount(mixed[i, 0].flatten().long(), minlength=6) / (17 * 23)
            torch.testing.assert_close(targets[i], share, atol=1e-6, rtol=0)


def test_mixup_blends_images_and_labels_by_the_same_drawn_share():
    images, targets = torch.rand(8, 3, 5, 5), torch.rand(8, 4).softmax(1)
    mixed, mixed_targets = MixUp(alpha=0.7, prob=1.0)(images, targets, np.random.default_rng(3))
    twin = np.random.default_rng(3)
    twin.random()
    share, partner = twin.beta(0.7, 0.7), twin.permutation(8)
    torch.testing.assert_close(mixed, (1 - share) * images + share * images[partner])
    torch.testing.assert_close(mixed_targets, (1 - share) * targets + share * targets[partner])


def test_grid_mask_blanks_the_squares_that_a_loop_over_pixels_would():
    period, kept, top, left = 7.0, 3.0, 2.0, 5.0
    mask = grid_mask(20, 30, *(torch.tensor([value]) for value in (period, kept, top + 9.5, left + 14.5, 0.0)))[0]
    for y in range(20):
        for x in range(30):
            assert mask[y, x] == ((y + top) % period < kept or (x + left) % period < kept)


def test_grid_mask_turns_by_its_angle():
    # The offsets keep pixel centres away from the squares' edges, where rounding would decide.
    arguments = [torch.tensor([value]) for value in (8.0, 3.0, 0.25, 2.25)]
    upright, turned = grid_mask(21, 21, *arguments, torch.zeros(1)), grid_mask(21, 21, *arguments, torch.tensor([torch.pi / 2]))
    assert torch.equal(turned[0], upright[0].rot90(-1))
    assert not torch.equal(turned, upright)


def test_grid_mask_loses_the_area_of_the_recipe_at_any_size_and_leaves_labels():
    targets = torch.eye(256)
    for size in (32, 224):
        masked, after = GridMask(prob=1.0)(torch.ones(256, 1, size, size), targets, np.random.default_rng(0))
        assert set(masked.unique().tolist()) == {0.0, 1.0}
        # The mean of (1 - ratio)^2 for a ratio from 0.4 to 0.6.
        assert 1 - masked.mean().item() == pytest.approx(0.2533, abs=0.02)
        assert torch.equal(after, targets)


def test_grid_shrinks_with_the_image():
    big, small = (GridMask(prob=1.0)(torch.ones(16, 1, s, s), torch.eye(16), np.random.default_rng(0))[0] for s in (224, 56))
    agree = (big[:, :, 1::4, 1::4] == small).float().mean()
    assert agree > 0.9


@pytest.mark.parametrize("name", ["cutmix", "mixup", "gridmask"])
def test_inputs_stay_as_they_are_and_channels_stay_last(name):
    images, targets = torch.rand(4, 3, 8, 8).contiguous(memory_format=torch.channels_last), torch.eye(4)
    copies = images.clone(), targets.clone()
    mixed, _ = build_mixing(name, prob=1.0)(images, targets, np.random.default_rng(0))
    assert torch.equal(images, copies[0])
    assert torch.equal(targets, copies[1])
    assert not torch.equal(mixed, images)
    assert mixed.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("mixing", [CutMix, MixUp])
def test_share_of_mixed_batches_is_prob(mixing):
    images, targets, rng = torch.rand(4, 3, 8, 8), torch.eye(4), np.random.default_rng(0)
    mixed = sum(mixing(prob=0.3)(images, targets, rng)[0] is not images for _ in range(1000))
    assert mixed == pytest.approx(300, abs=60)


def test_share_of_images_with_a_grid_is_prob():
    masked, _ = GridMask(prob=0.3)(torch.ones(1000, 1, 64, 64), torch.eye(1000), np.random.default_rng(0))
    assert (masked.amin((1, 2, 3)) == 0).sum() == pytest.approx(300, abs=60)


def test_one_of_several_is_drawn_by_weight():
    images, targets, rng = torch.rand(4, 1, 8, 8), torch.eye(4), np.random.default_rng(0)
    mixing = build_mixing({"mixup": 3, "none": 1}, alpha={"mixup": 0.5}, prob={"mixup": 1.0})
    assert mixing.mixings[0].alpha == 0.5
    mixed = sum(mixing(images, targets, rng)[0] is not images for _ in range(1000))
    assert mixed == pytest.approx(750, abs=60)


@pytest.mark.parametrize("name", [*MIXINGS, "cutmix and mixup"])
def test_labels_stay_distributions(name):
    mixing = build_mixing({"cutmix": 1, "mixup": 1} if name not in MIXINGS else name, prob=1.0)
    for seed in range(5):
        _, targets = mixing(torch.rand(6, 3, 8, 8), torch.rand(6, 5).softmax(1), np.random.default_rng(seed))
        torch.testing.assert_close(targets.sum(1), torch.ones(6))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cutmixx",), "unknown mixing 'cutmixx'. Known: cutmix, mixup"),
        (({},), "unknown mixing"),
        (({"cutmix": 0.0},), "one of the weights must be above 0"),
        (("mixup", {"cutmix": 1.0}), "mixing_alpha names 'cutmix', which is not among the mixings of this run: mixup"),
    ],
)
def test_senseless_mixing_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        build_mixing(*arguments)


def test_boxes_have_the_asked_area_on_average_before_cutting():
    # Far from the border: a big picture and a small box are hardly ever cut.
    rng = np.random.default_rng(0)
    areas = [
        (bottom - top) * (right - left) for top, bottom, left, right in (random_box(1000, 1000, 0.01, rng) for _ in range(500))
    ]
    assert np.median(areas) == pytest.approx(10_000, rel=0.02)
