"""The steps that fine-tuning rests on, and trainings split over processes, each seen in what it leaves."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import TWO_PROCESSES, refusal, run_script, with_random_statistics

from common.errors import UserError
from data.targets import one_hot
from recipe import training
from recipe.pictures import open_data, preprocessing_of
from recipe.saved_model import load_model, new_model
from utils import distributed
from utils.checkpoints import load_checkpoint
from utils.config import RunConfig, build_dataclass
from utils.engine import predict
from utils.run_folder import RunFolder, TrainingFolder
from utils.session import Session

SMALL = dict(
    weights="none", head="linear", image_size=32, resize=36, batch_size=16, epochs=1, final_epochs=0, mixing="none",
    sampler="shuffle", head_lr=0.01,
)  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("training")


@pytest.fixture
def job(textiles, cache, tmp_path):
    """(**values of the student's section) -> the training that they describe."""

    def make(**values):
        config = build_dataclass(
            RunConfig, {"data": {"root": str(textiles / "train")}, "student": {**SMALL, "dropout": 0.0, **values}}
        )
        run = Session(config, RunFolder(cache), torch.device("cpu"))
        dataset, _ = open_data(run, preprocessing_of(config.student))
        return training.Training(run, config.student, dataset, TrainingFolder(tmp_path), "themselves")

    return make


def targets_of(job):
    return one_hot(job.dataset.labels, 7)


@pytest.mark.parametrize("num_rows", [65, 64, 33])  # of 64 a batch: one picture more than fits, just as many, fewer
def test_the_head_learns_alone_on_any_number_of_pictures(job, num_rows, tmp_path):
    """BatchNorm in the head cannot train on a batch of one picture, which 65 in batches of 64 once left over."""
    job = job(head="mlp1280", batch_size=64, head_epochs=3)
    model = new_model(job.run, job.section, 7)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    training.train_head(job, model, np.arange(num_rows), targets_of(job), tmp_path / "features.npy")
    changed = {key.split(".")[0] for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"head"}
    assert np.load(tmp_path / "features.npy").shape == (2, 84, 576)


def test_head_epochs_teach_the_head_from_features_alone(job, tmp_path):
    part = job(head="mlp1280", head_epochs=20)
    model = with_random_statistics(new_model(part.run, part.section, 7))  # as fresh ones say the same of every picture
    training.train_head(part, model, np.arange(84), targets_of(part), tmp_path / "features.npy")
    losses = [row["loss"] for row in load_checkpoint(part.folder.head)["history"]]
    assert losses[-1] < losses[0] - 0.1


def test_head_epochs_go_on_after_a_kill_with_the_same_head(job, tmp_path):
    heads = []
    for parts in ([4], [2, 4]):
        for epochs in parts:
            part = job(head_epochs=epochs, head_lr=1e-9)  # so small that the schedule's length does not matter
            model = new_model(part.run, part.section, 7)
            training.train_head(part, model, np.arange(84), targets_of(part), tmp_path / "features.npy")
        heads.append(model.head.state_dict())
        part.folder.head.unlink()
    for key, value in heads[0].items():
        torch.testing.assert_close(value, heads[1][key], atol=1e-7, rtol=0)


def test_flip_test_is_the_mean_with_the_mirror_image(job):
    plain, flipped = job(), job(flip_test=True)
    model = with_random_statistics(new_model(plain.run, plain.section, 7))
    rows = np.arange(10)
    batches = list(training.eval_batches(plain, plain.dataset, rows))
    mirrored = predict(model, [images.flip(3) for images in batches])
    expected = (training.predict_rows(plain, model, plain.dataset, rows) + mirrored) / 2
    np.testing.assert_allclose(training.predict_rows(flipped, model, plain.dataset, rows), expected, atol=1e-6)
    assert np.abs(expected - mirrored).max() > 0


@pytest.mark.parametrize("flip_test", [False, True])
def test_a_head_that_learnt_alone_is_asked_about_the_features_that_are_kept(job, tmp_path, flip_test):
    """As the whole network answers, which no picture goes through again, for whichever fold's head."""
    how = {"backbone": "efficientnet_lite0", "weights": "imagenet", "head": "linear", "head_epochs": 9, "epochs": 0}
    part, path, rows = job(**how, flip_test=flip_test), tmp_path / "features.npy", np.arange(5, 40)
    model = new_model(part.run, part.section, 7)
    training.train_head(part, model, np.arange(40, 84), targets_of(part), path)
    expected = training.predict_rows(part, model, part.dataset, rows)
    assert expected.std(0).max() > 0.01
    model.backbone.forward = None
    np.testing.assert_allclose(training.predict_rows(part, model, part.dataset, rows, path), expected, atol=1e-6)


def test_a_fine_tuned_network_is_not_asked_about_the_features_of_before(job, tmp_path):
    part, path = job(head_epochs=1, epochs=1), tmp_path / "features.npy"
    model = with_random_statistics(new_model(part.run, part.section, 7))
    training.train_head(part, model, np.arange(84), targets_of(part), path)
    with_random_statistics(model)
    rows = np.arange(9)
    expected = training.predict_rows(part, model, part.dataset, rows)
    np.testing.assert_array_equal(training.predict_rows(part, model, part.dataset, rows, path), expected)


def test_backbone_learns_at_its_share_of_the_rate(job):
    """With plain SGD, half the rate is half the step."""
    moved = {}
    for scale in (1.0, 0.5):
        part = job(optimizer="sgd", schedule="constant", lr=0.01, backbone_lr_scale=scale, batch_size=84, frozen_batchnorm=True)
        model = new_model(part.run, part.section, 7)
        before = {key: value.clone() for key, value in model.named_parameters()}
        training.train_model(part, model, training.train_batches(part, np.arange(84), targets_of(part)), None)
        moved[scale] = {key: value - before[key] for key, value in model.named_parameters()}
        part.folder.last.unlink()
    for key, step in moved[1.0].items():
        share = 0.5 if key.startswith("backbone") else 1.0
        torch.testing.assert_close(moved[0.5][key], share * step, atol=1e-6, rtol=1e-3)


def test_weights_that_a_last_step_spoilt_are_not_kept(job):
    """The loss before that step is finite; once the run went on, and ended well."""
    part = job(optimizer="sgd", lr=3e38, batch_size=84)
    batches = training.train_batches(part, np.arange(84), targets_of(part))
    with pytest.raises(UserError, match=r"epoch 1: the (weights are|loss is) not finite"):
        training.train_model(part, new_model(part.run, part.section, 7), batches, None)
    assert not part.folder.last.is_file()


def test_second_stage_draws_other_pictures_than_the_first(job):
    part = job(train_sizes=(24, 32))
    first, final = (training.train_batches(part, np.arange(84), targets_of(part), final=final) for final in (False, True))
    assert first.view.size_at(0) == 24
    assert final.view.size_at(0) == 32
    assert not np.array_equal(first.sampler.indices(0), final.sampler.indices(0))


def test_names_are_checked_before_any_picture_is_read(textiles, tmp_path):
    for option, message in {
        "student.loss=hinge": "unknown loss 'hinge'",
        "student.optimizer=sgdd": "unknown optimizer 'sgdd'",
        "student.mixing=cutmic": "unknown mixing 'cutmic'",
        "student.augmentation=strong": "unknown augmentation 'strong'",
        "student.augmentation_backend=albumentations student.augmentation=autoaugment": "no Albumentations form",
        "student.head=lineal": "unknown head 'lineal'",
        "student.pooling=max": "unknown pooling 'max'",
        "student.backbone=resnet1": "unknown backbone 'resnet1'",
        "student.mixing={1:2}": "unknown mixing '{1:2}'",
        "student.sampler_mode=often": "sampler_mode='often'",
        "student.precision=fp16": "precision='fp16' needs a GPU",
    }.items():
        (tmp_path / "config.py").write_text("data = dict(root='nowhere')\n")
        options = [f"work_dir={tmp_path}", "device=cpu", *option.split()]
        assert message in refusal("m11.py", "config.py", "--cfg-options", *options, cwd=tmp_path)


def test_two_processes_learn_what_one_does(textiles, workplace, trained, call, tmp_path):
    """Without what belongs to a process: the randomness of dropout and augmentation, BatchNorm's statistics of its own batches."""
    options = [
        f"student.oof={trained / 'oof.csv'}", "student.mixing=none", "student.augmentation=none", "student.head=linear",
        "student.frozen_batchnorm=True", "student.dropout=0", "student.optimizer=sgd", "student.lr=0.05",
        "student.sampler=shuffle",
        f"data.cache={trained}",
    ]  # fmt: skip
    run_script("m11.py", "config.py", "--cfg-options", "name=alone", *options, cwd=workplace)
    call("m11.py", "config.py", "--cfg-options", "name=together", *options, launcher=TWO_PROCESSES)
    alone, together = (pd.read_csv(workplace / "runs" / name / "student" / "metrics.csv") for name in ("alone", "together"))
    np.testing.assert_allclose(together["loss"], alone["loss"], rtol=1e-4)
    np.testing.assert_allclose(together["accuracy"], alone["accuracy"], atol=1 / 28 + 1e-9)
    folder = RunFolder(workplace / "runs" / "together")
    assert folder.student.averaged.is_file()  # the second stage is trained together too
    assert folder.results()["student"]["best_accuracy"] == pytest.approx(together["accuracy"].max())


def test_folds_trained_by_two_processes_cover_every_picture(textiles, workplace, trained, call):
    options = ["name=folds", "teacher.head_epochs=1", "teacher.epochs=1", f"data.cache={trained}"]
    call("e4.py", "config.py", "--cfg-options", *options, launcher=TWO_PROCESSES)
    folder = workplace / "runs" / "folds"
    oof, index = pd.read_csv(folder / "oof.csv"), pd.read_csv(trained / "index.csv")
    assert list(oof["path"]) == list(index["path"])
    assert np.isfinite(oof.filter(like="p_").to_numpy()).all()
    assert load_model(folder / "teacher" / "fold0" / "best.pth").classes == sorted(index["label"].unique())


def test_more_processes_than_pictures_are_told_or_idle(job, monkeypatch):
    part = job(batch_size=16)
    model = new_model(part.run, part.section, 7)
    monkeypatch.setattr(distributed, "world_size", lambda: 8)
    monkeypatch.setattr(distributed, "rank", lambda: 7)
    monkeypatch.setattr(distributed, "gather_rows", lambda rows: rows)
    assert training.predict_rows(part, model, part.dataset, np.arange(3)).shape == (0, 7)  # this one has nothing to do
    with pytest.raises(UserError, match="9 pictures to train on are too few for 8 processes"):
        training.train_batches(part, np.arange(9), targets_of(part))
    with pytest.raises(UserError, match="batch_size=8 cannot be split over 8 processes evenly, two images each"):
        training.train_batches(job(batch_size=8), np.arange(84), targets_of(part))
