"""Every value of every switch trains a step through the real path, from the config to a checkpoint that loads."""

import argparse
import math

import numpy as np
import pytest
import torch

from data import augment
from data.mixing import MIXINGS
from data.targets import one_hot, smooth
from recipe import steps
from utils.checkpoints import load_checkpoint
from utils.config import RunConfig, build_dataclass
from utils.losses import LOSSES
from utils.optimizers import OPTIMIZERS
from utils.schedules import SCHEDULES
from utils.session import Session

# The values of SMALL and the defaults need no test of their own.
SWITCHES = {
    "mixing": [*MIXINGS, {"cutmix": 2, "mixup": 1}],
    "augmentation": list(augment.PIPELINES),
    "augmentation_backend": ["albumentations"],
    "fit": ["pad"],
    "loss": list(LOSSES),
    "optimizer": list(OPTIMIZERS),
    "schedule": list(SCHEDULES),
    "sampler": ["shuffle"],
    "sampler_mode": ["upsampling", "downsampling", "sqrt"],
    "clip_grad_norm": [1.0],
    "ema_decay": [0.999],
    "label_smoothing": [0.1],
    "warmup_steps": [1],
}
SMALL = dict(
    weights="none", head="linear", image_size=32, resize=36, batch_size=16, epochs=1, final_epochs=1, mixing_prob=1.0,
    sampler="balanced", sampler_mode=2,
)  # fmt: skip
ROWS = np.arange(0, 84, 6)  # two of each class


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A run folder that all tests share, so that the pictures are decoded once."""
    return tmp_path_factory.mktemp("switches")


def session(textiles, cache, **values):
    config = build_dataclass(RunConfig, {"data": {"root": str(textiles / "train")}, "student": {**SMALL, **values}})
    return Session(config, cache, torch.device("cpu"), argparse.Namespace())


def train(run, folder):
    """One step, on fourteen pictures."""
    train = run.config.student
    dataset, _ = steps.open_data(run, train)
    targets = smooth(one_hot(dataset.labels, 7), train.label_smoothing)
    batches = steps.make_train_batches(run, train, dataset, ROWS, targets)
    for images, target_probs in batches.epoch(0):
        assert images.shape[1:] == (3, 32, 32)
        assert images.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(target_probs.sum(1), torch.ones(len(images)))
    model = steps.new_model(run, train, 7)
    before = model.head[-1].weight.detach().clone()
    evaluate, meta = steps.evaluator(run, train, dataset, ROWS), steps.checkpoint_meta(train, dataset)
    (row,) = steps.train_model(run, train, model, batches, evaluate, folder, meta)
    assert math.isfinite(row["loss"])
    assert not torch.equal(model.head[-1].weight, before)
    assert ("ema_accuracy" in row) == bool(train.ema_decay)
    saved = load_checkpoint(folder / "best.pth")["meta"]
    assert saved["accuracy"] == row["ema_accuracy" if train.ema_decay else "accuracy"]
    assert saved["preprocessing"]["fit"] == train.fit


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in SWITCHES.items() for value in values])
def test_every_value_trains_a_step(textiles, cache, tmp_path, key, value):
    train(session(textiles, cache, **{key: value}), tmp_path)


def test_switches_go_together_and_into_the_second_stage(textiles, cache, tmp_path):
    run = session(
        textiles, cache, mixing={"cutmix": 1, "mixup": 1, "gridmask": 1}, mixing_alpha={"mixup": 0.2}, mixing_prob=1.0,
        augmentation="autoaugment", fit="pad", loss="focal", optimizer="over9000", schedule="onecycle", sampler_mode="sqrt",
        clip_grad_norm=1.0, ema_decay=0.99, label_smoothing=0.1, train_sizes=[24, 32], epochs=1,
    )  # fmt: skip
    section = run.config.student
    dataset, _ = steps.open_data(run, section)
    targets = smooth(one_hot(dataset.labels, 7), section.label_smoothing)
    batches = steps.make_train_batches(run, section, dataset, ROWS, targets)
    meta, evaluate = steps.checkpoint_meta(section, dataset), steps.evaluator(run, section, dataset, ROWS)
    steps.train_model(run, section, steps.new_model(run, section, 7), batches, evaluate, tmp_path, meta)
    final = steps.make_train_batches(run, section, dataset, ROWS, targets, final=True)
    assert [(tmp_path / name).is_file() for name in steps.train_final_epochs(run, section, final, tmp_path, meta)] == [True]
