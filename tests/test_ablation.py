"""Ablation: every combination once, teachers shared, finished work skipped, failures told, and a table of it all."""

import json

import numpy as np
import pandas as pd
import pytest

import ablate
from common.errors import UserError
from common.files import write_csv, write_json
from recipe.ablation import Trial, TrialFailed, Workplace, parse_axis, plan, summarise

CONFIG = """
name = "t"
work_dir = {work_dir!r}
num_threads = 1
data = dict(root={root!r}, val_root={val_root!r})
student = dict(weights="none", image_size=32, resize=36, batch_size=16, epochs=1, final_epochs=0, teacher_weight=0.0)
study = dict(axes=["student.mixing=cutmix,none"], seeds=1)
"""


@pytest.fixture
def config(textiles, tmp_path):
    path = tmp_path / "config.py"
    path.write_text(
        CONFIG.format(work_dir=str(tmp_path / "runs"), root=str(textiles / "train"), val_root=str(textiles / "validation"))
    )
    return path


@pytest.fixture
def calls(monkeypatch):
    """The (script, options) that were run; each pretends to reach an accuracy that depends on its options alone."""
    made = []

    def call(self, script, place, options):
        made.append((script, options))
        if "student.lr=0.5" in options:
            raise TrialFailed(place, script, "the loss is not finite")
        score = 0.5 + len(" ".join(options)) % 7 / 100
        results = {"teacher": {"oof_accuracy": score}, "student": {"best_accuracy": score, "averaged_accuracy": score}}
        write_json(place / "results.json", results)
        write_csv(place / "student" / "metrics.csv", pd.DataFrame({"seconds": [9.0, 9.0], "eval_seconds": [1.0, 1.0]}))

    monkeypatch.setattr(Workplace, "_call", call)
    return made


def test_axis_is_read_as_values_of_a_key_or_as_settings_together():
    assert parse_axis("student.lr=1e-3,5e-4") == [("student.lr=1e-3",), ("student.lr=5e-4",)]
    assert parse_axis("a.sizes=[1,2],[3,4]") == [("a.sizes=[1,2]",), ("a.sizes=[3,4]",)]
    assert parse_axis("a=1 b=2 | a=3") == [("a=1", "b=2"), ("a=3",)]


@pytest.mark.parametrize("text", ["student.lr", "student.lr=1", "a=1 | b", "=1,2"])
def test_axis_that_varies_nothing_is_refused(text):
    with pytest.raises(UserError, match="takes KEY=VALUE"):
        parse_axis(text)


def test_plan_has_every_combination_once_for_each_seed_and_names_them_apart():
    trials = plan([parse_axis("a=1,2"), parse_axis("b=x,y,z")], [7, 8])
    assert len({trial.name for trial in trials}) == len(trials) == 12
    assert [trial.seed for trial in trials] == [7] * 6 + [8] * 6
    many = [f"key{i}={'v' * 9}" for i in range(20)]
    long = [Trial(((*many, f"last={k}"),), 1).name for k in (1, 2)]
    assert long[0] != long[1]
    assert max(map(len, long)) < 130


def test_finished_trials_are_not_trained_again_and_shards_share_the_work(config, calls, tmp_path):
    arguments = [str(config), "--axis", "student.lr=1e-3,1e-4,1e-5", "--seeds", "2", "--output", str(tmp_path / "out")]
    ablate.main([*arguments, "--shard", "1/2"])
    assert len(calls) == 3
    ablate.main(arguments)
    assert len(calls) == 6
    assert len({tuple(options) for _, options in calls}) == 6
    ablate.main([*arguments, "--report"])
    assert len(calls) == 6
    assert len(pd.read_csv(tmp_path / "out" / "trials.csv")) == 6
    assert "6 of 6 trials" in (tmp_path / "out" / "table.md").read_text()
    assert (tmp_path / "out" / "chart.png").stat().st_size > 1000


def test_a_teacher_is_trained_once_for_all_students_that_learn_from_it(config, calls, tmp_path):
    arguments = ["--axis", "teacher.epochs=1,2", "--axis", "student.lr=1e-3,1e-4", "--seeds", "2"]
    ablate.main([str(config), *arguments, "--output", str(tmp_path), "--cfg-options", "student.teacher_weight=0.2"])
    scripts = [script for script, _ in calls]
    assert (scripts.count("e4.py"), scripts.count("m11.py")) == (2, 8)
    teachers = {option for script, options in calls for option in options if option.startswith("student.oof=")}
    assert len(teachers) == 2
    for script, options in calls:
        if script == "e4.py":
            assert not any(option.startswith("student.lr") for option in options)


