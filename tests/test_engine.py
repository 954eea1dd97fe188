"""The loop: it learns, repeats itself, goes on after an interruption, weighs every image once, and stops at nonsense."""

import numpy as np
import pytest
import torch
from helpers import preprocessing
from torch import nn

from common.errors import UserError
from data.batches import EvalBatches, TrainBatches
from data.samplers import ShuffleSampler
from data.targets import one_hot
from data.views import TrainView
from utils.averaging import average_checkpoints, average_states
from utils.checkpoints import load_checkpoint, save_checkpoint
from utils.ema import MovingAverage
from utils.engine import Checkpoints, fit, predict, train_one_epoch
from utils.losses import soft_cross_entropy
from utils.metrics import accuracy
from utils.objective import plain
from utils.optimizers import OPTIMIZERS, build_optimizer
from utils.precision import Precision
from utils.schedules import constant, cosine

CPU = torch.device("cpu")
PIXELS = preprocessing(40, 40, std=0.25)


def tiny_model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=4), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(32, 7),
    )  # fmt: skip


def train_batches(dataset, rows=None, batch_size=16, augmentation="teacher", targets=None, **kwargs):
    rows = np.arange(len(dataset)) if rows is None else rows
    targets = one_hot(dataset.labels, 7) if targets is None else targets
    return TrainBatches(
        dataset.images, targets, ShuffleSampler(len(rows)), rows=rows, batch_size=batch_size,
        view=TrainView(PIXELS, augmentation), seed=3, **kwargs,
    )  # fmt: skip


def run_fit(dataset, folder, epochs=4, model=None, lr=0.01, optimizer="radam", ema_decay=None, checkpoints=None, **kwargs):
    model = model or tiny_model()
    batches = train_batches(dataset, batch_size=20)  # 5 steps an epoch, so that Lookahead's sixth falls within one
    eval_batches = EvalBatches(dataset.images, np.arange(28), batch_size=9, preprocessing=PIXELS)
    history = fit(
        model, batches, build_optimizer(optimizer, [(model, 1.0)], lr=lr), cosine(lr, 4 * len(batches)), plain(soft_cross_entropy),
        epochs=epochs, precision=Precision("fp32", CPU),
        checkpoints=checkpoints or Checkpoints(folder / "last.pth", {}, best=folder / "best.pth"),
        evaluate=lambda m: (predict(m, eval_batches), dataset.labels[:28]),
        ema=MovingAverage(model, ema_decay) if ema_decay else None, **kwargs,
    )  # fmt: skip
    return model, history


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in a)


def test_eight_pictures_are_learnt_by_heart(dataset, tmp_path):
    model, rows = tiny_model(), np.arange(0, 80, 10)
    batches = train_batches(dataset, rows, augmentation="none", batch_size=8)
    optimizer = build_optimizer("adam", [(model, 1.0)], lr=0.01)
    for epoch in range(80):
        metrics = train_one_epoch(
            model, batches, optimizer, constant(0.01), Precision("fp32", CPU), plain(soft_cross_entropy), epoch=epoch
        )
    assert metrics["loss"] < 0.1


def test_same_seed_gives_the_same_weights_to_the_bit(dataset, tmp_path):
    (a, _), (b, _) = run_fit(dataset, tmp_path / "a"), run_fit(dataset, tmp_path / "b")
    assert same(a.state_dict(), b.state_dict())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_interrupted_run_ends_with_the_same_weights(dataset, tmp_path, optimizer):
    kwargs = {"optimizer": optimizer, "ema_decay": 0.9}
    whole, history = run_fit(dataset, tmp_path / "whole", **kwargs)
    run_fit(dataset, tmp_path / "cut", epochs=2, **kwargs)
    resumed, resumed_history = run_fit(dataset, tmp_path / "cut", model=tiny_model(seed=99), **kwargs)
    assert same(whole.state_dict(), resumed.state_dict())
    for column in ("loss", "accuracy", "ema_accuracy"):
        assert [row[column] for row in history] == [row[column] for row in resumed_history]
    averages = [load_checkpoint(tmp_path / name / "last.pth")["ema"]["model"] for name in ("whole", "cut")]
    assert same(*averages)


def test_moving_average_follows_its_formula_and_copies_integers():
    model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.BatchNorm1d(1))
    ema, expected = MovingAverage(model, 0.4), [model[0].weight.detach().clone(), model[1].running_mean.clone()]
    for decay in (1 / 10, 2 / 11, 3 / 12, 4 / 13, 5 / 14, 0.4, 0.4):
        with torch.no_grad():
            model[0].weight.normal_()
        model(torch.randn(8, 2) + 3)
        now = model[0].weight.detach(), model[1].running_mean
        expected = [decay * average + (1 - decay) * value for average, value in zip(expected, now, strict=True)]
        ema.update()
        torch.testing.assert_close([ema.model[0].weight, ema.model[1].running_mean], expected)
    assert ema.model[1].num_batches_tracked == 7
    assert not ema.model[0].weight.requires_grad


