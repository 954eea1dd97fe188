"""Batches: the pixels that were meant, the same ones again, and augmentation beside its per-image twin."""

from collections import Counter
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from helpers import preprocessing
from torchvision.transforms import v2

from common.errors import UserError
from data import augment, auto_augment
from data.albumentations_pipelines import PIPELINES as PER_IMAGE
from data.auto_augment import AutoAugment, RandAugment
from data.batches import EvalBatches, TrainBatches, in_chunks
from data.crops import random_crop, random_zoom
from data.dataset import open_dataset
from data.mixing import CutMix, no_mixing
from data.preprocessing import resize_square
from data.samplers import ShuffleSampler
from data.targets import one_hot
from data.views import TrainView


def batches(dataset, size=32, **kwargs):
    how = {key: kwargs.pop(key) for key in ("backend", "size_at") if key in kwargs}
    num, seen = len(dataset.images), preprocessing(size, dataset.images.shape[1], std=0.225)
    return TrainBatches(
        dataset.images, one_hot(dataset.labels, 7), ShuffleSampler(num), rows=np.arange(num), batch_size=32,
        view=TrainView(seen, kwargs.pop("augmentation", "student"), **how),
        **{"mixing": CutMix(), "seed": 5, **kwargs},
    )  # fmt: skip


def pictures(num=6, size=40, seed=0):
    """uint8 (num, 3, size, size), smooth."""
    small = np.random.default_rng(seed).integers(0, 256, (num, 5, 5, 3), np.uint8)
    return torch.from_numpy(np.stack([cv2.resize(s, (size, size)) for s in small])).permute(0, 3, 1, 2)


@pytest.mark.parametrize("augmentation", augment.PIPELINES)
def test_batches_have_the_promised_form(dataset, augmentation):
    for images, targets in batches(dataset, augmentation=augmentation).epoch(0):
        assert images.dtype == torch.float32
        assert images.shape[1:] == (3, 32, 32)
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert images.abs().max() <= 0.5 / 0.225 + 1e-4
        torch.testing.assert_close(targets.sum(1), torch.ones(len(images)))


def test_images_are_made_as_small_as_the_epoch_asks_for(dataset):
    small, full = (batches(dataset, size_at=size_at, mixing=no_mixing) for size_at in (lambda epoch: 16 + 8 * epoch, None))
    assert [next(small.epoch(epoch))[0].shape[2:] for epoch in range(3)] == [(16, 16), (24, 24), (32, 32)]
    shrunk, whole = next(small.epoch(0))[0], next(full.epoch(0))[0]
    assert shrunk.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(shrunk.mean((2, 3)), whole.mean((2, 3)), atol=0.1, rtol=0)  # the same pictures
    assert torch.equal(next(small.epoch(2))[0], next(full.epoch(2))[0])


@pytest.mark.parametrize("backend", ["batched", "albumentations"])
def test_an_epoch_is_the_same_again_and_the_next_is_another(dataset, backend):
    first, again, second = (torch.cat([x for x, _ in batches(dataset, backend=backend).epoch(e)]) for e in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_centre_crop_and_normalisation_are_exact(dataset):
    (images,) = EvalBatches(dataset.images, [3, 1], batch_size=4, preprocessing=preprocessing(30, 40, std=0.225))
    expected = (dataset.images[[3, 1], 5:35, 5:35] / 255 - 0.5) / 0.225
    np.testing.assert_allclose(images.permute(0, 2, 3, 1), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "inner"), [((30, 60), (20, 40)), ((90, 30), (40, 13)), ((10, 10), (40, 40)), ((1000, 1), (40, 1))]
)
def test_padded_pictures_keep_their_proportions_between_grey(shape, inner):
    picture = np.random.default_rng(0).integers(0, 100, (*shape, 3), np.uint8)
    square = resize_square(picture, 40, "pad")
    is_grey = (square == 128).all(2)
    rows, columns = np.flatnonzero(~is_grey.all(1)), np.flatnonzero(~is_grey.all(0))
    assert (len(rows), len(columns)) == inner
    assert abs(rows[0] - (39 - rows[-1])) <= 1
    assert abs(columns[0] - (39 - columns[-1])) <= 1
    interpolation = cv2.INTER_AREA if max(shape) > 40 else cv2.INTER_LINEAR
    expected = cv2.resize(picture, inner[::-1], interpolation=interpolation)
    np.testing.assert_array_equal(square[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], expected)


