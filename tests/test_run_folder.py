"""A run's folder says what was made with which settings, whatever is typed later."""

import json
import re
import shutil

import numpy as np
import pytest
from helpers import contents, refusal, run_script, write_config
from scipy.special import softmax

from common.errors import UserError
from common.files import read_csv, read_json
from recipe.predictor import CheckpointPredictor, IrPredictor, check_exported, open_predictor
from utils import session
from utils.calibration import fit_temperature
from utils.checkpoints import load_checkpoint, save_checkpoint
from utils.run_folder import RunFolder

SETTINGS = {"lr": 0.1, "classes": ["a", "b"]}


def test_a_stage_is_claimed_once_and_its_config_stays_with_it(tmp_path):
    folder = RunFolder(tmp_path)
    folder.claim("teacher", SETTINGS, "lr = 0.1")
    folder.fold(0).path.mkdir()
    folder.fold(0).last.touch()
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"teacher: holds a run with other settings:\n    lr: 0\.1 there, 0\.2 now\n"):
        folder.claim("teacher", {**SETTINGS, "lr": 0.2}, "lr = 0.2")
    assert contents(tmp_path) == before
    folder.claim("student", {**SETTINGS, "lr": 0.2}, "lr = 0.2")
    assert (folder.config("teacher").read_text(), folder.config("student").read_text()) == ("lr = 0.1", "lr = 0.2")
    assert {"python", "packages", "command", "usable_cpus"} <= read_json(folder.path / "teacher" / "environment.json").keys()


def test_a_stage_that_never_got_to_a_checkpoint_may_be_begun_with_other_settings(workplace, trained):
    """Its own message says so: "Lower the learning rate"."""
    options = ["name=too_fast", "student.distillation=none", "student.epochs=1", "student.final_epochs=0", f"data.cache={trained}"]
    assert "Lower the learning rate" in refusal("m11.py", "config.py", "--cfg-options", *options, "student.lr=1e30", cwd=workplace)
    run_script("m11.py", "config.py", "--cfg-options", *options, cwd=workplace)
    assert "student.lr" not in refusal("m11.py", "config.py", "--cfg-options", *options, "student.lr=1", cwd=workplace)
    assert read_json(RunFolder(workplace / "runs" / "too_fast").settings("student"))["lr"] == 1e-3


def test_teachers_in_the_loop_are_those_of_all_folds_or_none(copy_of_run, workplace):
    assert copy_of_run.teachers() == [copy_of_run.fold(k).best for k in range(3)]
    copy_of_run.fold(1).oof.unlink()  # as while it is being trained
    options = ["student.distillation=online", f"work_dir={copy_of_run.path.parent}", "name=copy"]
    told = refusal("m11.py", "config.py", "--cfg-options", *options, cwd=workplace)
    assert "fold1: this fold is not trained yet (1 of 3 are missing)" in told
    assert "student.online_teachers" in told
    with pytest.raises(UserError, match="no teacher there"):
        RunFolder(workplace / "nowhere").teachers()


@pytest.fixture
def copy_of_run(exported, tmp_path):
    """A copy of the finished run that the test may change."""
    return RunFolder(shutil.copytree(exported, tmp_path / "copy"))


def test_a_run_from_before_a_setting_is_taken_as_it_was_made(copy_of_run):
    """Such as one whose pictures were decoded in their own size."""
    config, settings = copy_of_run.config("student"), copy_of_run.settings("student")
    assert session.reopen(copy_of_run.path).config.student.shrink_on_load == 2
    config.write_text("".join(line for line in config.read_text().splitlines(True) if "shrink_on_load" not in line))
    noted = {key: value for key, value in read_json(settings).items() if key != "shrink_on_load"}
    settings.write_text(json.dumps(noted))
    reopened = session.reopen(copy_of_run.path).config
    assert reopened.student.shrink_on_load == reopened.teacher.shrink_on_load == 0
    copy_of_run.claim("student", {**noted, "shrink_on_load": 0}, config.read_text())
    with pytest.raises(UserError, match=r"shrink_on_load: 0 there, 2 now"):
        copy_of_run.claim("student", {**noted, "shrink_on_load": 2}, config.read_text())


