"""Sampling: balanced as said, new every epoch, exact over several processes."""

import numpy as np
import pytest

from common.errors import UserError
from data.samplers import BalanceClassSampler, ShuffleSampler

LABELS = np.repeat([0, 1, 2], [3, 7, 20])


def drawn(epoch=0, num_replicas=1, **kwargs):
    samplers = [BalanceClassSampler(LABELS, rank=r, num_replicas=num_replicas, **kwargs) for r in range(num_replicas)]
    parts = [sampler.indices(epoch) for sampler in samplers]
    assert {len(part) for part in parts} == {len(samplers[0])}
    return np.concatenate(parts)


@pytest.mark.parametrize(("mode", "per_class"), [("upsampling", 20), ("downsampling", 3), (11, 11)])
@pytest.mark.parametrize("num_replicas", [1, 2, 4])
def test_every_class_is_drawn_equally_often_over_all_processes(mode, per_class, num_replicas):
    counts = np.bincount(LABELS[drawn(mode=mode, num_replicas=num_replicas)])
    assert len(set(counts)) == 1
    assert per_class <= counts[0] < per_class + num_replicas


@pytest.mark.parametrize(("num_replicas", "expected"), [(1, [6, 9, 15]), (4, [6, 10, 16])])
def test_square_root_flattens_the_classes_and_keeps_the_size_of_the_epoch(num_replicas, expected):
    # Square roots 1.73, 2.65, 4.47 of 8.85: shares 5.87, 8.97, 15.16 of 30 images, 6.26, 9.57, 16.17 of 32.
    assert np.bincount(LABELS[drawn(mode="sqrt", num_replicas=num_replicas)]).tolist() == expected


def test_square_root_never_leaves_a_class_out():
    sampler = BalanceClassSampler(np.repeat([0, 1, 2], [1, 1, 5000]), mode="sqrt")
    assert sampler.draws.min() >= 1
    assert len(sampler) == 5002


@pytest.mark.parametrize("mode", ["upsampling", "sqrt"])
@pytest.mark.parametrize("num_replicas", [1, 2, 4])
def test_no_index_comes_twice_more_than_it_should(num_replicas, mode):
    draws = np.bincount(drawn(num_replicas=num_replicas, mode=mode), minlength=len(LABELS))
    for label in range(3):
        of_class = draws[label == LABELS]
        assert of_class.max() - of_class.min() <= 1


def test_epochs_differ_and_repeat():
    assert not np.array_equal(drawn(epoch=0), drawn(epoch=1))
    assert np.array_equal(drawn(epoch=1), drawn(epoch=1))


def test_which_images_get_the_extra_draw_changes():
    extra = [set(np.flatnonzero(np.bincount(drawn(epoch=e), minlength=30)[:3] == 7)) for e in range(8)]
    assert len({tuple(sorted(chosen)) for chosen in extra}) > 1


def test_senseless_mode_is_refused():
    with pytest.raises(UserError, match="sampler_mode='sideways'"):
        BalanceClassSampler(LABELS, mode="sideways")


def test_shuffle_splits_without_overlap():
    parts = [ShuffleSampler(11, rank=r, num_replicas=2).indices(3) for r in range(2)]
    assert [len(part) for part in parts] == [5, 5]
    assert len(set(np.concatenate(parts))) == 10
