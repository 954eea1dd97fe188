"""What teachers say of fixed views: out-of-fold, whole or not at all, of these pictures and networks or made again."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import TWO_PROCESSES, assert_same_weights, refusal, run_script
from processes import kill_once_there, killed_at

from common.arrays import ArrayInParts, open_array
from common.errors import UserError
from common.files import read_json
from data.fixed_views import FixedViews
from data.targets import one_hot, read_oof
from data.view_targets import softmax
from data.views import to_device
from recipe import stored_views, view_store
from recipe.pictures import open_data, open_test, preprocessing_of, student_split
from recipe.saved_model import load_model
from recipe.stored_views import open_stored_views
from recipe.training import Training, train_batches
from utils import session
from utils.run_folder import RunFolder

QUICK = ["student.epochs=1", "student.final_epochs=0", "student.num_views=3"]
VIEWS = [*QUICK, "student.distillation=views"]


LITE = [
    "teacher.backbone=efficientnet_lite0", "teacher.weights=imagenet", "teacher.epochs=0", "teacher.head_epochs=5",
    "teacher.head=linear", "teacher.image_size=40",
]  # fmt: skip


@pytest.fixture(scope="module")
def heads(workplace, trained):
    """The finished run of a teacher that has something to say of each view: heads on ImageNet features."""
    run_script("e4.py", "config.py", "--cfg-options", "name=heads", f"data.cache={trained}", *LITE, cwd=workplace)
    return RunFolder(workplace / "runs" / "heads")


@pytest.fixture
def teacher(heads, tmp_path):
    """A copy of it, for views to lie in."""
    return RunFolder(shutil.copytree(heads.path, tmp_path / "teacher"))


@pytest.fixture
def run(workplace, trained, teacher, monkeypatch):
    """(*options) -> the `Session` of a student with that teacher, up to where m11.py opens its pictures."""
    monkeypatch.chdir(workplace)

    def begin(*options):
        values = ("name=views", f"student.oof={teacher.oof}", f"data.cache={trained}", *VIEWS, *LITE, *options)
        return session.start("config.py", values)

    return begin


@pytest.fixture
def by_torch(monkeypatch):
    """Networks are asked through PyTorch: compiling them takes seconds."""
    monkeypatch.setattr(view_store, "OpenVinoQueue", lambda *arguments: lambda batches: [np.full(1, np.inf)])


def opened(run):
    dataset, validation = open_data(run, preprocessing_of(run.config.student))
    rows, held_out = student_split(run, dataset, validation)
    return open_stored_views(run, dataset, rows, held_out, one_hot(dataset.labels, 7))


def logits_of(stored, row):
    return np.array(stored.targets.logits.reshape(-1, 3, 7)[row])


def expected_logits(run, path, row):
    """What the checkpoint `path` says through PyTorch, view by view, of the picture number `row`."""
    saved = load_model(path)
    squares, _ = open_data(run, saved.preprocessing)
    views = FixedViews(tuple(squares.paths), 3, stored_views.SEED)
    cut = views.cut(squares.images, row * 3 + np.arange(3), saved.preprocessing.image_size)
    with torch.inference_mode():
        return saved.model(saved.preprocessing.normalise(to_device(cut, torch.device("cpu")))).numpy()


def test_each_view_is_labelled_by_the_model_that_never_saw_its_picture(run, teacher, said):
    started = run()
    said.clear()
    stored = opened(started)
    assert "OpenVINO answers otherwise" not in said.text
    assert "views.npy: 252 views, 252 of them looked at now, in " in said.text
    folds = pd.read_csv(teacher.oof)["fold"]
    for fold in range(3):
        row = int(np.flatnonzero(folds == fold)[-1])
        np.testing.assert_allclose(logits_of(stored, row), expected_logits(run(), teacher.fold(fold).best, row), atol=2e-3)
        assert np.ptp(logits_of(stored, row), axis=0).max() > 1e-3  # views differ
    assert stored.targets.logits.dtype == np.float16


def test_others_may_label_them(run, teacher, trained, by_torch):
    mean = logits_of(opened(run("student.views_by=mean")), 5)
    each = [softmax(expected_logits(run(), path, 5)) for path in teacher.teachers()]
    np.testing.assert_allclose(softmax(mean), np.mean(each, 0), atol=2e-3)
    student = trained / "student" / "averaged.pth"
    one = logits_of(opened(run(f"student.views_by={student}")), 5)
    np.testing.assert_allclose(one, expected_logits(run(), student, 5), atol=2e-3)


def test_blended_views_are_of_pictures_that_their_labeller_never_saw(run, teacher, by_torch):
    stored = opened(run("student.blended_views=0.8"))
    folds = pd.read_csv(teacher.oof)["fold"].to_numpy()
    rows, others, share = stored.fixed.pictures(np.arange(84 * 3))
    assert np.array_equal(folds[rows], folds[others])
    index = int(np.flatnonzero((share > 0.3) & (share < 0.7))[0])
    saved = load_model(teacher.fold(folds[rows[index]]).best)
    cut = stored.fixed.cut(open_data(run(), saved.preprocessing)[0].images, [index], saved.preprocessing.image_size)
    with torch.inference_mode():
        expected = saved.model(saved.preprocessing.normalise(to_device(cut, torch.device("cpu")))).numpy()
    np.testing.assert_allclose(stored.targets.logits[[index]], expected, atol=5e-3)
    one = np.eye(7, dtype=np.float32)[pd.factorize(pd.read_csv(teacher.oof)["label"], sort=True)[0]]
    hard = share[index] * one[rows[index]] + (1 - share[index]) * one[others[index]]
    np.testing.assert_allclose(stored.targets[[index]][0], 0.8 * hard + 0.2 * softmax(expected)[0], atol=1e-3)


@pytest.mark.parametrize("by", ["folds", "mean"])
def test_no_view_shows_a_picture_that_judges_the_student(run, by_torch, by):
    started = run("student.blended_views=0.9", f"student.views_by={by}", "data.val_root=None", "student.num_folds=3")
    held_out = set(student_split(started, *open_data(started, preprocessing_of(started.config.student)))[1].rows)
    rows, others, _ = opened(started).fixed.pictures(np.arange(84 * 3))
    assert len(held_out) == 28
    assert all((row in held_out) == (other in held_out) for row, other in zip(rows, others, strict=True))


def test_they_are_made_once_and_again_for_other_views_or_teachers(run, teacher, by_torch, monkeypatch):
    opened(run())
    before = teacher.views.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(view_store.OfPixels, "__call__", None)
        opened(run("seed=7"))  # another student may learn from them
    opened(run("student.num_views=2"))
    assert np.load(teacher.views).shape == (84, 2, 7)
    opened(run("student.views_by=mean"))
    assert teacher.views.read_bytes() != before
    opened(run())
    assert teacher.views.read_bytes() == before
    teacher.views.write_bytes(before[:-1] + b"\0")
    opened(run())
    assert teacher.views.read_bytes() == before


def test_what_was_made_before_a_kill_is_not_made_again(run, teacher, by_torch, monkeypatch):
    monkeypatch.setattr(view_store, "PART", 10)
    answer = view_store.OfPixels.__call__
    expected = opened(run()).targets.logits.tobytes()
    teacher.views.unlink()
    asked = []

    def counting(self, network, rows):
        asked.append(len(rows))
        if len(asked) == 5:
            raise KeyboardInterrupt
        return answer(self, network, rows)

    monkeypatch.setattr(view_store.OfPixels, "__call__", counting)
    with pytest.raises(KeyboardInterrupt):
        opened(run())
    assert not teacher.views.exists()
    assert opened(run()).targets.logits.tobytes() == expected
    assert sum(asked) - asked[4] == 84
    assert not teacher.views.with_suffix(".parts").exists()


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
    half = ArrayInParts(tmp_path / "b.npy", np.float16, (5, 2), parts, "mark")
    half.write(0, np.zeros((2, 2)))
    with pytest.raises(UserError, match=r"1\.npy: is missing or damaged"):
        half.join()
    assert not (tmp_path / "b.npy").exists()
    assert ArrayInParts(tmp_path / "a.npy", np.float16, (5, 2), parts, "other").missing() == [0, 1]


def test_two_processes_share_them_out(run, teacher, trained, call, by_torch):
    expected = np.load(opened(run()) and teacher.views)
    teacher.views.unlink()
    common = ["name=two_views", f"student.oof={teacher.oof}", f"data.cache={trained}", *LITE]
    call("m11.py", "config.py", "--cfg-options", *common, *VIEWS, launcher=TWO_PROCESSES)
    np.testing.assert_allclose(np.load(teacher.views), expected, atol=5e-3)


def test_openvino_is_left_where_it_answers_otherwise(run, said, by_torch):
    started = run()
    said.clear()
    opened(started)
    assert "OpenVINO answers otherwise than PyTorch (by inf), so PyTorch looks at the views" in said.text


# The student


def options_of(teacher, name, *more):
    common = [f"name={name}", f"student.oof={teacher.oof}", f"data.cache={teacher.path}", *VIEWS, *LITE]
    return ["--cfg-options", *common, "student.epochs=2", "student.final_epochs=1", *more]


@pytest.fixture(scope="module")
def taught(workplace, heads):
    """The folder of a finished run that learnt stored logits, and its teacher."""
    teacher = RunFolder(shutil.copytree(heads.path, workplace / "runs" / "heads_for_views"))
    run_script("m11.py", "config.py", *options_of(teacher, "taught", "student.control=True"), cwd=workplace)
    return workplace / "runs" / "taught", teacher


def test_the_same_command_goes_on(taught, workplace):
    folder, teacher = taught
    options, again = options_of(teacher, "taught_again"), workplace / "runs" / "taught_again" / "student"
    kill_once_there(again / "last.pth", run_script, "m11.py", "config.py", *options, cwd=workplace)
    run_script("m11.py", "config.py", *options, cwd=workplace)
    for name in ("last.pth", "averaged.pth"):
        assert_same_weights(folder / "student" / name, again / name)
    told = refusal("m11.py", "config.py", *options_of(teacher, "taught_again", "student.num_views=2"), cwd=workplace)
    assert "holds a run with other settings:\n    num_views: 3 there, 2 now\n    views: " in told


def test_likeness_to_the_teacher_is_measured(taught, trained, workplace, by_torch):
    folder, heads = taught
    results = read_json(folder / "results.json")["student"]
    reopened = session.reopen(folder)
    _, validation = open_data(reopened, preprocessing_of(reopened.config.student))
    teacher = np.mean([read_oof(heads.fold(k).validation, validation) for k in range(3)], axis=0)
    saved = load_model(folder / "student" / "best.pth")
    images = saved.preprocessing.normalise(to_device(saved.preprocessing.cut(validation.images[:]), torch.device("cpu")))
    with torch.inference_mode():
        probs = saved.model(images).softmax(1).numpy()
    assert results["best_teacher_agreement"] == pytest.approx(np.mean(probs.argmax(1) == teacher.argmax(1)), abs=1e-6)
    assert results["best_teacher_kl"] == pytest.approx((teacher * np.log(teacher / probs)).sum(1).mean(), rel=1e-3)
    assert {"averaged_teacher_kl", "control_best_teacher_agreement"} <= results.keys()
    held_out = run_and_read(workplace, trained, "likeness_of_fold", "data.val_root=None", "student.num_folds=3")
    assert 0 <= held_out["best_teacher_agreement"] <= 1
    checkpoint = f"student.views_by={trained / 'student' / 'best.pth'}"
    own = run_and_read(workplace, heads.path, "likeness_of_checkpoint", *VIEWS, checkpoint)
    assert own["best_teacher_kl"] > 0
    assert "best_teacher_kl" not in run_and_read(workplace, trained, "likeness_of_none", "student.distillation=none")


def run_and_read(workplace, teacher, name, *options):
    common = [f"name={name}", f"student.oof={teacher / 'oof.csv'}", *QUICK]
    run_script("m11.py", "config.py", "--cfg-options", *common, *options, cwd=workplace)
    return read_json(workplace / "runs" / name / "results.json")["student"]


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


def test_unlabelled_pictures_are_labelled_by_all_folds_and_learnt_with_the_others(run, pool, by_torch, said):
    started = run(f"data.unlabelled={pool}")
    said.clear()
    stored = opened(started)
    assert len(stored.images) == 84 + 29
    assert "is also in the unlabelled pictures ('judge.jpg'): its accuracy is flattered" in said.text
    assert list(stored.unlabelled) == list(range(84, 113))
    last = stored.targets[[112 * 3]]
    np.testing.assert_allclose(last, softmax(logits_of(stored, 112)[:1]), atol=1e-6)  # no label, so all of it is the teachers'
    expected = 0.8 * one_hot(np.array([0]), 7) + 0.2 * softmax(logits_of(stored, 0)[:1])
    np.testing.assert_allclose(stored.targets[[0]], expected, atol=1e-6)


def test_an_epoch_shows_all_of_both(run, pool, by_torch):
    started = run(f"data.unlabelled={pool}", "data.val_root=None", "student.num_folds=3", "student.sampler=shuffle")
    dataset, _ = open_data(started, preprocessing_of(started.config.student))
    rows, held_out = student_split(started, dataset, None)
    stored = open_stored_views(started, dataset, rows, held_out, one_hot(dataset.labels, 7))
    job = Training(started, started.config.student, dataset, started.folder.student, held_out.name, stored=stored)
    batches = train_batches(job, rows, one_hot(dataset.labels, 7))
    assert sorted(batches.rows[batches.sampler.indices(0)]) == [*rows, *range(84, 113)]


def test_an_unlabelled_copy_of_a_held_out_picture_is_told(run, textiles, tmp_path, by_torch, said):
    started = run("data.val_root=None", "student.num_folds=3")
    dataset, _ = open_data(started, preprocessing_of(started.config.student))
    rows, held_out = student_split(started, dataset, None)
    judge, taught = dataset.paths[held_out.rows[0]], dataset.paths[rows[0]]
    (tmp_path / "pool").mkdir()
    shutil.copy(dataset.root / judge, tmp_path / "pool" / "judge.jpg")
    shutil.copy(dataset.root / taught, tmp_path / "pool" / "taught.jpg")
    started = run("data.val_root=None", "student.num_folds=3", f"data.unlabelled={tmp_path / 'pool'}")
    said.clear()
    opened(started)
    assert said.text.count("is also in the unlabelled pictures") == 1
    assert f"{judge!r} is also in the unlabelled pictures ('judge.jpg')" in said.text


def test_an_unlabelled_copy_of_a_test_picture_is_told(run, pool, textiles, said):
    started = run(f"data.unlabelled={pool}", f"data.test_root={textiles / 'validation'}")
    said.clear()
    preprocessing = preprocessing_of(started.config.student)
    open_test(started, preprocessing, open_data(started, preprocessing)[0])
    (line,) = [line for line in said.text.splitlines() if "the test picture" in line]
    assert "is also in the unlabelled pictures ('judge.jpg'): its accuracy is flattered" in line


def test_a_student_learns_from_both(pool, workplace, teacher, by_torch):
    options = options_of(teacher, "both_kinds", f"data.unlabelled={pool}")
    run_script("m11.py", "config.py", *options, cwd=workplace)
    assert (workplace / "runs" / "both_kinds" / "student" / "averaged.pth").is_file()
    shutil.rmtree(pool / "day 1")
    assert "views: " in refusal("m11.py", "config.py", *options, cwd=workplace)


def test_bad_unlabelled_pictures_are_told_as_labelled_ones(pool, run):
    (pool / "day 0" / "0.jpg").write_bytes((pool / "day 0" / "0.jpg").read_bytes()[:500])
    (pool / "empty.jpg").touch()
    with pytest.raises(UserError) as told:
        opened(run(f"data.unlabelled={pool}"))
    assert "'day 0/0.jpg'" in str(told.value)
    assert "'empty.jpg'" in str(told.value)


# Refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["data.unlabelled=somewhere"], "teach through stored views alone. Set student.distillation=views"),
        ([*VIEWS, "data.unlabelled=nowhere"], "nowhere: no such folder. data.unlabelled must be a folder of pictures"),
        ([*VIEWS, "student.oof=nowhere/oof.csv"], "no teacher there. Run e4.py first"),
        ([*VIEWS, "student.views_by=nobody.pth"], "nobody.pth: no such checkpoint"),
        ([*VIEWS, "student.augmentation_backend=albumentations"], "cuts for itself"),
        ([*VIEWS, "student.augmentation=teacher"], "augmentation='teacher' moves pixels"),
        ([*VIEWS, "student.hard_oof=True"], "hard_oof=True: is of the OOF table"),
        ([*VIEWS, "student.num_views=0"], "student.num_views"),
        ([*VIEWS, "student.fit=pad", "student.oof={oof}"], "knows pictures with fit='stretch', not 'pad'"),
        (["student.distillation=view"], "student.distillation"),
    ],
)
def test_what_cannot_be_is_told(options, message, workplace, trained):
    values = ["name=refused", *(option.format(oof=trained / "oof.csv") for option in options)]
    assert message in refusal("m11.py", "config.py", "--cfg-options", *values, cwd=workplace)