def test_a_run_from_before_a_setting_was_taken_out_goes_on_where_it_had_none_of_it(copy_of_run):
    config, settings = copy_of_run.config("student"), copy_of_run.settings("student")
    expected, noted = session.reopen(copy_of_run.path).config, read_json(settings)
    config.write_text(config.read_text().replace("    teacher_weight=", "    feature_weight=0.5,\n    teacher_weight="))
    assert "feature_weight" in config.read_text()
    assert session.reopen(copy_of_run.path).config == expected
    settings.write_text(json.dumps({**noted, "feature_weight": 0.0}))
    copy_of_run.claim("student", noted, config.read_text())
    settings.write_text(json.dumps({**noted, "feature_weight": 0.5}))
    with pytest.raises(UserError, match=r"feature_weight: 0.5 there, None now"):
        copy_of_run.claim("student", noted, config.read_text())


def test_a_refused_command_changes_nothing_that_later_scripts_read(exported, workplace):
    """`m11.py` with another size, seed or held-out fold once left its config to the export, which then measured other pixels."""
    before = contents(exported, "config.py")
    for option in ("student.resize=40", "seed=7", "student.num_folds=5"):
        assert "holds a run with other settings" in refusal("m11.py", "config.py", "--cfg-options", option, cwd=workplace)
    assert contents(exported, "config.py") == before
    assert session.reopen(exported).config.student.resize == 36


def test_validation_pictures_may_not_change_while_a_student_is_trained(exported, workplace, textiles, tmp_path):
    validation = shutil.copytree(textiles / "validation", tmp_path / "validation")
    next(validation.rglob("*.jpg")).unlink()
    options = [f"data.val_root={validation}", f"data.cache={tmp_path / 'cache'}"]
    told = refusal("m11.py", "config.py", "--cfg-options", *options, cwd=workplace)
    assert re.search(r"\n    held_out: [0-9a-f]{12}\.\.\. there, [0-9a-f]{12}\.\.\. now\n", told)


def test_validation_pictures_that_come_later_are_judged_by_the_teacher_too(trained, textiles, tmp_path):
    """A run without them, then with them: once the merge failed for ever."""
    write_config(tmp_path, textiles / "train", None)
    options = ["--cfg-options", "teacher.epochs=1"]
    run_script("e4.py", "config.py", *options, cwd=tmp_path)
    folder = RunFolder(tmp_path / "runs" / "t")
    assert "val_accuracy" not in folder.results()["teacher"]
    trained_once = contents(folder.path, "*.pth")
    run_script("e4.py", "config.py", *options, f"data.val_root={textiles / 'validation'}", cwd=tmp_path)
    assert 0 <= folder.results()["teacher"]["val_accuracy"] <= 1
    other = shutil.copytree(textiles / "validation", tmp_path / "other")
    next(other.rglob("*.jpg")).unlink()
    run_script("e4.py", "config.py", "--merge", *options, f"data.val_root={other}", cwd=tmp_path)
    assert len(folder.fold(0).validation.read_text().splitlines()) == 28  # a header, and one picture fewer
    assert contents(folder.path, "*.pth") == trained_once


def test_one_fold_and_merging_exclude_each_other(workplace, capsys):
    with pytest.raises(SystemExit):
        run_script("e4.py", "config.py", "--fold", "0", "--merge", cwd=workplace)
    assert "not allowed with argument" in capsys.readouterr().err
    assert "--fold 3: the folds are 0 to 2" in refusal("e4.py", "config.py", "--fold", "3", cwd=workplace)


def test_export_takes_checkpoint_and_pictures_from_what_was_trained(exported, copy_of_run, workplace):
    """Not from what was typed last, and refused."""
    assert RunFolder(exported).shipped().name == "averaged.pth"
    options = ["student.resize=40", f"work_dir={copy_of_run.path.parent}", "name=copy"]
    refusal("m11.py", "config.py", "--cfg-options", *options, cwd=workplace)
    run_script("export_openvino.py", copy_of_run.path, "--checkpoint", "best", cwd=workplace)
    assert copy_of_run.shipped() == copy_of_run.student.best
    assert read_json(copy_of_run.exported.manifest)["checkpoint"]["file"] == "best.pth"
    results = copy_of_run.results()
    assert results["deploy"]["checkpoint"] == "best.pth"
    assert results["deploy"]["accuracy"]["PyTorch"] == results["student"]["best_accuracy"]