def test_padded_and_stretched_pictures_are_cached_apart(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "pictures" / name / "wide.png"), np.full((10, 30, 3), ord(name), np.uint8))
    for _ in range(2):  # the second time from the caches
        stretched, padded = (open_dataset(tmp_path / "pictures", tmp_path, 12, fit=fit) for fit in ("stretch", "pad"))
        assert (stretched.images[0] == ord("a")).all()
        assert (padded.images[0, :4] == 128).all()
        assert (padded.images[0, 4:8] == ord("a")).all()
        assert padded.fingerprint == stretched.fingerprint  # a table of the teacher's fits both
    assert sorted(path.name for path in (tmp_path / "cache").glob("*.npy")) == ["train_12_pad_shrunk2.npy", "train_12_shrunk2.npy"]


def test_random_crops_lie_everywhere_inside():
    images = np.zeros((1, 10, 10, 3), np.uint8)
    images[0] = np.arange(10)[:, None, None] * 10 + np.arange(10)[None, :, None]
    corners = random_crop(images, np.zeros(400, int), 8, np.random.default_rng(0))[:, 0, 0, 0]
    assert set(corners) == {10 * y + x for y in range(3) for x in range(3)}


def test_random_zoom_shows_parts_of_the_promised_size():
    ramp = np.linspace(0, 200, 200).astype(np.uint8)
    images = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(7)), -1)[
        None
    ]  # channels: place from the top, from the left
    parts = random_zoom(images, np.zeros(300, int), 40, np.random.default_rng(0)).astype(float)
    assert parts.shape == (300, 40, 40, 3)
    assert (parts[..., 2] == 7).all()
    height = (parts[:, -1, 0, 0] - parts[:, 0, 0, 0]) / 200 * 40 / 39
    width = (parts[:, 0, -1, 1] - parts[:, 0, 0, 1]) / 200 * 40 / 39
    assert 0.25 < (height * width).min() < 0.35
    assert (height * width).max() > 0.9
    assert 0.7 < (width / height).min() < 0.8 < 1.25 < (width / height).max() < 1.42
    assert parts[:, 0, 0, :2].min() < 5
    assert parts[:, -1, -1, :2].max() > 190


def test_flip_is_a_mirror_image_half_of_the_time():
    images = pictures(1).expand(1000, -1, -1, -1)
    flipped = augment.horizontal_flip(images, np.random.default_rng(0))
    is_flipped = (flipped == images.flip(3)).flatten(1).all(1)
    assert (is_flipped | (flipped == images).flatten(1).all(1)).all()
    assert is_flipped.float().mean() == pytest.approx(0.5, abs=0.06)


def test_hsv_conversion_agrees_with_opencv():
    rgb = pictures().permute(0, 2, 3, 1).numpy() / np.float32(255)
    hue, saturation, value = augment.rgb_to_hsv(torch.from_numpy(rgb).permute(0, 3, 1, 2))
    expected = cv2.cvtColor(rgb.reshape(-1, 40, 3), cv2.COLOR_RGB2HSV).reshape(rgb.shape)
    distance = (hue.numpy() - expected[..., 0] / 360 + 0.5) % 1 - 0.5
    assert np.abs(distance * (expected[..., 1] > 0.02)).max() < 1e-3
    np.testing.assert_allclose(saturation, expected[..., 1], atol=1e-4)
    np.testing.assert_allclose(value, expected[..., 2], atol=1e-5)
    back = augment.hsv_to_rgb(hue, saturation, value)
    np.testing.assert_allclose(back.permute(0, 2, 3, 1), rgb, atol=1e-5)


