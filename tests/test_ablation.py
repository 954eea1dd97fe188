"""Ablation: every combination once, teachers shared, finished work skipped, failures told, and a table of it all."""

import re
import shutil
import sys
from contextlib import nullcontext
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from helpers import REPO
from processes import in_parallel
from scipy.stats import ttest_1samp

import ablate
from common.errors import UserError
from common.files import read_json, sha256, write_csv, write_json, write_text
from recipe import scripts
from recipe.ablation import FP32, Choice, Trial, Workplace, parse_axis, plan
from recipe.pictures import open_data, preprocessing_of
from recipe.scripts import ScriptFailed
from recipe.trial_table import as_texts, draw, draw_choice, place_for, read_summary, summarise
from utils.config import as_python, load_config
from utils.run_folder import RunFolder
from utils.session import Session

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
    """The (script, config) that were trained, as the script would read it; each pretends to reach an accuracy."""
    made = []

    def call(script, place, arguments, lock, watch=None, said=""):
        if script == "export_openvino.py":
            assert "--no-test" in arguments  # or students would be compared by what is to judge the one that was chosen
            if "lr=1e-5" in place.name:
                raise ScriptFailed(place, script, "the exported files answer differently")
            return
        config = load_config(place / "trial.py")
        made.append((script, config))
        if config.student.lr == 0.5:
            raise ScriptFailed(place, script, "the loss is not finite")
        score = 0.5 + len(place.name) % 7 / 100
        results = {"teacher": {"oof_accuracy": score}, "student": {"best_accuracy": score, "averaged_accuracy": score}}
        write_json(place / "results.json", results)
        write_csv(place / "student" / "metrics.csv", pd.DataFrame({"seconds": [9.0, 9.0], "eval_seconds": [1.0, 1.0]}))

    right = pd.Series([True, False, True], pd.Index(["a", "b", "c"], name="path"))
    monkeypatch.setattr("recipe.judging.right_answers", lambda workplace, trial, kind: right)
    monkeypatch.setattr("recipe.scripts.run_script", call)
    monkeypatch.setattr("recipe.ablation.open_data", lambda run, preprocessing: None)
    return made


def test_axis_is_read_as_values_of_a_key_or_as_settings_together():
    assert parse_axis("student.lr=1e-3,5e-4") == [("student.lr=1e-3",), ("student.lr=5e-4",)]
    assert parse_axis("a.sizes=[1,2],[3,4]") == [("a.sizes=[1,2]",), ("a.sizes=[3,4]",)]
    assert parse_axis("a=1 b=2 | a=3") == [("a=1", "b=2"), ("a=3",)]
    assert parse_axis("a='my pictures, b' b=2 | a=3") == [("a=my pictures, b", "b=2"), ("a=3",)]
    named = parse_axis("a=1 b=2 | large, 3: a='x: y'")
    assert named == [("a=1", "b=2"), ("a=x: y",)]
    assert [choice.name for choice in named] == ["a=1 b=2", "large, 3"]
    assert parse_axis("a=my pictures,other pictures") == [("a=my pictures",), ("a=other pictures",)]


@pytest.mark.parametrize(
    "text", ["student.lr", "student.lr=1", "a=1 | b", "=1,2", "a='1 | a=2", "a=1,2,1", "a=1 | a=1", "x: a=1 | x: a=2"]
)
def test_axis_that_varies_nothing_is_refused(text):
    with pytest.raises(UserError, match=r"axis .*(takes KEY=VALUE|No closing quotation)"):
        parse_axis(text)


@pytest.mark.parametrize("key", ["seed", "name", "work_dir", "data.cache"])
def test_axis_of_what_each_trial_is_given_is_refused(key):
    """Its trials would differ in their names alone."""
    with pytest.raises(UserError, match=f"{key} is not to be varied"):
        parse_axis(f"{key}=1 | student.lr=1")


def test_a_key_that_is_varied_twice_is_refused():
    """Of such trials the later value would hold, and some would be alike."""
    with pytest.raises(UserError, match="a is varied twice"):
        parse_axis("a=1 a=2 | a=3")
    with pytest.raises(UserError, match="the axes: b is varied twice"):
        plan([parse_axis("a=1 b=2 | a=3"), parse_axis("b=4,5")], [7])