def test_a_student_trained_anew_answers_instead_of_its_old_export(copy_of_run, said):
    assert isinstance(open_predictor(copy_of_run.path), IrPredictor)
    saved = load_checkpoint(copy_of_run.student.averaged)
    save_checkpoint(
        copy_of_run.student.averaged, {**saved["model"], "head.4.bias": saved["model"]["head.4.bias"] + 1}, saved["meta"]
    )
    assert isinstance(open_predictor(copy_of_run.path), CheckpointPredictor)
    assert "was exported from an older student" in said.text
    with pytest.raises(UserError, match=r"model\.xml: was exported from an older student\. Run: python export_openvino\.py"):
        check_exported(copy_of_run, copy_of_run.exported.network)
    copy_of_run.student.averaged.unlink()  # to save room: the export is all that is left of it
    assert isinstance(open_predictor(copy_of_run.path), IrPredictor)


def test_results_of_several_scripts_stand_beside_each_other(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.results() == {}
    folder.save_results("teacher", {"oof_accuracy": 0.5})
    folder.save_results("student", {"best_accuracy": 0.6})
    folder.save_results("teacher", {"oof_accuracy": 0.7})
    assert folder.results() == {"teacher": {"oof_accuracy": 0.7}, "student": {"best_accuracy": 0.6}}


def test_a_folder_without_a_student_says_what_it_lacks(tmp_path):
    with pytest.raises(UserError, match=r"has no student .*Give the folder of a run that m11\.py finished"):
        open_predictor(tmp_path)
    with pytest.raises(UserError, match="not the folder of a run that m11"):
        session.reopen(tmp_path)


def test_a_run_without_validation_pictures_says_what_its_accuracies_are_of(textiles, tmp_path):
    """The README's own way: no `data.val_root`, and `data.root` relative to where the scripts are started, but for the export."""
    (tmp_path / "pictures").symlink_to(textiles)
    (tmp_path / "elsewhere").mkdir()
    write_config(tmp_path, "pictures/train", None)
    options = ["--cfg-options", "student.epochs=1", "student.final_epochs=1", "student.num_folds=3", "teacher.epochs=1"]
    run_script("e4.py", "config.py", *options, cwd=tmp_path)
    run_script("m11.py", "config.py", *options, cwd=tmp_path)
    run_script("export_openvino.py", tmp_path / "runs" / "t", cwd=tmp_path / "elsewhere")
    folder = RunFolder(tmp_path / "runs" / "t")
    assert_calibrated_by_best(folder, textiles)
    seen = "fold 0 of 3, which it was trained on too"
    results = folder.results()
    assert (results["student"]["best_on"], results["student"]["averaged_on"]) == ("fold 0 of 3", seen)
    assert results["deploy"]["measured_on"] == read_json(folder.exported.manifest)["accuracy_measured_on"] == seen
    assert f">{seen}<" in folder.exported.network.read_text() or f'"{seen}"' in folder.exported.network.read_text()
    table = [line for line in (folder.path / "log.txt").read_text().splitlines() if line.startswith("OpenVINO IR")]
    assert seen in table[0]

    before = contents(folder.deploy)
    folder.student.best.unlink()  # nobody is left who could judge
    told = "best.pth: not there. The export is calibrated by it, since it alone was not trained on fold 0 of 3"
    assert told in refusal("export_openvino.py", folder.path, cwd=tmp_path / "elsewhere")
    assert contents(folder.deploy) == before


def assert_calibrated_by_best(folder, textiles):
    """And not by the student that saw the held-out fold in its second stage."""
    noted = read_json(folder.exported.manifest)["calibration"]
    assert noted["fitted_on"] == "fold 0 of 3, by best.pth, which never saw it"
    oof, table = read_csv(folder.oof, texts=("path",)), read_csv(folder.exported.held_out, texts=("path", "label"))
    assert len(table) == noted["pictures"]
    assert set(table["path"]) == set(oof["path"][oof["fold"] == 0])
    best = CheckpointPredictor(folder.student.best)  # as trained: it is not the one that was exported
    logits = np.stack([best.logits(best.read(textiles / "train" / path)) for path in table["path"]])
    labels = np.array([best.classes.index(label) for label in table["label"]])
    assert noted["temperature"] == pytest.approx(fit_temperature(logits, labels), rel=1e-2)
    expected = softmax(logits / noted["temperature"], axis=1)
    assert table.filter(like="p_").to_numpy() == pytest.approx(expected, abs=1e-4)