def test_averaged_weights_are_judged_and_kept_as_the_best(dataset, tmp_path):
    model, history = run_fit(dataset, tmp_path, ema_decay=0.9)
    accuracies = [row["ema_accuracy"] for row in history]
    best, last = load_checkpoint(tmp_path / "best.pth"), load_checkpoint(tmp_path / "last.pth")
    assert (best["meta"]["epoch"], best["meta"]["accuracy"]) == (1 + int(np.argmax(accuracies)), max(accuracies))
    assert same(last["model"], model.state_dict())
    assert not same(last["model"], last["ema"]["model"])
    kept = tiny_model()
    kept.load_state_dict(best["model"])
    batches = EvalBatches(dataset.images, np.arange(28), batch_size=9, preprocessing=PIXELS)
    assert accuracy(predict(kept, batches), dataset.labels[:28]) == max(accuracies)
    assert {"accuracy", "ema_accuracy"} <= set((tmp_path / "metrics.csv").read_text().splitlines()[0].split(","))


def test_average_does_not_change_how_the_weights_train(dataset, tmp_path):
    (plain, _), (averaged, _) = run_fit(dataset, tmp_path / "a"), run_fit(dataset, tmp_path / "b", ema_decay=0.9)
    assert same(plain.state_dict(), averaged.state_dict())


@pytest.mark.parametrize("scaled", [False, True])
def test_long_gradients_are_clipped_and_short_ones_kept(scaled):
    for factor, expected in ((1.0, 0.5), (0.01, 0.05)):  # gradients of length 5 and 0.05
        weights = nn.Parameter(torch.zeros(2))
        precision = Precision("fp32", CPU, clip_grad_norm=0.5)
        if scaled:  # as fp16 does on a GPU
            precision.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        precision.step((weights * torch.tensor([3.0, 4.0]) * factor).sum(), torch.optim.SGD([weights], lr=1.0))
        torch.testing.assert_close(-weights.detach(), torch.tensor([0.6, 0.8]) * expected, rtol=1e-4, atol=0)


def test_checkpoint_of_another_version_is_refused_in_one_line(dataset, tmp_path):
    run_fit(dataset, tmp_path, epochs=1)
    saved = load_checkpoint(tmp_path / "last.pth")
    saved["optimizer"]["param_groups"].pop()
    model, meta = saved.pop("model"), saved.pop("meta")
    save_checkpoint(tmp_path / "last.pth", model, meta, **saved)
    with pytest.raises(UserError, match=r"last\.pth: of another version of this project"):
        run_fit(dataset, tmp_path, epochs=2)


def test_best_survives_beside_last(dataset, tmp_path):
    _, history = run_fit(dataset, tmp_path)
    best, last = load_checkpoint(tmp_path / "best.pth"), load_checkpoint(tmp_path / "last.pth")
    accuracies = [row["accuracy"] for row in history]
    assert best["meta"]["epoch"] == 1 + int(np.argmax(accuracies))
    assert best["meta"]["accuracy"] == max(accuracies)
    assert last["meta"]["epoch"] == 4


@pytest.mark.parametrize("name", ["best.pth", "each_1.pth"])
def test_a_kept_checkpoint_that_is_gone_comes_back_by_training_again(dataset, tmp_path, name, said):
    """Such as after "damaged: delete it and train again", which once ended in "no such checkpoint"."""
    files = Checkpoints(tmp_path / "last.pth", {}, best=tmp_path / "best.pth", each=lambda epoch: tmp_path / f"each_{epoch}.pth")
    run_fit(dataset, tmp_path, epochs=2, checkpoints=files)
    before = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    _, history = run_fit(dataset, tmp_path, epochs=2, checkpoints=files)
    assert (tmp_path / name).read_bytes() == before
    assert [row["epoch"] for row in history] == [1, 2]
    assert f"{name}: gone, so" in said.text


def test_loop_asks_for_the_rate_of_every_step(dataset):
    asked = []
    model, batches = tiny_model(), train_batches(dataset)
    optimizer = build_optimizer("sgd", [(model[:5], 0.1), (model[8], 1.0)], lr=1.0)

    def lr_at(step):
        asked.append(step)
        return 0.5

    train_one_epoch(model, batches, optimizer, lr_at, Precision("fp32", CPU), plain(soft_cross_entropy), epoch=2)
    assert asked == list(range(2 * len(batches), 3 * len(batches)))
    assert {group["lr_scale"]: group["lr"] for group in optimizer.param_groups} == {0.1: 0.05, 1.0: 0.5}


