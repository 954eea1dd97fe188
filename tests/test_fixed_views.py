"""Fixed views of pictures: the same part at any size, and the targets that belong to it."""

import numpy as np
import pytest
import torch
from helpers import preprocessing

from common.errors import UserError
from data.augment import hue_saturation_value
from data.batches import TrainBatches
from data.crops import jitter_boxes, zoom_boxes
from data.fixed_views import FixedViews
from data.mixing import CutMix, no_mixing
from data.preprocessing import resize_square
from data.samplers import BothSamplers, ShuffleSampler
from data.targets import one_hot
from data.view_targets import ViewTargets, softmax
from data.views import TrainView

PATHS = ("denim/1.jpg", "denim/2.jpg", "裙/a b.jpg")


def squares(size):
    """Three smooth pictures, uint8 (3, size, size, 3), of which each place has a colour of its own."""
    y, x = np.mgrid[0:240, 0:240]
    pictures = [np.stack([x, y, np.full_like(x, 80 * k)], 2).astype(np.uint8) for k in range(3)]
    return np.stack([resize_square(picture, size, "stretch") for picture in pictures])


def test_a_view_follows_from_seed_path_and_number_alone():
    views = FixedViews(PATHS, 4, seed=7)
    pixels = views.cut(squares(64), np.arange(len(views)), 16)
    assert len(np.unique(pixels.reshape(12, -1), axis=0)) == 12
    other = FixedViews(PATHS[::-1], 9, seed=7)  # in another order, and more of them
    again = other.cut(squares(64)[::-1], [2 * 9 + 1, 0 * 9 + 3], 16)
    assert np.array_equal(again, pixels[[0 * 4 + 1, 2 * 4 + 3]])
    assert not np.array_equal(FixedViews(PATHS, 4, seed=8).cut(squares(64), [1], 16), pixels[[1]])


def test_views_are_parts_as_a_random_zoom_shows_them_half_of_them_mirrored():
    views = FixedViews(PATHS, 300, seed=0)
    pixels = views.cut(squares(240), np.arange(300), 40).astype(float)
    rise_x, rise_y = (pixels[:, 20, 39, 0] - pixels[:, 20, 0, 0]) / 39 * 40, (pixels[:, 39, 20, 1] - pixels[:, 0, 20, 1]) / 39 * 40
    area = np.abs(rise_x) * rise_y / 240**2
    assert 0.28 < area.min() < 0.33
    assert 0.97 < area.max() < 1.03
    assert 0.4 < np.mean(rise_x < 0) < 0.6
    assert (rise_y > 0).all()


def test_teacher_and_student_see_the_same_part_at_their_own_size():
    views = FixedViews(PATHS, 20, seed=3)
    small = views.cut(squares(36), np.arange(60), 24).astype(float)
    large = views.cut(squares(200), np.arange(60), 24).astype(float)
    assert np.abs(small - large).max() < 12  # of 240: the rounding to whole pixels of 36


def batches(targets, views, mixing=no_mixing, augmentation="student_zoom", **kwargs):
    view = TrainView(preprocessing(16, 20), augmentation, fixed=views, **kwargs)
    return TrainBatches(squares(20), targets, ShuffleSampler(3), rows=np.arange(3), batch_size=3, view=view, mixing=mixing, seed=1)