def test_plan_has_every_combination_once_for_each_seed_and_names_them_apart():
    trials = plan([parse_axis("a=1,2"), parse_axis("b=x,y,z")], [7, 8])
    assert len({trial.name for trial in trials}) == len(trials) == 12
    assert [trial.seed for trial in trials] == [7] * 6 + [8] * 6


def test_names_are_short_words_that_tell_settings_apart():
    many = [f"key{i}={'v' * 9}" for i in range(20)]
    settings = [(*many, "last=1"), (*many, "last=2"), ("a=b c",), ("a=b-c",), ("a=b, c",), ("a=裙",), ("a=衣",)]
    names = [Trial((options,), 1).name for options in settings]
    assert len(set(names)) == len(settings)
    assert max(map(len, names)) < 130
    assert all(name.isascii() and not set(name) & set(" ,/") for name in names)


def test_finished_trials_are_not_trained_again_and_shards_share_the_work(config, calls, tmp_path):
    arguments = [str(config), "--axis", "student.lr=1e-3,1e-4,1e-5", "--seeds", "2", "--output", str(tmp_path / "out")]
    ablate.main([*arguments, "--shard", "1/2"])
    assert len(calls) == 3
    ablate.main(arguments)
    assert len(calls) == 6
    assert len({(config.student.lr, config.seed) for _, config in calls}) == 6
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
    taught_by = {made.student.oof: made.teacher.epochs for script, made in calls if script == "m11.py"}
    assert taught_by == {str(tmp_path / "teachers" / f"teacher.epochs={epochs}" / "oof.csv"): epochs for epochs in (1, 2)}


def test_shards_that_need_one_teacher_train_it_once(config, calls, tmp_path):
    def shard(number):
        workplace = Workplace(tmp_path, str(config), ["student.teacher_weight=0.2"])
        workplace.train(Trial(((f"student.lr=1e-{number}",),), 1))
        (tmp_path / f"shard{number}").write_text("\n".join(script for script, _ in calls))

    assert in_parallel(shard, range(2, 6)) == [0] * 4
    called = [script for number in range(2, 6) for script in (tmp_path / f"shard{number}").read_text().split("\n")]
    assert sorted(called) == ["e4.py"] + 4 * ["m11.py"]


def test_teachers_in_the_loop_are_the_models_of_all_folds(config, calls, tmp_path):
    arguments = ["--axis", "student.distillation=oof,online,both", "--seeds", "1", "--output", str(tmp_path)]
    ablate.main([str(config), *arguments, "--cfg-options", "student.teacher_weight=0.2", "teacher.num_folds=3"])
    assert [script for script, _ in calls] == ["e4.py"] + 3 * ["m11.py"]
    table = str(tmp_path / "teachers" / "base" / "oof.csv")
    models = tuple(str(tmp_path / "teachers" / "base" / "teacher" / f"fold{fold}" / "best.pth") for fold in range(3))
    learnt_from = [(made.student.oof, made.student.online_teachers) for _, made in calls[1:]]
    assert learnt_from == [(table, ()), (None, models), (table, models)]


@pytest.fixture
def own_teacher(config):
    """The config's own teacher, finished: its OOF table, its results and the config that it was made with."""
    made_with = load_config(config)
    folder = RunFolder(made_with.folder)
    write_text(folder.oof, "")
    write_text(folder.config("teacher"), as_python(made_with))
    folder.save_results("teacher", {"oof_accuracy": 0.4})
    return folder


TAUGHT = ["--axis", "student.lr=1e-3,1e-4", "--seeds", "2", "--cfg-options", "student.teacher_weight=0.2"]


@pytest.mark.parametrize("options", [[], ["num_threads=2"], ["student.dropout=0.5"], ["student.distillation=both"]])
def test_the_configs_own_teacher_is_taken_where_it_is_the_one_that_is_asked_for(config, calls, own_teacher, options):
    if "student.distillation=both" in options:
        for fold in range(5):
            write_text(own_teacher.fold(fold).best, "")
    ablate.main([str(config), *TAUGHT, *options])
    assert [script for script, _ in calls] == 4 * ["m11.py"]
    assert {made.student.oof for _, made in calls} == {str(own_teacher.oof)}
    assert set(pd.read_csv(own_teacher.path / "ablation" / "trials.csv")["teacher_accuracy"]) == {0.4}


