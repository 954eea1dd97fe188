"""Every value of every switch trains a step through the real path, from the config to a checkpoint that loads."""

import math

import numpy as np
import pytest
import torch

from data import augment
from data.mixing import MIXINGS
from data.targets import one_hot, smooth
from recipe import training
from recipe.pictures import HeldOut, open_data, preprocessing_of
from recipe.saved_model import new_model
from utils.checkpoints import load_checkpoint
from utils.config import RunConfig, build_dataclass
from utils.losses import LOSSES
from utils.optimizers import OPTIMIZERS
from utils.run_folder import RunFolder, TrainingFolder
from utils.schedules import SCHEDULES
from utils.session import Session

# The values of SMALL and the defaults need no test of their own.
SWITCHES = {
    "mixing": [*MIXINGS, {"cutmix": 2, "mixup": 1}],
    "augmentation": list(augment.PIPELINES),
    "augmentation_backend": ["albumentations"],
    "loss": list(LOSSES),
    "optimizer": list(OPTIMIZERS),
    "schedule": list(SCHEDULES),
    "sampler": ["shuffle"],
    "sampler_mode": ["upsampling", "downsampling", "sqrt"],
    "clip_grad_norm": [1.0],
    "ema_decay": [0.999],
    "label_smoothing": [0.1],
    "warmup_steps": [1],
    "weight_decay": [0.1],
    "backbone_lr_scale": [0.5],
    "frozen_stages": [3],
    "frozen_batchnorm": [True],
    "bn_momentum": [0.5],
    "dropout": [0.5],
    "train_sizes": [(24,)],
}
SMALL = dict(
    weights="none", head="linear", image_size=32, resize=36, batch_size=6, epochs=1, final_epochs=1, mixing_prob=1.0,
    sampler="balanced", sampler_mode=2,
)  # fmt: skip
ROWS = np.array([*range(0, 84, 6), 1, 2])  # two of each class and two more of one: three steps


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A run folder that all tests share, so that the pictures are decoded once."""
    return tmp_path_factory.mktemp("switches")


def session(textiles, cache, **values):
    config = build_dataclass(RunConfig, {"data": {"root": str(textiles / "train")}, "student": {**SMALL, **values}})
    return Session(config, RunFolder(cache), torch.device("cpu"))


def begin(run, folder):
    """(the training on fourteen pictures, its batches, its judge)."""
    section = run.config.student
    dataset, _ = open_data(run, preprocessing_of(section))
    targets = smooth(one_hot(dataset.labels, 7), section.label_smoothing)
    job = training.Training(run, section, dataset, TrainingFolder(folder), "the same pictures")
    return job, targets, training.evaluator(job, HeldOut(dataset, ROWS, "the same pictures"))


def train(run, folder):
    """One step; returns the weights that it ends with."""
    job, targets, evaluate = begin(run, folder)
    batches = training.train_batches(job, ROWS, targets)
    for images, target_probs in batches.epoch(0):
        assert images.shape[1:] == (3, *[(job.section.train_sizes or [32])[0]] * 2)
        assert images.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(target_probs.sum(1), torch.ones(len(images)))
    model = new_model(run, job.section, 7)
    (row,) = training.train_model(job, model, batches, evaluate)
    assert math.isfinite(row["loss"])
    assert ("ema_accuracy" in row) == bool(job.section.ema_decay)
    saved = load_checkpoint(job.folder.best)
    assert saved["meta"]["accuracy"] == row["ema_accuracy" if job.section.ema_decay else "accuracy"]
    assert saved["meta"]["preprocessing"]["fit"] == job.section.fit
    return saved["model"]


@pytest.fixture(scope="module")
def base_weights(textiles, cache, tmp_path_factory):
    return train(session(textiles, cache), tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in SWITCHES.items() for value in values])
def test_every_value_trains_a_step_and_changes_what_it_ends_with(textiles, cache, base_weights, tmp_path, key, value):
    weights = train(session(textiles, cache, **{key: value}), tmp_path)
    same = all(torch.equal(weights[name], tensor) for name, tensor in base_weights.items())
    assert same == (value == getattr(session(textiles, cache).config.student, key))


def test_switches_go_together_and_into_the_second_stage(textiles, cache, tmp_path):
    run = session(
        textiles, cache, mixing={"cutmix": 1, "mixup": 1, "gridmask": 1}, mixing_alpha={"mixup": 0.2}, mixing_prob=1.0,
        augmentation="autoaugment", fit="pad", loss="focal", optimizer="over9000", schedule="onecycle", sampler_mode="sqrt",
        clip_grad_norm=1.0, ema_decay=0.99, label_smoothing=0.1, train_sizes=[24, 32], epochs=1,
    )  # fmt: skip
    job, targets, evaluate = begin(run, tmp_path)
    batches = training.train_batches(job, ROWS, targets)
    training.train_model(job, new_model(run, job.section, 7), batches, evaluate)
    training.train_final_epochs(job, training.train_batches(job, ROWS, targets, final=True))
    assert job.folder.final(1).is_file()
    assert job.folder.averaged.is_file()