def test_shift_scale_agrees_with_opencv_inside():
    images = pictures(8)
    rng, twin = np.random.default_rng(1), np.random.default_rng(1)
    moved = augment.shift_scale(images, rng, prob=1.0)
    twin.random(8)
    zoom = 1 + twin.uniform(-0.15, 0.15, 8)
    shift = 2 * twin.uniform(-0.15, 0.15, (8, 2))
    for i in range(8):
        a, (tx, ty) = 1 / zoom[i], shift[i]
        # output pixel -> input pixel, from the unit square's coordinates to pixel centres
        matrix = np.float32([[a, 0, 20 * (1 - a + tx) + 0.5 * (a - 1)], [0, a, 20 * (1 - a + ty) + 0.5 * (a - 1)]])
        image = images[i].permute(1, 2, 0).numpy().astype(np.float32)
        expected = cv2.warpAffine(image, matrix, (40, 40), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        np.testing.assert_allclose(moved[i].permute(1, 2, 0).numpy()[12:28, 12:28], expected[12:28, 12:28], atol=6)


@pytest.mark.parametrize("operation", [augment.shift_scale, augment.hue_saturation_value])
def test_operations_leave_their_input_alone_and_stay_in_range(operation):
    images = pictures(16)
    before = images.clone()
    changed = operation(images, np.random.default_rng(0))
    assert torch.equal(images, before)
    assert changed.min() >= 0
    assert changed.max() <= 255.01
    assert not torch.equal(changed, before.float())


@pytest.mark.parametrize("augmentation", [AutoAugment(), RandAugment()])
def test_learnt_augmentation_draws_from_the_generator_alone(augmentation):
    images, state = pictures(24), torch.get_rng_state()
    before = images.clone()
    first, again, other = (augmentation(images, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, before)
    assert first.dtype == torch.uint8
    changed = (first != images).flatten(1).any(1).float().mean()
    assert changed > 0.5


@pytest.mark.parametrize("kind", ["AutoAugment", "RandAugment"])
def test_learnt_augmentation_draws_and_does_what_torchvisions_own_does(kind):
    """The same operations equally often, and the same pixels for the same operation."""
    twin = v2.AutoAugment(v2.AutoAugmentPolicy.SVHN) if kind == "AutoAugment" else v2.RandAugment()
    theirs, ours = Counter(), Counter()
    twin._apply_image_or_video_transform = lambda image, name, magnitude, **kw: (
        theirs.update([(name, round(magnitude, 3))]) or image
    )
    augmentation, rng, image = getattr(auto_augment, kind)(), np.random.default_rng(0), pictures(1)[0]
    torch.manual_seed(0)
    for _ in range(1500):
        twin(image)
        ours.update((name, round(magnitude, 3)) for name, magnitude in augmentation.draw(rng, 40, 40))
    assert theirs.keys() == ours.keys()
    for operation, count in theirs.items():
        assert ours[operation] == pytest.approx(count, abs=6 * count**0.5 + 3)
    inverted = v2.functional.invert(image)
    augmentation.draw = lambda rng, height, width: [("Solarize", 0.0)]  # everything above 0 is inverted
    assert torch.equal(augmentation(image[None], rng)[0], inverted)


def test_every_recipe_pipeline_has_its_per_image_twin():
    assert set(PER_IMAGE) <= set(augment.PIPELINES)
    assert {"teacher", "student"} <= set(PER_IMAGE)


@pytest.mark.parametrize("name", PER_IMAGE)
def test_twins_cut_alike(name):
    """Where pictures are larger than the network's square, both forms leave out as much of their rims."""
    framed = np.full((32, 40, 40, 3), 255, np.uint8)
    framed[:, 4:36, 4:36] = 0
    pictures, shares = SimpleNamespace(images=framed, labels=np.zeros(32, int)), {}
    for backend in ("batched", "albumentations"):
        twin = batches(pictures, augmentation=name, backend=backend, mixing=no_mixing)
        shares[backend] = np.mean([(images > 0).float().mean().item() for epoch in range(8) for images, _ in twin.epoch(epoch)])
    # A crop from the middle has no rim; from anywhere, some: 0.13 of it on average. The whole picture would have 0.36.
    assert shares["albumentations"] == pytest.approx(shares["batched"], abs=0.02)
    assert shares["batched"] < 0.2


def test_twins_of_the_teachers_pipeline_agree_on_average(dataset):
    means = {}
    for backend in ("batched", "albumentations"):
        epochs = [x for e in range(6) for x, _ in batches(dataset, backend=backend, augmentation="teacher", size=32).epoch(e)]
        stack = torch.cat(epochs)
        means[backend] = torch.stack([stack.mean(), stack.std()])
    torch.testing.assert_close(means["batched"], means["albumentations"], atol=0.05, rtol=0)


def test_unknown_augmentation_is_refused(dataset):
    with pytest.raises(UserError, match=r"unknown augmentation 'blur'"):
        batches(dataset, augmentation="blur", backend="batched")


@pytest.mark.parametrize(("count", "batch_size"), [(1890, 32), (33, 32), (64, 32), (5, 2), (3, 2), (2, 2), (1, 2), (7, 100)])
def test_no_batch_is_much_smaller_than_the_others(count, batch_size):
    """The last of an epoch is what BatchNorm's statistics remember best."""
    chunks = in_chunks(np.arange(count), batch_size)
    sizes = [len(chunk) for chunk in chunks]
    assert np.array_equal(np.concatenate(chunks), np.arange(count))
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= max(batch_size, 3)
    assert min(sizes) > 1 or count == 1