def test_teachers_in_the_loop_are_the_models_of_all_folds(config, calls, tmp_path):
    arguments = ["--axis", "student.distillation=oof,online,both", "--seeds", "1", "--output", str(tmp_path)]
    ablate.main([str(config), *arguments, "--cfg-options", "student.teacher_weight=0.2", "teacher.num_folds=3"])
    assert [script for script, _ in calls] == ["e4.py"] + 3 * ["m11.py"]
    students = [options for _, options in calls[1:]]
    models = [tmp_path / "teachers" / "base" / "teacher" / f"fold{fold}" / "best.pth" for fold in range(3)]
    online, oof = f"student.online_teachers=[{','.join(map(str, models))}]", f"student.oof={tmp_path / 'teachers/base/oof.csv'}"
    assert [(oof in options, online in options) for options in students] == [(True, False), (False, True), (True, True)]


def test_budget_becomes_epochs_by_timing_each_setting_once(config, calls, tmp_path):
    ablate.main([str(config), "--axis", "student.lr=1e-3,1e-4", "--seeds", "2", "--budget", "5", "--output", str(tmp_path)])
    trained = [options for _, options in calls if "student.epochs=30" in options]  # 5 minutes of 10 seconds an epoch
    assert len(trained) == 4
    assert len(calls) == 4 + 2


def test_a_failure_does_not_stop_the_others(config, calls, tmp_path, capsys):
    with pytest.raises(UserError, match=r"1 of 2 trials failed; the first: .* the loss is not finite"):
        ablate.main([str(config), "--axis", "student.lr=0.5,1e-3", "--seeds", "1", "--output", str(tmp_path)])
    assert len(pd.read_csv(tmp_path / "trials.csv")) == 1


def test_two_failures_for_one_reason_stop_the_others(config, calls, tmp_path):
    arguments = ["--axis", "student.dropout=0.1,0.2,0.3", "--seeds", "2", "--cfg-options", "student.lr=0.5"]
    with pytest.raises(UserError, match=r"two trials of two failed for one reason.*the loss is not finite"):
        ablate.main([str(config), *arguments])
    assert len(calls) == 2


def test_threads_do_not_make_another_trial(config, calls, tmp_path):
    arguments = [str(config), "--axis", "student.lr=1e-3,1e-4", "--seeds", "1", "--output", str(tmp_path)]
    ablate.main([*arguments, "--cfg-options", "num_threads=2"])
    ablate.main([*arguments, "--report"])
    assert len(calls) == 2


def test_other_settings_in_the_same_folder_are_refused(config, calls, tmp_path):
    arguments = [str(config), "--axis", "student.lr=1e-3,1e-4", "--seeds", "1", "--output", str(tmp_path)]
    ablate.main(arguments)
    with pytest.raises(UserError, match="was trained with other settings"):
        ablate.main([*arguments, "--cfg-options", "student.dropout=0.5"])


@pytest.mark.parametrize(
    ("axis", "message"), [("student.lrr=1,2", "Did you mean 'student.lr'"), ("student.epochs=1,many", "takes a int")]
)
def test_mistakes_show_before_anything_is_trained(config, calls, axis, message):
    with pytest.raises(UserError, match=message):
        ablate.main([str(config), "--axis", axis])
    assert not calls


def test_summary_is_mean_and_deviation_over_seeds_best_first():
    rows = pd.DataFrame(
        {"axis 1": ["a", "b", "a", "b"], "seed": [1, 1, 2, 2], "accuracy": [0.5, 0.7, 0.6, 0.9], "minutes": [1, 2, 3, 4]}
    )
    table = summarise(rows)
    assert list(table["axis 1"]) == ["b", "a"]
    np.testing.assert_allclose(table["mean"], [0.8, 0.55])
    np.testing.assert_allclose(table["std"], [np.std([0.7, 0.9], ddof=1), np.std([0.5, 0.6], ddof=1)])


def test_study_in_a_config_trains_real_students(config, tmp_path):
    ablate.main([str(config)])
    folder = tmp_path / "runs" / "t" / "ablation"
    rows = pd.read_csv(folder / "trials.csv")
    assert sorted(rows["axis 1"]) == ["student.mixing=cutmix", "student.mixing=none"]
    for name in rows["axis 1"]:
        results = json.loads((folder / "trials" / f"{name}_seed=42" / "results.json").read_text())
        assert results["student"]["best_accuracy"] == rows.set_index("axis 1")["accuracy"][name]
    assert len(list(folder.rglob("train_36.npy"))) == 1  # the pixels are shared
