"""Teachers in the loop: the distance by its formula, on what the student sees, without a trace on the teachers."""

import argparse

import numpy as np
import pytest
import torch
from torch import nn

from common.errors import UserError
from recipe import steps
from utils.checkpoints import load_checkpoint, save_checkpoint
from utils.config import RunConfig, build_dataclass
from utils.distillation import OnlineTeachers, Teacher, kl_divergence
from utils.losses import soft_cross_entropy
from utils.session import Session

SMALL = dict(weights="none", head="linear", image_size=32, resize=36, batch_size=16, epochs=1, sampler="shuffle")


class PixelMeans(nn.Module):
    """Logits are the means of the colour channels, so that what the teacher sees can be read from them."""

    def forward(self, x):
        return x.mean((2, 3))


def teacher(**kwargs):
    return Teacher(PixelMeans(), **{"image_size": 8, "scale": 1.0, "offset": 0.0, **kwargs})


def test_distance_is_the_formula():
    logits, teacher_logits = torch.randn(2, 5, 4)
    p, q = (np.exp(x.numpy() / 3) / np.exp(x.numpy() / 3).sum(1, keepdims=True) for x in (teacher_logits, logits))
    expected = 9 * (p * np.log(p / q)).sum(1).mean()
    assert kl_divergence((teacher_logits / 3).softmax(1), logits, 3.0).item() == pytest.approx(expected, rel=1e-4)
    assert kl_divergence(logits.softmax(1), logits, 1.0).item() == pytest.approx(0, abs=1e-6)


def test_at_temperature_1_the_gradient_is_that_of_the_teachers_probabilities_as_targets():
    logits, images = torch.randn(6, 3, requires_grad=True), torch.randn(6, 3, 8, 8)
    online = OnlineTeachers([teacher()], weight=0.3, temperature=1.0)
    labels = torch.eye(3)[[0, 1, 2, 0, 1, 2]]
    (ours,) = torch.autograd.grad(online.mix(soft_cross_entropy(logits, labels), logits, images), logits)
    (expected,) = torch.autograd.grad(soft_cross_entropy(logits, 0.7 * labels + 0.3 * online.probabilities(images)), logits)
    torch.testing.assert_close(ours, expected)


def test_several_teachers_are_averaged_as_probabilities():
    images = torch.randn(4, 3, 8, 8)
    two = [teacher(), teacher(scale=3.0)]
    mean = torch.stack([OnlineTeachers([one], 1.0, 2.0).probabilities(images) for one in two]).mean(0)
    torch.testing.assert_close(OnlineTeachers(two, 1.0, 2.0).probabilities(images), mean)


def test_teacher_gets_pixels_normalised_and_sized_as_it_was_trained():
    pixels = torch.rand(2, 3, 16, 16)
    ours, theirs = (pixels - 0.5) / 0.225, (pixels - 0.4) / 0.3
    converted = teacher(image_size=16, scale=0.225 / 0.3, offset=(0.5 - 0.4) / 0.3)
    torch.testing.assert_close(converted(ours), theirs.mean((2, 3)))
    assert Teacher(nn.Flatten(), 8, 1.0, 0.0)(ours).shape == (2, 3 * 8 * 8)


@pytest.mark.parametrize(("weight", "temperature", "message"), [(1.5, 1.0, "online_weight"), (0.5, 0.0, "temperature")])
def test_senseless_numbers_are_refused(weight, temperature, message):
    with pytest.raises(UserError, match=message):
        OnlineTeachers([teacher()], weight, temperature)


def session(textiles, folder, **values):
    config = build_dataclass(RunConfig, {"data": {"root": str(textiles / "train")}, "student": {**SMALL, **values}})
    return Session(config, folder, torch.device("cpu"), argparse.Namespace())


@pytest.fixture(scope="module")
def trained(textiles, tmp_path_factory):
    """A folder with teacher.pth, a network of another normalisation and size than the student's."""
    folder = tmp_path_factory.mktemp("teacher")
    run = session(textiles, folder, image_size=40, resize=40, std=1.0)
    dataset, _ = steps.open_data(run, run.config.student)
    model = steps.new_model(run, run.config.student, 7)
    save_checkpoint(folder / "teacher.pth", model.state_dict(), steps.checkpoint_meta(run.config.student, dataset))
    return folder


def test_student_learns_from_a_checkpoint_that_stays_as_it_is(textiles, trained, tmp_path):
    run = session(
        textiles, trained, distillation="online", online_teachers=[str(trained / "teacher.pth")], online_weight=1.0
    )  # fmt: skip
    train = run.config.student
    dataset, _ = steps.open_data(run, train)
    teachers, hashes = steps.online_teachers(run, train, dataset)
    model = teachers.teachers[0].model
    before, losses, labels = {key: value.clone() for key, value in model.state_dict().items()}, [], np.eye(7, dtype=np.float32)
    for i, targets in enumerate((labels[dataset.labels], labels[[0] * len(dataset)])):
        batches = steps.make_train_batches(run, train, dataset, np.arange(len(dataset)), targets)
        steps.train_model(run, train, steps.new_model(run, train, 7), batches, None, tmp_path / str(i), {}, teachers)
        losses.append(load_checkpoint(tmp_path / str(i) / "last.pth")["history"][0]["loss"])
    assert losses[0] == losses[1]  # with weight 1 the labels do not matter
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert len(hashes) == 1


def test_teachers_are_by_default_those_of_the_run(textiles, trained, tmp_path):
    config = build_dataclass(
        RunConfig,
        {"work_dir": str(tmp_path), "data": {"root": str(textiles / "train")}, "student": {**SMALL, "distillation": "online"}},
    )
    run = Session(config, config.folder, torch.device("cpu"), argparse.Namespace())
    for fold in (0, 1):
        saved = load_checkpoint(trained / "teacher.pth")
        save_checkpoint(config.folder / "teacher" / f"fold{fold}" / "best.pth", saved["model"], saved["meta"])
    dataset, _ = steps.open_data(run, config.student)
    assert len(steps.online_teachers(run, config.student, dataset)[0].teachers) == 2


def test_missing_and_foreign_teachers_are_refused(textiles, trained, tmp_path):
    run = session(textiles, trained, distillation="both")
    dataset, _ = steps.open_data(run, run.config.student)
    with pytest.raises(UserError, match=r"distillation='both' needs teachers, and .*/teacher has none\. Run e4\.py first"):
        steps.online_teachers(run, run.config.student, dataset)
    saved = load_checkpoint(trained / "teacher.pth")
    save_checkpoint(tmp_path / "other.pth", saved["model"], {**saved["meta"], "classes": list("abcdefg")})
    run = session(textiles, trained, distillation="online", online_teachers=[str(tmp_path / "other.pth")])
    with pytest.raises(UserError, match="a teacher of other classes"):
        steps.online_teachers(run, run.config.student, dataset)
