"""What teachers say of fixed views: out-of-fold, whole or not at all, of these pictures and networks or made again."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import TWO_PROCESSES, assert_same_weights, contents, refusal, run_script, weights
from processes import killed_at

from common.arrays import ArrayInParts, open_array
from common.errors import UserError
from common.files import read_json
from data.fixed_views import FixedViews
from data.targets import one_hot, read_oof
from data.view_targets import softmax
from data.views import to_device
from models import build_model
from recipe import stored_views
from recipe.pictures import open_data, preprocessing_of
from recipe.saved_model import load_model
from recipe.stored_views import open_stored_views
from utils import session
from utils.objective import plain, with_features
from utils.run_folder import RunFolder
from utils.schedules import fading

QUICK = ["student.epochs=1", "student.final_epochs=0", "student.num_views=3"]
VIEWS = [*QUICK, "student.distillation=views"]


@pytest.fixture
def run(workplace, trained, monkeypatch):
    """(name, *options) -> the `Session` of a run with the teacher of `trained`, up to where m11.py opens its pictures."""
    monkeypatch.chdir(workplace)

    def begin(name, *options):
        values = (f"name={name}", f"student.oof={trained / 'oof.csv'}", f"data.cache={trained}", *VIEWS, *options)
        return session.start("config.py", values)

    return begin


def opened(run):
    dataset, _ = open_data(run, preprocessing_of(run.config.student))
    return open_stored_views(run, one_hot(dataset.labels, 7))


def expected_logits(run, teacher_of, rows):
    """What PyTorch says, view by view, of the pictures number `rows`: `teacher_of(row)` is the model's checkpoint."""
    section = run.config.teacher
    squares, _ = open_data(run, preprocessing_of(section))
    views, logits = FixedViews(tuple(squares.paths), 3, run.config.seed), []
    for row in rows:
        cut = views.cut(squares.images, row * 3 + np.arange(3), section.image_size)
        images = preprocessing_of(section).normalise(to_device(cut, torch.device("cpu")))
        with torch.inference_mode():
            logits.append(load_model(teacher_of(row)).model(images).numpy())
    return np.stack(logits)


def test_each_view_is_labelled_by_the_model_that_never_saw_its_picture(run, trained):
    folds = pd.read_csv(trained / "oof.csv")["fold"]
    stored = opened(run("out_of_fold"))
    rows = [int(np.flatnonzero(folds == fold)[0]) for fold in range(3)]
    expected = expected_logits(run("out_of_fold"), lambda row: RunFolder(trained).fold(folds[row]).best, rows)
    np.testing.assert_allclose(stored.targets.logits.reshape(84, 3, 7)[rows], expected, atol=2e-3)
    assert stored.targets.logits.dtype == np.float16
    assert np.ptp(stored.targets.logits.reshape(84, 3, 7)[rows[0]], axis=0).max() > 1e-3  # views differ


def test_others_may_label_them(run, trained):
    folds = RunFolder(trained).teachers()
    mean = opened(run("mean", "student.views_by=mean")).targets.logits.reshape(84, 3, 7)[5]
    each = [softmax(expected_logits(run("mean"), lambda row, path=path: path, [5])[0]) for path in folds]
    np.testing.assert_allclose(softmax(mean), np.mean(each, 0), atol=2e-3)
    one = opened(run("one", f"student.views_by={folds[1]}")).targets.logits.reshape(84, 3, 7)[5]
    np.testing.assert_allclose(one, expected_logits(run("one"), lambda row: folds[1], [5])[0], atol=2e-3)


def test_they_are_made_once_and_again_for_other_views_or_teachers(run, workplace, monkeypatch):
    folder = workplace / "runs" / "once"
    opened(run("once"))
    with monkeypatch.context() as patched:
        patched.setattr(stored_views._OfPixels, "__call__", None)
        opened(run("once"))
    before = contents(folder, "views.npy")
    opened(run("once", "seed=7"))
    assert contents(folder, "views.npy") != before
    opened(run("once", "student.views_by=mean"))
    opened(run("once"))
    assert contents(folder, "views.npy") == before
    (folder / "views.npy").write_bytes((folder / "views.npy").read_bytes()[:-1] + b"\0")
    opened(run("once"))
    assert contents(folder, "views.npy") == before