def test_a_batch_has_of_each_row_one_view_and_the_target_of_just_that_one():
    views = FixedViews(PATHS, 5, seed=0)
    logits = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(np.float16)
    targets = ViewTargets(views, one_hot(np.array([0, 1, 0]), 2), logits=logits, weight=0.5)
    probs = (one_hot(np.array([0, 1, 0]), 2).repeat(5, 0) + softmax(logits.reshape(15, 2))) / 2
    loop, seen = batches(targets, views), set()
    for epoch in range(8):
        ((images, batch),) = loop.epoch(epoch)
        differences = np.abs(batch.numpy()[:, None] - probs).max(2)  # no two views have the same target
        indices = differences.argmin(1)
        assert differences.min(1).max() < 1e-6
        assert sorted(indices // 5) == [0, 1, 2]
        seen |= set(indices)
        expected = torch.from_numpy(views.cut(squares(20), indices, 16)).permute(0, 3, 1, 2)
        torch.testing.assert_close(images, expected / 255 - 0.5, atol=1e-6, rtol=0)
    assert len(seen) > 8
    ((images, again),) = loop.epoch(0)
    assert torch.equal(again, next(batches(targets, views).epoch(0))[1])  # drawn from seed and epoch alone


def test_stored_targets_mix_by_the_same_area_as_the_pixels():
    views = FixedViews(PATHS, 5, seed=0)
    logits = np.float16(20) * np.eye(3, dtype=np.float16).repeat(5, 0).reshape(3, 5, 3)  # each picture is a class of its own
    targets = ViewTargets(views, np.zeros((3, 3), np.float32), logits=logits, weight=1.0)
    ((images, mixed),) = batches(targets, views, mixing=CutMix(prob=1.0)).epoch(0)
    assert mixed.max() < 0.99
    blue = 255 * (images[:, 2].mean((1, 2)) + 0.5)  # 80 times the picture's number
    torch.testing.assert_close(mixed @ torch.tensor([0.0, 80.0, 160.0]), blue, atol=1e-3, rtol=0)


def test_colour_goes_on_and_the_pipeline_neither_cuts_nor_mirrors_again():
    assert TrainView(preprocessing(16, 20), "student_zoom_color", fixed=FixedViews(PATHS, 2, 0)).operations == (
        hue_saturation_value,
    )
    with pytest.raises(UserError, match="cuts for itself"):
        TrainView(preprocessing(16, 20), "student", backend="albumentations", fixed=FixedViews(PATHS, 2, 0))


def test_unlabelled_pictures_have_what_their_teacher_says_alone():
    hard, views = np.array([[1, 0], [0, 1], [0, 0]], np.float32), FixedViews(PATHS, 2, seed=0)
    logits, weight = np.zeros((3, 2, 2), np.float16), np.array([0.2, 0.2, 1.0])
    targets = ViewTargets(views, hard, logits=logits, weight=weight)
    np.testing.assert_allclose(targets[[0, 2, 5]], [[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]], atol=1e-6)


def test_blended_views_show_two_pictures_and_have_both_labels_by_their_shares():
    alone, views = FixedViews(PATHS, 40, seed=0), FixedViews(PATHS, 40, seed=0, blended=0.75)
    rows, others, share = views.pictures(np.arange(120))
    assert 0.6 < np.mean(share < 1) < 0.9
    assert np.array_equal(others[share == 1], rows[share == 1])
    assert {*zip(rows, others, strict=True)} == {(a, b) for a in range(3) for b in range(3)}
    flat = np.stack([np.full((20, 20, 3), value, np.uint8) for value in (0, 100, 200)])  # the colour says whose it is
    colours = views.cut(flat, np.arange(120), 8)[:, 0, 0, 0]
    expected = share * flat[rows, 0, 0, 0] + (1 - share) * flat[others, 0, 0, 0]
    np.testing.assert_allclose(colours, expected, atol=0.51)
    single = np.flatnonzero(share == 1)
    assert np.array_equal(views.cut(squares(20), single, 8), alone.cut(squares(20), single, 8))
    labels = ViewTargets(views, np.eye(3, dtype=np.float32), logits=np.zeros((3, 40, 3), np.float16), weight=0.0)
    targets = labels[np.arange(120)]
    np.testing.assert_allclose(targets[np.arange(120), rows] * (rows != others), share * (rows != others), atol=1e-6)
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)


def test_jittered_views_are_nearly_the_same_and_never_the_same_pixels():
    views, indices = FixedViews(PATHS, 50, seed=0), np.arange(150)
    still = views.cut(squares(240), indices, 24).astype(float)
    first, second = (views.cut(squares(240), indices, 24, 0.1, np.random.default_rng(k)).astype(float) for k in (1, 2))
    for moved in (first, second):
        middle = np.abs(moved - still)[:, 12, 12, :2]
        assert 3 < middle.mean() < 15  # of 240: a tenth at most of a side that is 130 to 240 long
        assert middle.max() <= 0.1 * 240 + 4
    assert not (first == second).all(axis=(1, 2, 3)).any()
    again = views.cut(squares(240), indices, 24, 0.1, np.random.default_rng(1))
    assert np.array_equal(again, first)


def test_a_jittered_box_stays_inside():
    boxes = zoom_boxes(np.random.default_rng(0).random((4, 500)), 40)
    moved = jitter_boxes(boxes, 40, np.random.default_rng(1).uniform(-0.5, 0.5, (4, 500)))
    assert (moved[:, :2] >= 0).all()
    assert (moved[:, 2:] >= 1).all()
    assert (moved[:, :2] + moved[:, 2:] <= 40).all()
    assert np.array_equal(jitter_boxes(boxes, 40, np.zeros((4, 500))), boxes)


def test_pictures_are_blended_within_their_group():
    views = FixedViews(("a", "b", "c", "d"), 30, seed=0, blended=1.0, groups=np.array([0, 1, 0, 1]))
    rows, others, share = views.pictures(np.arange(120))
    assert (share < 1).all()
    assert np.array_equal(rows % 2, others % 2)
    assert np.mean(rows != others) > 0.3
    assert views.describe() != FixedViews(("a", "b", "c", "d"), 30, seed=0, blended=1.0).describe()


def test_two_samplers_come_shuffled_together():
    both = BothSamplers(ShuffleSampler(10), ShuffleSampler(30), offset=100)
    drawn = both.indices(0)
    assert len(both) == len(drawn) == 40
    assert sorted(drawn) == [*range(10), *range(100, 130)]
    assert any(drawn[:10] >= 100)
    assert not np.array_equal(drawn, both.indices(1))
