"""CutMix: label weights equal the pasted area, to the pixel."""

import numpy as np
import pytest
import torch

from data.mixing import CutMix, random_box


def test_label_weights_equal_the_pasted_area_exactly():
    # Image i is filled with i, so every pixel tells where it came from.
    images = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 3, 17, 23).contiguous()
    for seed in range(50):
        mixed, targets = CutMix(alpha=1.0, prob=1.0)(images, torch.eye(6), np.random.default_rng(seed))
        for i in range(6):
            share = torch.bincount(mixed[i, 0].flatten().long(), minlength=6) / (17 * 23)
            torch.testing.assert_close(targets[i], share, atol=1e-6, rtol=0)


def test_inputs_stay_as_they_are():
    images, targets = torch.rand(4, 3, 8, 8), torch.eye(4)
    copies = images.clone(), targets.clone()
    CutMix(prob=1.0)(images, targets, np.random.default_rng(0))
    assert torch.equal(images, copies[0])
    assert torch.equal(targets, copies[1])


def test_share_of_mixed_batches_is_prob():
    images, targets, rng = torch.rand(4, 3, 8, 8), torch.eye(4), np.random.default_rng(0)
    mixed = sum(CutMix(prob=0.3)(images, targets, rng)[0] is not images for _ in range(1000))
    assert mixed == pytest.approx(300, abs=60)


def test_boxes_have_the_asked_area_on_average_before_cutting():
    # Far from the border: a big picture and a small box are hardly ever cut.
    rng = np.random.default_rng(0)
    areas = [
        (bottom - top) * (right - left) for top, bottom, left, right in (random_box(1000, 1000, 0.01, rng) for _ in range(500))
    ]
    assert np.median(areas) == pytest.approx(10_000, rel=0.02)