def test_what_was_made_before_a_kill_is_not_made_again(run, workplace, monkeypatch):
    monkeypatch.setattr(stored_views, "PART", 10)
    answer = stored_views._OfPixels.__call__
    expected = opened(run("whole")).targets.logits.tobytes()
    asked = []

    def counting(self, network, rows):
        asked.append(len(rows))
        if len(asked) == 5:
            raise KeyboardInterrupt
        return answer(self, network, rows)

    monkeypatch.setattr(stored_views._OfPixels, "__call__", counting)
    with pytest.raises(KeyboardInterrupt):
        opened(run("stopped"))
    assert not (workplace / "runs" / "stopped" / "views.npy").exists()
    assert opened(run("stopped")).targets.logits.tobytes() == expected
    assert sum(asked) - asked[4] == 84
    assert not (workplace / "runs" / "stopped" / "views.parts").exists()


def test_an_array_in_parts_appears_whole_whenever_its_writer_is_killed(tmp_path):
    parts = [np.array([0, 2]), np.array([1, 3, 4])]

    def write():
        store = ArrayInParts(tmp_path / "a.npy", np.float16, (5, 2), parts, "mark")
        for number in store.missing():
            store.write(number, np.repeat(parts[number][:, None], 2, 1))
        store.join()

    step = 1
    while killed_at(step, write):
        array = open_array(tmp_path / "a.npy", "mark")
        assert array is None or np.array_equal(array[:, 0], np.arange(5))
        step += 1
    assert step > 10
    write()
    assert np.array_equal(open_array(tmp_path / "a.npy", "mark")[:, 1], np.arange(5))
    assert ArrayInParts(tmp_path / "a.npy", np.float16, (5, 2), parts, "other").missing() == [0, 1]


def test_two_processes_share_them_out(run, workplace, trained, call):
    alone = opened(run("alone_views", "student.feature_weight=1", "teacher.backbone=efficientnet_lite0", "teacher.weights=none"))
    options = [
        "name=shared_views",
        f"student.oof={trained / 'oof.csv'}",
        f"data.cache={trained}",
        *VIEWS,
        "student.feature_weight=1",
    ]
    options += ["teacher.backbone=efficientnet_lite0", "teacher.weights=none"]
    call("m11.py", "config.py", "--cfg-options", *options, launcher=TWO_PROCESSES)
    shared = workplace / "runs" / "shared_views"
    for name, expected in (("views.npy", alone.targets.logits), ("view_features.npy", alone.targets.features)):
        np.testing.assert_allclose(np.load(shared / name).reshape(expected.shape), expected, atol=2e-3)


def test_openvino_is_left_where_it_answers_otherwise(run, said, monkeypatch):
    expected = opened(run("by_openvino")).targets.logits
    queue = stored_views.OpenVinoQueue.__call__
    monkeypatch.setattr(stored_views.OpenVinoQueue, "__call__", lambda self, batches: [0.5 * part for part in queue(self, batches)])
    started = run("by_torch")
    said.clear()
    np.testing.assert_allclose(opened(started).targets.logits, expected, atol=2e-3)
    assert "OpenVINO answers otherwise than PyTorch" in said.text


LITE = [
    "teacher.backbone=efficientnet_lite0",
    "teacher.epochs=0",
    "teacher.head_epochs=2",
    "teacher.head=linear",
    "teacher.image_size=40",
]


def test_heads_answer_from_the_stored_features_what_the_whole_networks_do(workplace, trained, monkeypatch):
    common = ["name=heads", f"data.cache={trained}", *LITE]
    run_script("e4.py", "config.py", "--cfg-options", *common, cwd=workplace)
    monkeypatch.chdir(workplace)
    from_pixels = np.array(opened(session.start("config.py", [*common, *VIEWS])).targets.logits)
    (workplace / "runs" / "heads" / "views.npy").unlink()
    stored = opened(session.start("config.py", [*common, *VIEWS, "student.feature_weight=1"]))
    np.testing.assert_allclose(stored.targets.logits, from_pixels, atol=5e-3)
    assert stored.num_features == 1280
    saved = load_model(RunFolder(workplace / "runs" / "heads").fold(0).best).model
    assert torch.equal(
        saved.backbone.stages[0][0].weight, build_model("efficientnet_lite0", 7, weights="imagenet").backbone.stages[0][0].weight
    )


# The student