def test_short_last_batch_is_not_counted_as_a_full_one(dataset):
    class Constant(nn.Module):  # a model that does not learn: the loss of every image is known
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(7))

        def forward(self, x):
            return self.bias + torch.zeros(len(x), 7).index_fill_(1, torch.tensor(0), 2.0)

    rows = np.arange(20)  # batches of 16 and 4
    batches = train_batches(dataset, rows, augmentation="none")
    model = Constant()
    optimizer = build_optimizer("sgd", [(model, 1.0)], lr=0.0)
    metrics = train_one_epoch(model, batches, optimizer, constant(0.0), Precision("fp32", CPU), plain(soft_cross_entropy), epoch=0)
    logits = torch.zeros(20, 7).index_fill_(1, torch.tensor(0), 2.0)
    assert metrics["loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, torch.tensor(dataset.labels[:20]))), rel=1e-5)


def test_loss_that_is_not_finite_stops_the_run(dataset, tmp_path):
    targets = np.full((len(dataset), 7), np.nan, np.float32)
    model, batches = tiny_model(), train_batches(dataset, targets=targets)
    with pytest.raises(UserError, match="epoch 1: the loss is not finite"):
        train_one_epoch(
            model,
            batches,
            build_optimizer("sgd", [(model, 1.0)], lr=0.1),
            constant(0.1),
            Precision("fp32", CPU),
            plain(soft_cross_entropy),
            epoch=0,
        )


def test_predict_keeps_the_order_whatever_the_batch_size(dataset):
    model, rows = tiny_model().eval(), np.random.default_rng(0).permutation(len(dataset))
    by = {
        n: predict(model, EvalBatches(dataset.images, rows, batch_size=n, preprocessing=preprocessing(32, 40, std=0.25)))
        for n in (1, 7, 84)
    }
    assert by[1].shape == (84, 7)
    np.testing.assert_allclose(by[1].sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(by[7], by[1], atol=1e-5)
    np.testing.assert_allclose(by[84], by[1], atol=1e-5)


def test_errors_while_preparing_batches_reach_the_loop(dataset):
    batches = train_batches(dataset)
    batches.view.operations = (lambda images, rng: 1 / 0,)
    with pytest.raises(ZeroDivisionError):
        list(batches.epoch(0))


def test_averaging_takes_floats_and_keeps_integers():
    states = [{"w": torch.tensor([1.0, v]), "n": torch.tensor(10 * v, dtype=torch.long)} for v in (1.0, 2.0, 6.0)]
    averaged = average_states(states)
    torch.testing.assert_close(averaged["w"], torch.tensor([1.0, 3.0]))
    assert averaged["n"] == 60
    assert averaged["n"].dtype == torch.long


def test_checkpoints_are_averaged_on_disk(tmp_path):
    for i in (1, 3):
        save_checkpoint(tmp_path / f"{i}.pth", {"w": torch.tensor([float(i)])}, {"epoch": i})
    average_checkpoints([tmp_path / "1.pth", tmp_path / "3.pth"], tmp_path / "mean.pth")
    saved = load_checkpoint(tmp_path / "mean.pth")
    assert saved["model"]["w"] == 2
    assert saved["meta"] == {"epoch": 3}


def test_checkpoint_that_is_damaged_or_unsafe_is_refused(tmp_path):
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04")
    torch.save({"model": {}, "meta": {}}, tmp_path / "foreign.pth")
    save_checkpoint(tmp_path / "code.pth", {}, {"harmless": print})
    for name in ("cut.pth", "foreign.pth", "code.pth"):
        with pytest.raises(UserError, match="not a checkpoint of this project"):
            load_checkpoint(tmp_path / name)
    with pytest.raises(UserError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "none.pth")


def test_failed_save_leaves_the_old_checkpoint(tmp_path):
    save_checkpoint(tmp_path / "a.pth", {"w": torch.ones(1)}, {})
    with pytest.raises((TypeError, AttributeError, RuntimeError)):
        save_checkpoint(tmp_path / "a.pth", {"w": (i for i in range(3))}, {})
    assert load_checkpoint(tmp_path / "a.pth")["model"]["w"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_apex_and_fp16_say_what_they_need():
    with pytest.raises(UserError, match="needs a GPU"):
        Precision("apex", CPU)
    with pytest.raises(UserError, match="needs a GPU"):
        Precision("fp16", CPU)
    assert Precision("auto", CPU).mode == "fp32"