@pytest.mark.parametrize(
    "options",
    [["teacher.epochs=7"], ["data.root=elsewhere"], ["data.table=l.csv"], ["seed=7"], ["student.distillation=both"]],
)
def test_a_teacher_made_with_other_settings_or_pictures_is_not_taken(config, calls, own_teacher, options):
    ablate.main([str(config), *TAUGHT, *options])
    assert [script for script, _ in calls] == ["e4.py"] + 4 * ["m11.py"]
    assert calls[0][1].folder == own_teacher.path / "ablation" / "teachers" / "base"
    assert {made.student.oof for _, made in calls[1:]} == {str(calls[0][1].folder / "oof.csv")}


def test_a_teacher_of_parts_is_taken_for_the_root_that_holds_them(config, calls, own_teacher, textiles):
    """e4.py notes data.root=.../train and data.val_root=.../validation."""
    ablate.main([str(config), *TAUGHT, f"data.root={textiles}", "data.val_root=None"])
    assert {made.student.oof for _, made in calls} == {str(own_teacher.oof)}


def test_a_teacher_of_unknown_settings_is_not_taken(config, calls, own_teacher):
    own_teacher.config("teacher").unlink()
    ablate.main([str(config), *TAUGHT])
    assert calls[0][0] == "e4.py"


def test_budget_becomes_epochs_by_timing_each_setting_once(config, calls, tmp_path):
    ablate.main([str(config), "--axis", "student.lr=1e-3,1e-4", "--seeds", "2", "--budget", "5", "--output", str(tmp_path)])
    trained = [made for _, made in calls if made.student.epochs == 30]  # 5 minutes of 10 seconds an epoch
    assert len(trained) == 4
    with pytest.raises(UserError, match="another --budget"):
        ablate.main([str(config), "--axis", "student.lr=1e-3,1e-4", "--seeds", "2", "--budget", "6", "--output", str(tmp_path)])
    assert len(calls) == 4 + 1  # rates do not take time