@pytest.fixture(scope="module")
def taught(workplace, trained):
    """The folder of a finished run that learnt stored logits and features."""
    options = ["name=taught", f"student.oof={trained / 'oof.csv'}", f"data.cache={trained}", *VIEWS, "student.feature_weight=1"]
    run_script("m11.py", "config.py", "--cfg-options", *options, "student.final_epochs=1", "student.control=True", cwd=workplace)
    return workplace / "runs" / "taught"


def test_what_is_for_training_alone_is_not_in_the_student(taught, trained):
    for name in ("best.pth", "averaged.pth"):
        assert weights(taught / "student" / name).keys() == weights(trained / "student" / name).keys()


def test_the_same_command_goes_on(taught, workplace, trained):
    again = shutil.copytree(taught, workplace / "runs" / "taught_again")
    for name in ("averaged.pth", "final_1.pth", "final_last.pth"):
        (again / "student" / name).unlink()
    options = [
        "name=taught_again",
        f"student.oof={trained / 'oof.csv'}",
        f"data.cache={trained}",
        *VIEWS,
        "student.feature_weight=1",
    ]
    run_script("m11.py", "config.py", "--cfg-options", *options, "student.final_epochs=1", cwd=workplace)
    assert_same_weights(taught / "student" / "averaged.pth", again / "student" / "averaged.pth")
    told = refusal(
        "m11.py", "config.py", "--cfg-options", *options, "student.final_epochs=1", "student.views_by=mean", cwd=workplace
    )
    assert "holds a run with other settings:\n    views:" in told


def test_likeness_to_the_teacher_is_measured(taught, trained, workplace):
    results = read_json(taught / "results.json")["student"]
    dataset, validation = open_data(session.reopen(taught), preprocessing_of(session.reopen(taught).config.student))
    teacher = np.mean([read_oof(RunFolder(trained).fold(k).validation, validation) for k in range(3)], axis=0)
    saved = load_model(taught / "student" / "best.pth")
    images = saved.preprocessing.normalise(to_device(saved.preprocessing.cut(validation.images[:]), torch.device("cpu")))
    with torch.inference_mode():
        probs = saved.model(images).softmax(1).numpy()
    assert results["best_teacher_agreement"] == pytest.approx(np.mean(probs.argmax(1) == teacher.argmax(1)), abs=1e-6)
    assert results["best_teacher_kl"] == pytest.approx((teacher * np.log(teacher / probs)).sum(1).mean(), rel=1e-3)
    assert {"averaged_teacher_kl", "control_best_teacher_agreement"} <= results.keys()
    held_out = run_and_read(workplace, trained, "likeness_of_fold", "data.val_root=null")
    assert 0 <= held_out["best_teacher_agreement"] <= 1
    checkpoint = f"student.views_by={trained / 'student' / 'best.pth'}"
    own = run_and_read(workplace, trained, "likeness_of_checkpoint", checkpoint, *VIEWS)
    assert own["best_teacher_kl"] > 0
    assert "best_teacher_kl" not in run_and_read(workplace, trained, "likeness_of_none", "student.distillation=none")


def run_and_read(workplace, trained, name, *options):
    common = [f"name={name}", f"student.oof={trained / 'oof.csv'}", *QUICK]
    run_script("m11.py", "config.py", "--cfg-options", *common, *options, cwd=workplace)
    return read_json(workplace / "runs" / name / "results.json")["student"]


# Features


def test_the_hidden_layer_is_shown_in_training_alone():
    model = build_model("mobilenet_v3_small", 5, head="mlp1280", dropout=0.0)
    images = torch.randn(4, 3, 32, 32)
    model.train()
    plain_logits = model(images)
    model.show_hidden(1280)
    shown = model(images)
    assert shown.shape == (4, 1285)
    torch.testing.assert_close(shown[:, :5], plain_logits)
    assert (shown[:, 5:] >= 0).all()
    torch.testing.assert_close(model.head[4](shown[:, 5:]), plain_logits)
    assert model.eval()(images).shape == (4, 5)
    for head, count in (("linear", 1), ("mlp1280", 1281)):
        with pytest.raises(UserError, match="hidden layer of this head has (0|1280) units"):
            build_model("mobilenet_v3_small", 5, head=head).show_hidden(count)


