"""Teachers in the loop: the distance by its formula, on what the student sees, without a trace on the teachers."""

import numpy as np
import pytest
import torch
from torch import nn

from common.errors import UserError
from data.preprocessing import Preprocessing
from recipe import training
from recipe.pictures import open_data, preprocessing_of
from recipe.saved_model import checkpoint_meta, new_model
from utils.checkpoints import load_checkpoint, save_checkpoint
from utils.config import RunConfig, build_dataclass
from utils.distillation import Teacher, kl_divergence, teacher_probabilities
from utils.losses import soft_cross_entropy
from utils.objective import plain, with_teachers
from utils.run_folder import RunFolder, TrainingFolder
from utils.session import Session

SMALL = dict(weights="none", head="linear", image_size=32, resize=36, batch_size=16, epochs=1, sampler="shuffle")


class PixelMeans(nn.Module):
    """Logits are the means of the colour channels, so that what the teacher sees can be read from them."""

    def forward(self, x):
        return x.mean((2, 3))


def teacher(**kwargs):
    return Teacher(PixelMeans(), **{"image_size": 8, "adapt": lambda images: images, **kwargs})


def test_distance_is_the_formula():
    logits, teacher_logits = torch.randn(2, 5, 4)
    p, q = (np.exp(x.numpy() / 3) / np.exp(x.numpy() / 3).sum(1, keepdims=True) for x in (teacher_logits, logits))
    expected = 9 * (p * np.log(p / q)).sum(1).mean()
    assert kl_divergence((teacher_logits / 3).softmax(1), logits, 3.0).item() == pytest.approx(expected, rel=1e-4)
    assert kl_divergence(logits.softmax(1), logits, 1.0).item() == pytest.approx(0, abs=1e-6)


def test_at_temperature_1_the_gradient_is_that_of_the_teachers_probabilities_as_targets():
    logits, images = torch.randn(6, 3, requires_grad=True), torch.randn(6, 3, 8, 8)
    objective = with_teachers(plain(soft_cross_entropy), [teacher()], weight=0.3, temperature=1.0)
    labels = torch.eye(3)[[0, 1, 2, 0, 1, 2]]
    (ours,) = torch.autograd.grad(objective(logits, labels, images, 0), logits)
    mixed = 0.7 * labels + 0.3 * teacher_probabilities([teacher()], images, 1.0)
    (expected,) = torch.autograd.grad(soft_cross_entropy(logits, mixed), logits)
    torch.testing.assert_close(ours, expected)


def test_several_teachers_are_averaged_as_probabilities():
    images = torch.randn(4, 3, 8, 8)
    two = [teacher(), teacher(adapt=lambda images: 3 * images)]
    mean = torch.stack([teacher_probabilities([one], images, 2.0) for one in two]).mean(0)
    torch.testing.assert_close(teacher_probabilities(two, images, 2.0), mean)


def test_teacher_gets_pixels_normalised_and_sized_as_it_was_trained():
    pixels = torch.rand(2, 3, 16, 16)
    student = Preprocessing(16, 16, "stretch", (0.5, 0.5, 0.5), (0.225,) * 3)
    theirs = Preprocessing(16, 16, "stretch", (0.4, 0.5, 0.6), (0.3, 0.2, 0.1))
    converted = teacher(image_size=16, adapt=lambda images: theirs.renormalise(images, student))
    expected = theirs.normalise(255 * pixels).mean((2, 3))
    torch.testing.assert_close(converted(student.normalise(255 * pixels)), expected, rtol=1e-4, atol=1e-5)
    assert Teacher(nn.Flatten(), 8, lambda images: images)(pixels).shape == (2, 3 * 8 * 8)


def session(textiles, folder, **values):
    config = build_dataclass(RunConfig, {"data": {"root": str(textiles / "train")}, "student": {**SMALL, **values}})
    return Session(config, RunFolder(folder), torch.device("cpu"))


def pictures(run):
    return open_data(run, preprocessing_of(run.config.student))[0]


def load_teachers(run):
    return training.load_teachers(run, run.config.student, pictures(run))


@pytest.fixture(scope="module")
def trained(textiles, tmp_path_factory):
    """A folder with teacher.pth, a network of another normalisation and size than the student's."""
    folder = tmp_path_factory.mktemp("teacher")
    run = session(textiles, folder, image_size=40, resize=40, std=1.0)
    model = new_model(run, run.config.student, 7)
    save_checkpoint(folder / "teacher.pth", model.state_dict(), checkpoint_meta(run.config.student, pictures(run), "nothing"))
    return folder


def test_student_learns_from_a_checkpoint_that_stays_as_it_is(textiles, trained, tmp_path):
    run = session(
        textiles, trained, distillation="online", online_teachers=[str(trained / "teacher.pth")], online_weight=1.0
    )  # fmt: skip
    dataset, (teachers, hashes) = pictures(run), load_teachers(run)
    model = teachers[0].model
    before, losses, labels = {key: value.clone() for key, value in model.state_dict().items()}, [], np.eye(7, dtype=np.float32)
    for i, targets in enumerate((labels[dataset.labels], labels[[0] * len(dataset)])):
        folder = TrainingFolder(tmp_path / str(i))
        job = training.Training(run, run.config.student, dataset, folder, "nothing", teachers)
        batches = training.train_batches(job, np.arange(len(dataset)), targets)
        training.train_model(job, new_model(run, run.config.student, 7), batches, None)
        losses.append(load_checkpoint(folder.last)["history"][0]["loss"])
    assert losses[0] == losses[1]  # with weight 1 the labels do not matter
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert len(hashes) == 1


def test_teachers_are_by_default_those_of_the_run(textiles, trained, tmp_path):
    run = session(textiles, tmp_path, distillation="online")
    run.folder.claim("teacher", {"num_folds": 2}, "")
    for fold in (0, 1):
        saved = load_checkpoint(trained / "teacher.pth")
        save_checkpoint(run.folder.fold(fold).best, saved["model"], saved["meta"])
        run.folder.fold(fold).oof.touch()
    assert len(load_teachers(run)[0]) == 2


def test_missing_and_foreign_teachers_are_refused(textiles, trained, tmp_path):
    with pytest.raises(UserError, match=r"distillation='both' needs teachers\. .*/teacher: no teacher there\. Run e4\.py first"):
        load_teachers(session(textiles, trained, distillation="both"))
    saved = load_checkpoint(trained / "teacher.pth")
    save_checkpoint(tmp_path / "other.pth", saved["model"], {**saved["meta"], "classes": list("abcdefg")})
    run = session(textiles, trained, distillation="online", online_teachers=[str(tmp_path / "other.pth")])
    with pytest.raises(UserError, match="a teacher of other classes"):
        load_teachers(run)
