"""What the teacher says of the labels, and what its labels bring the student."""

import numpy as np
import pandas as pd
import pytest
from helpers import assert_same_weights, contents, refusal, run_script, weights, write_config

from common.errors import UserError
from data.dataset import open_dataset
from data.textiles import true_labels, write_textiles
from recipe.labels import judge_labels, label_rows
from utils.config import RunConfig, build_dataclass
from utils.run_folder import RunFolder
from utils.session import Session


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """(folder, data set) of 70 drawn pictures, 7 of which lie in another class's folder."""
    root = tmp_path_factory.mktemp("drawn") / "textiles"
    write_textiles(root, num_train=70, num_val=7, size=32, wrong_labels=0.1, seed=3)
    return root, open_dataset(root / "train", root.parent, 32)


def test_truth_of_the_drawn_pictures_is_joined_by_path(drawn):
    root, dataset = drawn
    truth = true_labels(root, dataset)
    table = pd.read_csv(root / "truth.csv")
    wrong = set(table.query("label != true_label")["path"])
    assert {f"train/{path}" for path, is_wrong in zip(dataset.paths, truth != dataset.labels, strict=True) if is_wrong} == wrong
    assert len(wrong) == 7


def test_doubted_labels_are_counted_and_compared_with_the_truth(drawn):
    root, dataset = drawn
    truth = true_labels(root, dataset)
    says = truth.copy()
    missed, doubted = np.flatnonzero(truth != dataset.labels)[:2], np.flatnonzero(truth == dataset.labels)[:3]
    says[missed] = dataset.labels[missed]  # two wrong labels that the teacher believes
    says[doubted] = (truth[doubted] + 1) % 7  # three right ones that it does not
    config = build_dataclass(RunConfig, {"data": {"root": str(root / "train"), "draw_textiles": 70}})
    found = judge_labels(Session(config, RunFolder(root.parent), None), dataset, np.eye(7)[says])
    assert found == {
        "doubted_labels": 8, "true_accuracy": pytest.approx(65 / 70), "wrong_labels": 7, "wrong_labels_doubted": 5,
    }  # fmt: skip
    assert label_rows(found) == [("labels that the teacher doubts", "8"), ("wrong labels found", "5 of 7")]
    people = build_dataclass(RunConfig, {"data": {"root": str(root / "train")}})
    assert judge_labels(Session(people, RunFolder(root.parent), None), dataset, np.eye(7)[says]) == {"doubted_labels": 8}


@pytest.fixture(scope="module")
def head_only(textiles, tmp_path_factory):
    """The run folder of a teacher whose head alone was trained, and of a student with its control."""
    folder = tmp_path_factory.mktemp("head")
    write_config(folder, textiles / "train", textiles / "validation")
    options = [
        "teacher.epochs=0", "teacher.head_epochs=3", "teacher.head=linear", "student.control=True", "student.teacher_weight=0.9",
        "student.epochs=1", "student.final_epochs=1",
    ]  # fmt: skip
    for script in ("e4.py", "m11.py"):
        run_script(script, "config.py", "--cfg-options", *options, cwd=folder)
    return RunFolder(folder / "runs" / "t"), options


def test_a_teacher_may_consist_of_a_trained_head(head_only):
    folder, _ = head_only
    first, second = (weights(folder.fold(k).best) for k in range(2))
    backbone = [key for key in first if key.startswith("backbone")]
    assert all((first[key] == second[key]).all() for key in backbone)  # as it was loaded
    assert (first["head.1.weight"] != second["head.1.weight"]).any()
    assert folder.oof.is_file()
    assert not folder.fold(0).last.exists()


def test_control_is_the_same_student_on_hard_labels(head_only, textiles, tmp_path):
    folder, _ = head_only
    results = folder.results()["student"]
    assert {"best_accuracy", "averaged_accuracy", "control_best_accuracy", "control_averaged_accuracy"} <= results.keys()
    write_config(tmp_path, textiles / "train", textiles / "validation")
    options = ["student.distillation=none", "student.epochs=1", "student.final_epochs=1"]
    run_script("m11.py", "config.py", "--cfg-options", *options, cwd=tmp_path)
    assert_same_weights(folder.control.averaged, tmp_path / "runs" / "t" / "student" / "averaged.pth")
    assert any((weights(folder.control.best)[key] != value).any() for key, value in weights(folder.student.best).items())


def test_finished_control_is_not_trained_again(head_only):
    folder, options = head_only
    before = contents(folder.path, "*.pth")
    run_script("m11.py", "config.py", "--cfg-options", *options, cwd=folder.path.parent.parent)
    assert {path for path, state in contents(folder.path, "*.pth").items() if state[0] != before[path][0]} == set()


def test_a_control_may_be_asked_for_after_the_student_was_trained(textiles, tmp_path):
    write_config(tmp_path, textiles / "train", textiles / "validation")
    options = ["student.distillation=none", "student.epochs=1", "student.final_epochs=0"]
    run_script("m11.py", "config.py", "--cfg-options", *options, cwd=tmp_path)
    folder = RunFolder(tmp_path / "runs" / "t")
    before = folder.student.best.read_bytes()
    run_script("m11.py", "config.py", "--cfg-options", *options, "student.control=True", cwd=tmp_path)
    assert folder.student.best.read_bytes() == before
    assert folder.control.best.is_file()


def test_nothing_to_train_is_told(workplace):
    assert "epochs=0: nothing would be trained" in refusal(
        "m11.py", "config.py", "--cfg-options", "student.epochs=0", cwd=workplace
    )
    with pytest.raises(UserError, match="epochs=0: nothing would be trained"):
        build_dataclass(RunConfig, {"teacher": {"epochs": 0}})