def test_features_pull_beside_the_loss_and_let_go_in_the_last_third():
    weight_at = fading(2.0, 30)
    assert [weight_at(step) for step in (0, 20, 25, 29)] == pytest.approx([2, 2, 1, 0.2])
    objective = with_features(plain(lambda logits, targets: (logits - targets).abs().sum()), 2, weight_at)
    outputs = torch.tensor([[1.0, 2.0, 3.0, 0.0], [0.0, 0.0, 0.0, 5.0]])
    targets = torch.tensor([[1.0, 1.0, 7.0, 0.0], [0.0, 0.0, 4.0, 0.0]])  # the same direction; at a right angle
    assert objective(outputs, targets, None, 0).item() == pytest.approx(1 + 2 * 0.5)
    assert objective(outputs, targets, None, 25).item() == pytest.approx(1 + 1 * 0.5)


# Unlabelled pictures


@pytest.fixture
def pool(textiles, tmp_path):
    """A folder of 28 pictures without classes, in folders that mean nothing, one of the 28 that judge among them."""
    root = tmp_path / "pool"
    for i, path in enumerate(sorted((textiles / "train").rglob("*.jpg"))[::3]):
        target = root / f"day {i % 3}" / f"{i}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes() + b"\0")  # another file, as far as its content tells
    shutil.copy(next((textiles / "validation").rglob("*.jpg")), root / "judge.jpg")
    return root


def test_unlabelled_pictures_are_labelled_by_all_folds_and_learnt_with_the_others(run, pool, trained, said):
    started = run("pool", f"data.unlabelled={pool}")
    said.clear()
    stored = opened(started)
    assert len(stored.images) == 84 + 29
    assert "is also in the unlabelled pictures" in said.text
    assert list(stored.unlabelled) == list(range(84, 113))
    logits = stored.targets.logits.reshape(113, 3, 7)
    last = stored.targets[[112 * 3]]
    np.testing.assert_allclose(last, softmax(logits[112:, 0]), atol=1e-6)  # no label, so all of it is the teachers'
    labelled = softmax(logits[:1, 0])
    np.testing.assert_allclose(stored.targets[[0]], 0.8 * one_hot(np.array([0]), 7) + 0.2 * labelled, atol=1e-6)


def test_a_student_learns_from_both(pool, workplace, trained):
    options = ["name=both_kinds", f"student.oof={trained / 'oof.csv'}", f"data.unlabelled={pool}", *VIEWS, "student.final_epochs=1"]
    run_script("m11.py", "config.py", "--cfg-options", *options, cwd=workplace)
    assert (workplace / "runs" / "both_kinds" / "student" / "averaged.pth").is_file()
    shutil.rmtree(pool / "day 1")
    assert "views:" in refusal("m11.py", "config.py", "--cfg-options", *options, cwd=workplace)


def test_bad_unlabelled_pictures_are_told_as_labelled_ones(pool, run):
    (pool / "day 0" / "0.jpg").write_bytes((pool / "day 0" / "0.jpg").read_bytes()[:500])
    (pool / "empty.jpg").touch()
    with pytest.raises(UserError, match=r"2 (bad|unreadable|pictures|files)"):
        opened(run("bad_pool", f"data.unlabelled={pool}"))


# Refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["data.unlabelled=somewhere"], "teach through stored views alone. Set student.distillation=views"),
        ([*VIEWS, "data.unlabelled=nowhere"], "nowhere: no such folder. data.unlabelled must be a folder of pictures"),
        ([*VIEWS, "name=no_teacher"], "no teacher there. Run e4.py first"),
        ([*VIEWS, "student.views_by=nobody.pth"], "nobody.pth: no such checkpoint"),
        ([*VIEWS, "student.augmentation_backend=albumentations"], "cuts for itself"),
        (["student.feature_weight=1", "student.head=linear"], "only the head 'mlp1280' learns features, not 'linear'"),
        ([*VIEWS, "student.num_views=0"], "student.num_views"),
        ([*VIEWS, "student.fit=pad", "student.oof={oof}"], "knows pictures with fit='stretch', not 'pad'"),
        (["student.distillation=view"], "student.distillation"),
    ],
)
def test_what_cannot_be_is_told(options, message, workplace, trained):
    values = ["name=refused", *(option.format(oof=trained / "oof.csv") for option in options)]
    assert message in refusal("m11.py", "config.py", "--cfg-options", *values, cwd=workplace)
