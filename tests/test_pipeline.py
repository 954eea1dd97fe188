"""The scripts as a user types them: end to end, again, and with mistakes."""

import io
import json
import os
import shutil
import sys

import numpy as np
import onnxruntime
import openvino as ov
import pandas as pd
import pytest
import torch
from helpers import refusal, run_script, weights

import ablate
import e4
import export_openvino
import m11
import predict
from data.decode import read_rgb
from deploy.inputs import NetworkInput
from recipe import exporting
from recipe.exporting import open_export
from recipe.saved_model import load_model
from utils import session
from utils.run_folder import DeployFolder, RunFolder

BRIEFLY = """
import runpy, sys
import deploy.timing
deploy.timing.SECONDS = 0.05
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def finished(call, trained):
    """The run folder after e4.py, m11.py and export_openvino.py, and the last one as a process of its own."""
    return trained, call("export_openvino.py", trained, "--int8", "--int8-budget", "100", launcher=["-c", BRIEFLY])


def test_three_scripts_leave_what_the_readme_says(finished):
    folder, export = finished
    for name in (
        "teacher/config.py", "student/config.py", "student/environment.json",
        "log.txt", "index.csv", "folds.csv", "oof.csv", "results.json",
        "teacher/fold0/best.pth", "teacher/fold2/last.pth", "student/best.pth", "student/last.pth", "student/metrics.csv",
        "student/final_1.pth", "student/final_2.pth", "student/averaged.pth", "student/confusion.png",
        "deploy/model.onnx", "deploy/model.xml", "deploy/model.bin", "deploy/model_int8.xml",
        "deploy/labels.txt", "deploy/held_out.csv", "deploy/manifest.json",
    ):  # fmt: skip
        assert (folder / name).is_file(), name
    for line in (
        "teacher, out-of-fold",
        "student, averaged checkpoints",
        "OpenVINO IR",
        "OpenVINO IR INT8",
        "  validation pictures  ",
        "PyTorch eager",
    ):
        assert line in export.stdout
    assert not list(folder.rglob("*.tmp*")), "no temporary file is left"
    manifest = json.loads((folder / "deploy" / "manifest.json").read_text())
    faster = min(
        ("OpenVINO", "model.xml"), ("OpenVINO INT8", "model_int8.xml"), key=lambda engine: manifest["speed"][engine[0]]["ms"]
    )[1]
    assert f"times as fast one at a time: {folder / 'deploy' / faster} ({manifest['speed_measured_on']})" in export.stdout


OURS = (
    "largest difference", "INT8: ", "what ", "----", "teacher, ", "student, ", "ONNX  ", "OpenVINO IR", "engine (CPU)", "PyTorch ",
    "ONNX Runtime", "OpenVINO  ", "OpenVINO INT8", "labels that the teacher doubts: ", "calibration: temperature ", "report: ",
    "The faster one here, ",
)  # fmt: skip


def test_exporting_says_only_what_we_say(finished):
    """Libraries have bars, warnings about compilers and graphs, and greetings of their own."""
    export = finished[1]
    assert [line for line in export.stdout.splitlines() if line and not line.startswith(OURS)] == []
    assert export.stderr == ""


def test_every_picture_is_predicted_once_by_the_model_that_did_not_see_it(finished):
    folder, _ = finished
    oof, folds = pd.read_csv(folder / "oof.csv"), pd.read_csv(folder / "folds.csv")
    index = pd.read_csv(folder / "index.csv")
    assert list(oof["path"]) == list(folds["path"]) == list(index["path"])
    assert list(oof["fold"]) == list(folds["fold"])
    images = np.load(folder / "cache" / "train_32_shrunk2.npy", mmap_mode="r")
    probs = oof[[column for column in oof if column.startswith("p_")]].to_numpy()
    for fold in range(3):
        model = load_model(folder / "teacher" / f"fold{fold}" / "best.pth").model
        x = torch.tensor(np.array(images)).permute(0, 3, 1, 2) / 255 - 0.5
        with torch.inference_mode():
            answers = model(x).softmax(1).numpy()
        is_held_out = (oof["fold"] == fold).to_numpy()
        np.testing.assert_allclose(probs[is_held_out], answers[is_held_out], atol=1e-4)
        assert not np.allclose(probs[~is_held_out], answers[~is_held_out], atol=1e-4)


def test_averaged_checkpoint_is_the_mean_of_the_final_epochs(finished):
    folder = finished[0] / "student"
    first, second, mean = (weights(folder / f"{name}.pth") for name in ("final_1", "final_2", "averaged"))
    for key, value in mean.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, ((first[key].double() + second[key].double()) / 2).float(), rtol=1e-6, atol=1e-7)
        else:
            assert torch.equal(value, second[key])


def test_predicting_prints_the_answers_and_nothing_else(call, finished, textiles):
    done = call("predict.py", finished[0], textiles / "validation")
    table = pd.read_csv(io.StringIO(done.stdout))
    assert len(table) == 28
    assert table["error"].isna().all()
    assert done.stderr == ""


def test_predict_answers_for_every_file_and_says_what_is_wrong_with_a_bad_one(finished, textiles, tmp_path):
    folder, _ = finished
    (tmp_path / "torn.jpg").write_bytes(b"")
    table = {}
    for source in (folder, folder / "student" / "averaged.pth"):
        run_script("predict.py", source, textiles / "validation", "torn.jpg", "--output", "answers.csv", cwd=tmp_path)
        table[source] = pd.read_csv(tmp_path / "answers.csv")
    by_ir, by_torch = table.values()
    good = by_ir[by_ir["error"].isna()]
    assert sorted(good["path"]) == sorted(map(str, (textiles / "validation").rglob("*.jpg")))
    assert list(by_ir["path"]) == list(by_torch["path"])
    assert by_ir.iloc[-1][["path", "error"]].tolist() == ["torn.jpg", "empty file (0 bytes)"]
    probs = good.filter(like="p_").to_numpy()
    assert probs.sum(1) == pytest.approx(1, abs=1e-5)
    assert np.abs(probs - by_torch.filter(like="p_").to_numpy()[:-1]).max() < 1e-4
    assert good["confidence"].to_numpy() == pytest.approx(probs.max(1))
    truth = [path.split("/")[-2] for path in good["path"]]
    accuracy = json.loads((folder / "results.json").read_text())["student"]["averaged_accuracy"]
    assert np.mean(good["class"] == truth) == pytest.approx(accuracy)  # the same pictures, the same answers as in training


def test_predict_writes_json_and_activation_maps(finished, textiles, tmp_path):
    folder, _ = finished
    picture = next((textiles / "validation").rglob("*.jpg"))
    run_script("predict.py", folder, picture, picture, "--output", "a.json", "--explain", "maps", cwd=tmp_path)
    rows = json.loads((tmp_path / "a.json").read_text())
    assert [row["path"] for row in rows] == [str(picture)] * 2
    assert rows[0]["probabilities"][rows[0]["class"]] == rows[0]["confidence"]
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [f"{picture.stem}-2.jpg", f"{picture.stem}.jpg"]
    assert read_rgb(tmp_path / "maps" / picture.name).shape == read_rgb(picture).shape


def test_int8_over_its_budget_leaves_fp32_alone(finished, tmp_path, monkeypatch):
    """Quantised here means: the same network, against an FP32 accuracy that it cannot reach."""
    run = session.reopen(finished[0])
    saved = load_model(run.folder.shipped())
    export = open_export(run, saved, NetworkInput(saved.preprocessing))
    export.network = ov.convert_model(str(run.folder.deploy / "model.onnx"))
    monkeypatch.setattr(exporting, "quantize", lambda network, *args, **kw: network)
    assert export.write_int8(DeployFolder(tmp_path), fp32_accuracy=1.02, budget=1.0) == {}
    assert not list(tmp_path.iterdir())
    scores = export.write_int8(DeployFolder(tmp_path), fp32_accuracy=-0.01, budget=1.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model_int8.bin", "model_int8.xml"]
    assert scores == {"OpenVINO INT8": export.accuracy(export.expected)}


def test_numbers_in_the_manifest_are_those_of_the_files(finished, textiles):
    folder, _ = finished
    manifest = json.loads((folder / "deploy" / "manifest.json").read_text())
    meta = load_model(folder / "student" / "averaged.pth").meta
    assert manifest["fingerprint"] == meta["fingerprint"] == json.loads((folder / "index.json").read_text())["fingerprint"]
    assert manifest["classes"] == sorted(path.name for path in (textiles / "train").iterdir())
    images, index = np.load(folder / "cache" / "validation_36_shrunk2.npy"), pd.read_csv(folder / "index_validation.csv")
    x = ((images[:, 2:34, 2:34] / 255 - 0.5) / 0.225).transpose(0, 3, 1, 2).astype(np.float32)
    session = onnxruntime.InferenceSession(str(folder / "deploy" / "model.onnx"), providers=["CPUExecutionProvider"])
    answers = np.concatenate([session.run(None, {"image": batch})[0] for batch in np.split(x, 4)]).argmax(1)
    right = np.mean([manifest["classes"][k] == label for k, label in zip(answers, index["label"], strict=True)])
    assert manifest["accuracy"]["ONNX Runtime"] == pytest.approx(right)
    assert max(manifest["largest_difference_from_pytorch"].values()) <= 1e-4


def test_finished_scripts_do_nothing_again(finished, workplace):
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.pth")}
    run_script("e4.py", "config.py", cwd=workplace)
    run_script("m11.py", "config.py", cwd=workplace)
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.pth")}
    assert {p for p in before if before[p] != after[p]} <= {folder / "student" / "averaged.pth"}
    assert RunFolder(folder).export_is_current()  # the mean of the same files is the same file


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.py"], "nowhere.py: no such config file"),
        (["config.py", "--cfg-options", "student.lrr=1"], "unknown key 'student.lrr'. Did you mean 'student.lr'"),
        (["config.py", "--cfg-options", "data.root=/nowhere"], "/nowhere: no such folder"),
        (["config.py", "--cfg-options", "device=cuda:7"], "usable GPUs here"),
        (["config.py", "--cfg-options", "student.oof=nowhere.csv", "name=x"], "nowhere.csv: no OOF table"),
        (["config.py", "--cfg-options", "student.lr=0.5"], "holds a run with other settings"),
    ],
)
def test_mistakes_end_in_one_clear_message(finished, workplace, arguments, message):
    assert message in refusal("m11.py", *arguments, cwd=workplace)


def test_runs_may_have_names_that_the_terminal_cannot_show(finished, tmp_path, monkeypatch):
    """Bytes that are not UTF-8, and a pipe that takes ASCII: no library and no log line stumbles over them."""
    folder = shutil.copytree(finished[0], tmp_path / os.fsdecode("r\xfcn 日本".encode() + b"\xff"))
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        run_script("export_openvino.py", folder, "--batch", "1", cwd=tmp_path)
    stream.flush()
    printed = stream.buffer.getvalue().decode("ascii")
    assert f"r\\xfcn \\u65e5\\u672c\\udcff{os.sep}deploy{os.sep}model.xml" in printed
    picture = folder / "student" / "confusion.png"
    run_script("predict.py", folder, picture, "--explain", folder / "maps", "--output", folder / "answers.csv", cwd=tmp_path)
    assert len(pd.read_csv(folder / "answers.csv")) == 1


def test_a_mistake_ends_a_process_with_status_1_and_no_stack_trace(call, tmp_path):
    done = call("export_openvino.py", tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}: not the folder of a run")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("script", [e4, m11, export_openvino, predict, ablate], ids=lambda script: script.__name__)
def test_help_shows_the_commands(script, capsys):
    with pytest.raises(SystemExit):
        script.main(["--help"])
    assert f"python {script.__name__}.py" in capsys.readouterr().out