@pytest.mark.parametrize(
    ("option", "epochs"),
    [
        ("student.final_epochs=4", (300 - 4 * 9) // 10),  # which no picture judges
        ("student.train_sizes=[16,24,32]", (300 - 4 * 9) // 10),
        ("student.head_epochs=3", (300 - 4 * 9 - 60) // 10),  # a minute on the way to the first epoch
    ],
)
def test_all_that_a_training_takes_counts_for_the_budget(config, calls, tmp_path, option, epochs, monkeypatch):
    options = ["student.final_epochs=4", option]
    if "head_epochs" in option:
        times = lambda path: {"seconds": 80.0} if "timing" in str(path) else read_json(path)  # noqa: E731
        monkeypatch.setattr("recipe.ablation.read_json", times)
    arguments = [str(config), "--axis", "student.lr=1e-3,1e-4", "--seeds", "1", "--budget", "5", "--output", str(tmp_path)]
    ablate.main([*arguments, "--cfg-options", *options])
    timed, *trained = [made.student for _, made in calls]
    assert timed.epochs == (3 if "sizes" in option else 2)
    assert [student.epochs for student in trained] == [epochs] * 2


@pytest.mark.parametrize("where", ["--axis", "--search"])
def test_epochs_are_not_varied_beside_a_budget(config, calls, where):
    with pytest.raises(UserError, match="what --budget chooses"):
        ablate.main([str(config), where, "student.epochs=2,3", "--budget", "1"])
    options = ["student.epochs=0", "student.head_epochs=5"]
    with pytest.raises(UserError, match="the head alone"):
        ablate.main([str(config), where, "student.lr=1e-3,1e-4", "--budget", "1", "--cfg-options", *options])
    assert not calls


@pytest.mark.parametrize(
    ("axis", "timed"), [("teacher.lr=1e-3,5e-4", 2), ("student.ema_decay=0,0.99", 2), ("student.lr=1e-3,1e-4", 1)]
)
def test_what_an_epoch_may_take_longer_by_is_timed(config, calls, tmp_path, axis, timed):
    arguments = ["--axis", axis, "--seeds", "1", "--budget", "5", "--output", str(tmp_path)]
    ablate.main([str(config), *arguments, "--cfg-options", "student.teacher_weight=0.2"])
    assert len(list(tmp_path.glob("timing/*"))) == timed
    assert len(list(tmp_path.glob("teachers/*"))) == (2 if "teacher" in axis else 1)


def test_reporting_trains_nothing(config, calls, tmp_path):
    arguments = [str(config), *TAUGHT, "--output", str(tmp_path / "out"), "--budget", "5"]
    ablate.main([*arguments[:1], "--report", *arguments[1:]])
    assert not calls
    ablate.main([*arguments[:1], "--shard", "0/2", *arguments[1:]])
    for kind in ("teachers", "timing"):  # only what was found out on the way is gone
        shutil.rmtree(tmp_path / "out" / kind)
    trained = len(calls)
    ablate.main([*arguments[:1], "--report", *arguments[1:]])
    assert len(calls) == trained
    assert "2 of 4 trials" in (tmp_path / "out" / "table.md").read_text()
    with pytest.raises(UserError, match="was trained with other settings"):
        ablate.main([*arguments[:1], "--report", *arguments[1:], "--cfg-options", "student.teacher_weight=0.3"])


@pytest.mark.parametrize("study", sorted(path.name for path in REPO.glob("configs/studies/*.py") if path.name != "base.py"))
def test_ready_made_studies_vary_what_the_config_knows(calls, tmp_path, study):
    ablate.main([str(REPO / "configs" / "studies" / study), "--report", "--output", str(tmp_path)])
    assert not calls


def test_paths_keep_their_blanks_commas_and_quotes(textiles, calls, tmp_path):
    folder = tmp_path / 'it\'s, [a] b="c" 裙'
    config = folder / "my config.py"
    write_text(config, CONFIG.format(work_dir=str(folder / "runs"), root=str(textiles / "train"), val_root=str(folder / "val, 2")))
    arguments = ["--axis", "student.distillation=online,both", "--seeds", "1", "--cfg-options", "student.teacher_weight=0.2"]
    ablate.main([str(config), *arguments, f"data.root={folder}/x, y"])
    teacher, online, both = (made for _, made in calls)
    place = folder / "runs" / "t" / "ablation"
    assert teacher.folder == place / "teachers" / "base"
    assert both.student.oof == str(teacher.folder / "oof.csv")
    assert online.student.online_teachers[4] == str(teacher.folder / "teacher" / "fold4" / "best.pth")
    assert {made.data.root for _, made in calls} == {f"{folder}/x, y"}
    assert {made.data.val_root for _, made in calls} == {str(folder / "val, 2")}
    (cache,) = {made.data.cache for _, made in calls}
    assert cache.startswith(str(place / "pixels"))


def test_trials_of_other_pictures_have_another_cache(config, calls, tmp_path):
    axes = ["--axis", "data.root=a,b", "--axis", "student.resize=36,40"]
    ablate.main([str(config), *axes, "--seeds", "2", "--output", str(tmp_path)])
    caches = {(made.data.root, made.data.cache) for _, made in calls}
    assert len(caches) == len({cache for _, cache in caches}) == 2


def test_trials_of_a_root_with_parts_are_of_these(textiles, config, calls, tmp_path):
    ablate.main([str(config), "--seeds", "1", "--cfg-options", f"data.root={textiles}", "data.val_root=None"])
    assert {(made.data.root, made.data.val_root) for _, made in calls} == {(str(textiles / "train"), str(textiles / "validation"))}


def test_a_trial_can_be_repeated_by_its_config_alone(config, calls, tmp_path):
    axis = "student.mixing.cutmix=2 student.mixing.mixup=1 student.train_sizes=[16,32] | student.oof=None"
    ablate.main([str(config), "--axis", axis, "--seeds", "1", "--output", str(tmp_path / "out")])
    for name in (path.parent.name for path in (tmp_path / "out").glob("trials/*/trial.py")):
        made = load_config(tmp_path / "out" / "trials" / name / "trial.py")
        assert made.folder == tmp_path / "out" / "trials" / name
    config.unlink()
    mixed = calls[0][1]
    assert mixed.student.mixing == {"cutmix": 2, "mixup": 1}
    assert mixed.student.train_sizes == (16, 32)
    as_it_was = replace(mixed, name="again")
    write_text(tmp_path / "again.py", as_python(as_it_was))
    assert load_config(tmp_path / "again.py") == as_it_was


def test_a_failure_does_not_stop_the_others(config, calls, tmp_path, capsys):
    with pytest.raises(UserError, match=r"1 trials failed; the first: .* the loss is not finite"):
        ablate.main([str(config), "--axis", "student.lr=0.5,1e-3", "--seeds", "1", "--output", str(tmp_path)])
    assert len(pd.read_csv(tmp_path / "trials.csv")) == 1


def test_a_trial_that_cannot_be_exported_is_told_and_in_the_table_all_the_same(config, calls, tmp_path, capsys):
    arguments = [str(config), "--axis", "student.lr=1e-4,1e-5", "--seeds", "1", "--output", str(tmp_path)]
    ablate.main(arguments)
    assert "the exported files answer differently" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "trials.csv")) == 2


def test_two_failures_for_one_reason_stop_the_others(config, calls, tmp_path):
    arguments = ["--axis", "student.dropout=0.1,0.2,0.3", "--seeds", "2", "--cfg-options", "student.lr=0.5"]
    with pytest.raises(UserError, match=r"two trials of two failed for one reason.*the loss is not finite"):
        ablate.main([str(config), *arguments])
    assert len(calls) == 2


def test_where_there_are_no_file_locks_that_is_said(tmp_path, monkeypatch):
    """As on Windows."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(UserError, match="start them in WSL"), scripts.alone(tmp_path / "lock"):
        pass


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


@pytest.mark.parametrize(("value", "taken"), [(0.0, True), (0.5, False)])
def test_trials_from_before_a_setting_was_taken_out_count_where_they_had_none_of_it(config, calls, tmp_path, value, taken):
    arguments = [str(config), "--axis", "student.lr=1e-3,1e-4", "--seeds", "1", "--output", str(tmp_path)]
    ablate.main(arguments)
    for path in tmp_path.glob("trials/*/trial.py"):
        path.write_text(path.read_text().replace("    teacher_weight=", f"    feature_weight={value},\n    teacher_weight="))
        assert "feature_weight" in path.read_text()
    for more in ([], ["--report"]):
        with nullcontext() if taken else pytest.raises(UserError, match="was trained with other settings"):
            ablate.main([*arguments, *more])
    assert len(calls) == 2


def test_trials_are_not_compared_across_a_change_of_the_pictures(config, calls, tmp_path):
    arguments = [str(config), "--axis", "student.lr=1e-3,1e-4", "--seeds", "1", "--output", str(tmp_path)]
    ablate.main(arguments)
    first, second = sorted(tmp_path.glob("trials/*"))
    for place, fingerprint in ((first, "a"), (second, "a")):
        write_json(place / "student" / "settings.json", {"fingerprint": fingerprint, "held_out": "v"})
    ablate.main([*arguments, "--report"])
    write_json(second / "student" / "settings.json", {"fingerprint": "a", "held_out": "w"})
    with pytest.raises(UserError, match="pictures, or their labels, changed between its training and that of"):
        ablate.main([*arguments, "--report"])


def test_trials_that_learnt_from_another_table_than_lies_there_now_are_refused(config, calls, tmp_path):
    table = tmp_path / "oof.csv"
    write_text(table, "path,label\n")
    options = ["--cfg-options", "student.teacher_weight=0.2", f"student.oof={table}"]
    arguments = [str(config), "--axis", "student.lr=1e-3,1e-4", "--seeds", "1", "--output", str(tmp_path), *options]
    ablate.main(arguments)
    ablate.main([*arguments, "--report"])
    write_text(table, "path,label,p_a\n")
    with pytest.raises(UserError, match=r"learnt from another .*oof.csv than lies there now"):
        ablate.main(arguments)
    table.unlink()  # nothing is known of what lies nowhere
    ablate.main([*arguments, "--report"])


def test_students_of_a_teacher_with_other_settings_are_refused(config, calls, tmp_path):
    arguments = [str(config), *TAUGHT, "--output", str(tmp_path)]
    ablate.main(arguments)
    for more in ([], ["--report"]):
        with pytest.raises(UserError, match="was trained with other settings"):
            ablate.main([*arguments, "--cfg-options", "teacher.epochs=7", *more])


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ("student.lrr=1,2", "Did you mean 'student.lr'"),
        ("student.epochs=1,many", "takes a whole number"),
        ("student.mixing=cutmix,cutmxi", "unknown mixing 'cutmxi'"),
        ("student.teacher_weight=0.2 | student.teacher_weight=0.2 teacher.loss=focl", "unknown loss 'focl'"),
    ],
)
def test_mistakes_show_before_anything_is_trained(config, calls, axis, message):
    with pytest.raises(UserError, match=message):
        ablate.main([str(config), "--axis", axis])
    assert not calls


@pytest.mark.parametrize(
    ("axis", "option"), [("data.draw_textiles=14,21", "seed=1"), ("student.lr=1e-3,1e-4", "data.draw_textiles=14")]
)
def test_trials_that_would_draw_over_each_others_pictures_are_refused(config, calls, axis, option):
    config.write_text(config.read_text().replace("data = dict(", "data = dict(draw_textiles=35, "))
    with pytest.raises(UserError, match=r"train cannot hold \{.*35.*\} pictures at once"):
        ablate.main([str(config), "--axis", axis, "--cfg-options", option])
    assert not calls


@pytest.mark.parametrize(
    "option",
    [["--seeds", "0"], ["--budget", "0"], ["--budget", "nan"], ["--shard", "2/2"], ["--target", "0"], ["--int8", "--no-speed"]],
)
def test_senseless_numbers_are_refused(config, calls, option, capsys):
    with pytest.raises(SystemExit):
        ablate.main([str(config), *option])
    assert re.search("takes|must be a whole number|goes without", capsys.readouterr().err)
    assert not calls


def summary(accuracies, right, speeds=None):
    """Of settings a, b, ... with two seeds each; right: for each of them bool by (seed, path)."""
    names = [name for name in "abcdef"[: len(accuracies)] for _ in range(2)]
    columns = {"seed": len(accuracies) * [1, 2], "accuracy": np.ravel(accuracies)}
    rows = pd.DataFrame({"axis 1": names, "network": FP32, **columns, "minutes": 1.0})
    index = pd.MultiIndex.from_product([[1, 2], range(len(right[0]) // 2)], names=["seed", "path"])
    by_key = {(name, FP32): pd.Series(answers, index) for name, answers in zip("abcdef", right, strict=False)}
    return rows, summarise(rows, by_key, speeds)


def test_tables_of_a_part_leave_those_of_the_whole(config, calls, tmp_path, capsys):
    arguments = [str(config), "--output", str(tmp_path), "--no-speed"]
    ablate.main([*arguments, "--axis", "student.lr=1e-3,1e-4,1e-2", "--seeds", "2"])
    whole = {path.name: path.read_bytes() for path in tmp_path.glob("t*.*")}
    assert {"trials.csv", "table.csv", "table.md"} <= whole.keys()
    for part in (["student.lr=1e-3,1e-4", "--seeds", "2"], ["student.lr=1e-3,1e-4,1e-2", "--seeds", "1"]):
        ablate.main([*arguments, "--report", "--axis", *part])
    assert {path.name: path.read_bytes() for path in tmp_path.glob("t*.*")} == whole
    assert sorted(len(read_summary(path)) for path in tmp_path.glob("parts/*/table.csv")) == [2, 3]
    assert "table.csv says more than this command's" in capsys.readouterr().out
    ablate.main([*arguments, "--axis", "student.lr=1e-3,1e-4,1e-2,1e-1", "--seeds", "2"])
    assert len(read_summary(tmp_path / "table.csv")) == 4


def test_tables_with_speeds_are_not_replaced_by_some_without(tmp_path):
    speeds = pd.DataFrame({"ms": [4.0], "fps": [250], "mib": 1.0}, index=pd.MultiIndex.from_tuples([("a", FP32)]))
    speeds.index.names = ["axis 1", "network"]
    rows, timed = summary([[0.9, 0.9]], [[True] * 4], speeds)
    untimed = summary([[0.9, 0.9]], [[True] * 4])[1]
    assert place_for(tmp_path, rows, untimed) == tmp_path
    write_csv(tmp_path / "trials.csv", rows)
    write_csv(tmp_path / "table.csv", timed)
    assert place_for(tmp_path, rows, timed) == tmp_path
    assert place_for(tmp_path, rows, untimed).parent == tmp_path / "parts"


def test_why_nothing_is_timed_is_said(config, calls, tmp_path, capsys):
    arguments = [str(config), "--axis", "student.lr=1e-3,1e-4", "--seeds", "1", "--output", str(tmp_path)]
    ablate.main([*arguments, "--shard", "0/2"])
    assert "with --report they are" in capsys.readouterr().out
    ablate.main([*arguments, "--report"])
    assert "none of these trials is exported" in capsys.readouterr().out


def test_minutes_of_a_training_that_was_interrupted_are_those_of_all_its_parts(config, calls, tmp_path, monkeypatch):
    now, trial = iter([0.0, 100.0, 1000.0, 1020.0]), Trial((Choice(["student.lr=1e-3"]),), 1)
    monkeypatch.setattr("recipe.ablation.time.monotonic", lambda: next(now))
    workplace, original = Workplace(tmp_path, str(config), []), scripts.run_script

    def interrupted(*arguments, **how):
        raise KeyboardInterrupt

    monkeypatch.setattr("recipe.scripts.run_script", interrupted)
    with pytest.raises(KeyboardInterrupt):
        workplace.train(trial)
    monkeypatch.setattr("recipe.scripts.run_script", original)
    workplace.train(trial)
    assert workplace.row(trial)["minutes"] == 2.0


def test_summary_is_mean_and_deviation_over_seeds_best_first():
    _, table = summary([[0.5, 0.6], [0.7, 0.9]], [[True] * 4, [True] * 4])
    assert list(table["axis 1"]) == ["b", "a"]
    np.testing.assert_allclose(table["mean"], [0.8, 0.55])
    np.testing.assert_allclose(table["std"], [np.std([0.7, 0.9], ddof=1), np.std([0.5, 0.6], ddof=1)])


def test_differences_are_paired_over_the_pictures():
    """b is wrong where a is right at one picture in ten, the same one with both seeds."""
    first = [k % 2 == 0 for k in range(20)]
    _, table = summary([[0.5, 0.5], [0.45, 0.45]], [2 * first, 2 * [right and k != 4 for k, right in enumerate(first)]])
    assert list(table["difference"]) == [0, pytest.approx(-1 / 20)]
    assert table["low"][1] < -1 / 20 < table["high"][1]
    expected = ttest_1samp([0] * 19 + [-1.0], 0).confidence_interval(0.95)
    np.testing.assert_allclose(table.loc[1, ["low", "high"]].astype(float), expected)


def test_settings_that_were_judged_by_other_pictures_are_not_compared():
    rows, table = summary([[0.5, 0.5], [0.4, 0.4]], [[True] * 4, [False] * 4])
    others = pd.Series([True] * 4, pd.MultiIndex.from_product([[1, 2], ["x", "y"]], names=["seed", "path"]))
    table = summarise(rows, {("a", FP32): others, ("b", FP32): others.rename({"x": "z"})})
    assert list(table["difference"].isna()) == [False, True]


def test_front_is_what_no_other_is_better_than_in_accuracy_and_speed():
    speeds = pd.DataFrame({"ms": [4.0, 2.0, 3.0, 1.0], "fps": [250, 500, 333, 1000], "mib": 1.0})
    speeds.index = pd.MultiIndex.from_tuples([(name, FP32) for name in "abcd"], names=["axis 1", "network"])
    _, table = summary([[0.9, 0.9], [0.8, 0.8], [0.7, 0.7], [0.6, 0.6], [1, 1]], [[True] * 4] * 5, speeds)
    assert dict(zip(table["axis 1"], table["front"], strict=True)) == {"e": False, "a": True, "b": True, "c": False, "d": True}
    assert table.set_index("axis 1")["score"]["a"] == pytest.approx(0.7 * 0.9 + 0.3)
    header, texts = as_texts(table)
    assert texts[0][header.index("ms")] == ""  # e was not exported
    assert texts[1][header.index("ms")] == "4.00"


def test_charts_of_many_settings_with_odd_names_are_bounded(tmp_path):
    names = [f"data.root=$$ 裙 {k}" for k in range(150)]
    rows = pd.DataFrame({"axis 1": names, "network": FP32, "seed": 1, "accuracy": np.linspace(0, 1, 150), "minutes": 1.0})
    right = pd.Series([True, False], pd.MultiIndex.from_tuples([(1, "x"), (1, "y")], names=["seed", "path"]))
    keys = [(name, FP32) for name in names]
    index = pd.MultiIndex.from_tuples(keys, names=["axis 1", "network"])
    table = summarise(rows, dict.fromkeys(keys, right), pd.DataFrame({"ms": np.arange(1, 151), "fps": 1.0, "mib": 1.0}, index))
    draw(tmp_path / "chart.png", rows, table)
    draw_choice(tmp_path / "choice.png", table)
    for name in ("chart.png", "choice.png"):
        height, width = cv2.imread(str(tmp_path / name)).shape[:2]
        assert 100 < height < 8000
        assert 100 < width < 8000


def files(folder):
    """{path: hash} of all files in `folder` but those of its ablation."""
    paths = [path for path in folder.rglob("*") if path.is_file() and "ablation" not in path.relative_to(folder).parts]
    return {str(path): sha256(path) for path in paths}


def test_study_in_a_config_trains_real_students_and_leaves_the_run_alone(tmp_path):
    """Of pictures that the config draws: they are those of the run itself, whatever a trial's seed."""
    place = RunFolder(tmp_path / "runs" / "t")
    textiles, config = place.path / "textiles", tmp_path / "config.py"
    text = CONFIG.format(work_dir=str(tmp_path / "runs"), root=str(textiles / "train"), val_root=str(textiles / "validation"))
    config.write_text(text.replace("data = dict(", "data = dict(draw_textiles=35, ").replace("seeds=1", "seeds=2"))
    of_the_run = load_config(config)
    open_data(Session(of_the_run, place, torch.device("cpu")), preprocessing_of(of_the_run.student))
    before = files(place.path)
    ablate.main([str(config), "--shard", "2/4"])  # the first choice, with the second seed
    ablate.main([str(config), "--report"])
    assert files(place.path) == before
    (timed,) = pd.read_csv(place.path / "ablation" / "speed.csv").to_dict("records")
    assert 0.1 < timed["ms"] < 1000
    assert timed["mib"] > 1
    assert read_summary(place.path / "ablation" / "table.csv")["ms"].tolist() == [timed["ms"]]
    rows = pd.read_csv(place.path / "ablation" / "trials.csv")
    ((choice, seed, accuracy),) = rows[["axis 1", "seed", "accuracy"]].itertuples(index=False)
    assert (choice, seed) == ("student.mixing=cutmix", of_the_run.seed + 1)
    reached = RunFolder(place.path / "ablation" / "trials" / f"student.mixing=cutmix_seed={seed}").results()["student"]
    assert reached["best_accuracy"] == accuracy
    caches = (place.path / "ablation").rglob("train_36_shrunk2.npy")
    assert [path.parents[2].name for path in caches] == ["pixels"]  # where all share them


def test_students_of_stored_views_share_their_teacher_and_what_it_says(config, calls, tmp_path):
    arguments = ["--axis", "student.num_views=2,3", "--seeds", "2", "--output", str(tmp_path)]
    ablate.main([str(config), *arguments, "--cfg-options", "student.teacher_weight=0.2", "student.distillation=views"])
    assert [script for script, _ in calls] == ["e4.py", *["m11.py"] * 4]
    assert {made.student.oof for _, made in calls[1:]} == {str(tmp_path / "teachers" / "base" / "oof.csv")}
