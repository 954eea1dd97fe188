"""export_openvino.py with each of its options: what it leaves answers as the checkpoint does, and mistakes leave all as it was."""

import json
import shutil
import weakref
from pathlib import Path

import cv2
import numpy as np
import onnx
import openvino as ov
import pandas as pd
import pytest
import torch
from conftest import give_opinions
from helpers import contents, refusal, run_script, write_config
from other_user import as_another_user, let_enter
from scipy.special import softmax

from common.files import read_csv, read_json, sha256
from data.decode import read_rgb
from data.index import picture_files
from data.preprocessing import Preprocessing
from deploy.inputs import NetworkInput
from recipe import exporting
from recipe.exporting import open_export
from recipe.saved_model import load_model
from utils import session
from utils.calibration import calibrate
from utils.checkpoints import save_checkpoint
from utils.run_folder import DeployFolder, RunFolder


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    """A copy of the run whose averaged student answers otherwise to every picture, so that swapped channels are seen."""
    run = RunFolder(shutil.copytree(trained, tmp_path_factory.mktemp("runs") / "copy", ignore=shutil.ignore_patterns("deploy")))
    give_opinions(run)
    return run


def predict(model, pictures, folder):
    """What predict.py answers, (N, 7)."""
    run_script("predict.py", model, pictures, "--output", "answers.csv", cwd=folder)
    return pd.read_csv(folder / "answers.csv").filter(like="p_").to_numpy()


@pytest.fixture(scope="module")
def probabilities(textiles, tmp_path_factory):
    """(model, or run folder) -> what predict.py answers about the validation pictures, (28, 7)."""
    folder = tmp_path_factory.mktemp("answers")
    return lambda model: predict(model, textiles / "validation", folder)


@pytest.fixture(scope="module")
def logits(run, textiles):
    """Of the averaged student as it was trained, for the validation pictures, (28, 7)."""
    saved = load_model(run.student.averaged)
    seen = saved.preprocessing
    squares = [seen.square(read_rgb(path, at_least=seen.at_least)) for path in picture_files(textiles / "validation")]
    with torch.inference_mode():
        return saved.model(torch.from_numpy(seen.network_input(np.stack(squares)))).numpy()


def calibrated(logits, manifest):
    """What the export with that manifest is to answer."""
    probs = softmax(logits / manifest["calibration"]["temperature"], axis=1)
    assert np.ptp(probs, axis=0).max() > 0.3  # otherwise no comparison below could fail
    return probs


def export(run, *options):
    run_script("export_openvino.py", run.path, *options, cwd=run.path)
    return read_json(run.exported.manifest)


def taken(run, name="model.xml"):
    (given,) = ov.Core().read_model(run.deploy / name).inputs
    return given.element_type.to_string(), str(given.partial_shape)


def test_one_image_of_raw_pixels_in_the_order_of_opencv(run, probabilities, logits, monkeypatch):
    manifest = export(run, "--input", "uint8", "--color", "bgr", "--batch", "1")
    expected = calibrated(logits, manifest)
    assert taken(run) == taken(run, "model.onnx") == ("u8", "[1,32,32,3]")
    assert (manifest["input"]["color"], manifest["input"]["shape"]) == ("bgr", [1, 32, 32, 3])
    assert probabilities(run.path) == pytest.approx(expected, abs=1e-4)
    monkeypatch.setattr(NetworkInput, "ordered", lambda self, pixels: np.ascontiguousarray(pixels))
    assert np.abs(probabilities(run.path) - expected).max() > 0.1  # a caller who gives RGB is answered otherwise


def test_onnx_says_of_itself_what_the_ir_says(run):
    manifest = export(run)
    notes = {item.key: item.value for item in onnx.load(run.exported.onnx).metadata_props}
    network = ov.Core().read_model(run.exported.network)
    of_ir = {key: value.astype(str) for key, value in network.get_rt_info(["model_info"]).astype(dict).items()}
    assert json.loads(notes.pop("classes")) == manifest["classes"]
    assert notes == of_ir
    values = {key.removeprefix("input_"): value for key, value in notes.items()}
    assert Preprocessing.from_dict(values, "model.onnx") == load_model(run.student.averaged).preprocessing


def test_whole_pictures(run, tmp_path):
    """OpenVINO shrinks in another way, so this is about pictures that look the same however they are shrunk."""
    manifest = export(run, "--input", "uint8", "--resize")
    assert (taken(run), taken(run, "model.onnx")) == (("u8", "[1,?,?,3]"), ("u8", "[?,32,32,3]"))
    assert (manifest["input"]["resized_by"], manifest["input"]["color"]) == ("IR", "bgr")
    (tmp_path / "pictures").mkdir()
    coarse = np.random.default_rng(0).integers(0, 256, (12, 3, 3, 3), np.uint8)
    for i, pixels in enumerate(coarse):
        cv2.imwrite(str(tmp_path / "pictures" / f"{i:02}.png"), cv2.resize(pixels, (90 + i, 70), interpolation=cv2.INTER_CUBIC))
    expected, answers = (predict(model, tmp_path / "pictures", tmp_path) for model in (run.student.averaged, run.path))
    assert np.ptp(expected, axis=0).max() > 0.3
    assert np.mean(answers.argmax(1) == expected.argmax(1)) > 0.9
    assert np.abs(answers - expected).mean() < 0.02


def test_another_checkpoint_within_another_tolerance(run, probabilities, logits):
    manifest = export(run, "--checkpoint", "best.pth", "--tolerance", "0.01")
    assert taken(run) == taken(run, "model.onnx") == ("f32", "[?,3,32,32]")
    assert manifest["checkpoint"]["file"] == "best.pth"
    answers = probabilities(run.path)
    assert answers == pytest.approx(probabilities(run.student.best), abs=1e-4)
    as_trained = probabilities(run.student.averaged)  # it is not the one that was exported
    assert as_trained == pytest.approx(softmax(logits, axis=1), abs=1e-4)
    assert np.abs(answers - as_trained).max() > 0.1


def test_exported_networks_answer_calibrated_and_the_checkpoint_stays_as_it_was(run, probabilities, logits, textiles):
    before = run.student.averaged.read_bytes()
    manifest = export(run)
    assert run.student.averaged.read_bytes() == before
    noted = manifest["calibration"]
    labels = np.array([manifest["classes"].index(Path(file).parent.name) for file in picture_files(textiles / "validation")])
    found = calibrate(logits, labels, "validation pictures")
    assert noted == {key: pytest.approx(value, abs=1e-3) if key != "fitted_on" else value for key, value in found.items()}
    assert run.results()["deploy"]["calibration"] == noted
    assert abs(noted["temperature"] - 1) > 0.1  # otherwise nothing below could fail
    for model in (run.path, run.exported.network, run.student.averaged):
        assert probabilities(model) == pytest.approx(calibrated(logits, manifest), abs=1e-4)
    line = f"calibration: temperature {noted['temperature']:.2f}, fitted on validation pictures (28); calibration error (ECE) "
    assert line in (run.path / "log.txt").read_text()


def test_the_calibrated_answers_for_the_held_out_pictures_lie_beside_it(run, logits, textiles):
    manifest = export(run)
    table = read_csv(run.exported.held_out, texts=("path", "label"))
    assert list(table) == ["path", "label", *(f"p_{name}" for name in manifest["classes"])]
    files = [Path(file) for file in picture_files(textiles / "validation")]
    assert list(table["path"]) == [path.relative_to(textiles / "validation").as_posix() for path in files]
    assert list(table["label"]) == [path.parent.name for path in files]
    assert table.filter(like="p_").to_numpy() == pytest.approx(calibrated(logits, manifest), abs=1e-4)
    assert manifest["files"]["held_out.csv"]["sha256"] == sha256(run.exported.held_out)


def test_a_threshold_of_the_export_is_that_of_all_who_answer_unless_they_have_their_own(run, textiles, tmp_path):
    assert export(run)["reject_below"] == 0.0

    def classes(model, *options):
        run_script("predict.py", model, textiles / "validation", "--output", "answers.csv", *options, cwd=tmp_path)
        table = pd.read_csv(tmp_path / "answers.csv")
        assert table["confidence"].to_numpy() == pytest.approx(table.filter(like="p_").to_numpy().max(1))
        return table["class"].tolist(), table["confidence"].to_numpy()

    plain, confidence = classes(run.path)
    middle = np.sort(confidence)[14:16].mean()
    expected = ["unknown" if sure < middle else name for name, sure in zip(plain, confidence, strict=True)]
    assert 0 < expected.count("unknown") < 28
    assert classes(run.path, "--reject", middle)[0] == expected
    assert export(run, "--reject", middle)["reject_below"] == middle
    for model in (run.path, run.exported.network, run.student.averaged):
        assert classes(model)[0] == expected
        assert classes(model, "--reject", 0)[0] == plain
        assert classes(model, "--reject", 1)[0] == ["unknown"] * 28


def test_a_student_that_cannot_be_fused_is_exported_and_the_log_says_so(run, probabilities, tmp_path):
    copy = RunFolder(shutil.copytree(run.path, tmp_path / "copy", ignore=shutil.ignore_patterns("deploy")))
    give_opinions(copy, "mobilevitv2_050")
    export(copy)
    line = "mobilevitv2_050 is exported with 26 BatchNorms unfused, which torch.fx cannot merge: ONNX Runtime and OpenVINO fuse"
    assert line in (copy.path / "log.txt").read_text()
    answers = [probabilities(model) for model in (copy.exported.network, copy.student.averaged)]
    assert np.ptp(answers[0], axis=0).max() > 0.3
    assert answers[0] == pytest.approx(answers[1], abs=1e-4)


@pytest.fixture
def deployed(run):
    """The run with something in its deploy folder."""
    run.deploy.mkdir(exist_ok=True)
    (run.deploy / "older").write_text("older")
    return run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--tolerance", "0", "--batch", "1"],
            "allowed 0e+00. Nothing was written. Report the backbone, or raise --tolerance if you accept it",
        ),
        (["--checkpoint", "bets"], "--checkpoint bets: the student has no such checkpoint. There are: averaged, best, final_1,"),
        (["--checkpoint", ""], "the student has no such checkpoint"),
        (["--checkpoint", "../teacher/fold0/best"], "the student has no such checkpoint"),
    ],
)
def test_a_refused_export_changes_nothing(deployed, options, message):
    before = contents(deployed.deploy)
    assert message in refusal("export_openvino.py", deployed.path, *options, cwd=deployed.path)
    assert contents(deployed.deploy) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--color", "bgr"], "--color bgr needs --input uint8"),
        (["--resize"], "--resize needs --input uint8, and BGR"),
        (["--resize", "--input", "uint8", "--color", "rgb"], "--resize needs --input uint8, and BGR"),
        (["--batch", "2"], "invalid choice: '2'"),
        (["--int8-budget", "1"], "--int8-budget needs --int8"),
        (["--int8", "--int8-budget", "-1"], "-1: must be a number, 0 or more"),
        (["--int8", "--int8-budget", "nan"], "nan: must be a number, 0 or more"),
        (["--tolerance", "inf"], "inf: must be a number, 0 or more"),
        (["--tolerance", "much"], "invalid"),
        (["--reject", "1.5"], "argument --reject: 1.5: must be a number from 0 to 1"),
        (["--reject", "-0.1"], "-0.1: must be a number from 0 to 1"),
        (["--reject", "nan"], "nan: must be a number from 0 to 1"),
        (["--reject", "often"], "often: must be a number from 0 to 1"),
    ],
)
def test_options_that_exclude_each_other_or_make_no_sense_are_refused(deployed, options, message, capsys):
    before = contents(deployed.path)
    with pytest.raises(SystemExit):
        run_script("export_openvino.py", deployed.path, *options, cwd=deployed.path)
    assert message in capsys.readouterr().err
    assert contents(deployed.path) == before


def test_a_whole_picture_cannot_be_padded_by_the_network(run, tmp_path):
    """`fit` is a note of the checkpoint: the IR can only stretch."""
    copy = RunFolder(shutil.copytree(run.path, tmp_path / "copy"))
    saved = load_model(copy.student.averaged)
    meta = {**saved.meta, "preprocessing": {**saved.meta["preprocessing"], "fit": "pad"}}
    save_checkpoint(copy.student.averaged, saved.model.state_dict(), meta)
    message = refusal("export_openvino.py", copy.path, "--input", "uint8", "--resize", cwd=tmp_path)
    assert "can only stretch them. Export without --resize" in message


def test_a_run_that_may_not_be_written_is_one_message_before_the_work(run, textiles, tmp_path, monkeypatch):
    """24f: as another user than root."""
    copy = shutil.copytree(run.path, tmp_path / "copy")
    let_enter(tmp_path, textiles.parent)
    monkeypatch.setattr(exporting.Export, "write", None)
    (tmp_path / "temporary").mkdir(mode=0o777)
    (tmp_path / "temporary").chmod(0o777)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))  # mmengine copies configs
    message = as_another_user(lambda: refusal("export_openvino.py", copy, cwd=tmp_path))
    assert message.startswith(f"error: {copy}")
    assert "ermission denied" in message
    (copy / "log.txt").chmod(0o666)
    message = as_another_user(lambda: refusal("export_openvino.py", copy, cwd=tmp_path))
    assert message.startswith(f"error: {copy}")
    assert "permission denied. Allow it to this user" in message


def test_a_file_in_place_of_the_deploy_folder_is_told_before_the_work(run, tmp_path, monkeypatch):
    copy = RunFolder(shutil.copytree(run.path, tmp_path / "copy", ignore=shutil.ignore_patterns("deploy")))
    copy.deploy.write_text("mine")
    monkeypatch.setattr(exporting.Export, "write", None)
    assert "deploy: is a file, but a folder goes there" in refusal("export_openvino.py", copy.path, cwd=tmp_path)
    assert copy.deploy.read_text() == "mine"


def test_a_spoilt_student_is_not_exported(run, tmp_path):
    copy = RunFolder(shutil.copytree(run.path, tmp_path / "copy", ignore=shutil.ignore_patterns("deploy")))
    saved = load_model(copy.student.averaged)
    saved.model.head[-1].bias.data[0] = torch.nan
    save_checkpoint(copy.student.averaged, saved.model.state_dict(), saved.meta)
    assert "answers are not numbers (NaN)" in refusal("export_openvino.py", copy.path, cwd=tmp_path)
    assert not copy.deploy.exists()


def test_a_student_of_other_pictures_is_not_measured_on_these(run, textiles, tmp_path):
    """Somebody changed `data.root` since: the accuracies would be of nothing that was trained."""
    pictures = shutil.copytree(textiles, tmp_path / "textiles")
    write_config(tmp_path, pictures / "train", pictures / "validation")
    copy = RunFolder(shutil.copytree(run.path, tmp_path / "runs" / "t"))
    next((pictures / "train").rglob("*.jpg")).unlink()
    shutil.copy(tmp_path / "config.py", copy.config("student"))
    assert "fingerprint differs" in refusal("export_openvino.py", copy.path, cwd=tmp_path)


def test_pictures_are_floats_a_batch_at_a_time(run, tmp_path, monkeypatch):
    """Validation sets are larger than memory: never more than a batch of them, and the batch before, may be alive."""
    monkeypatch.setattr(exporting, "BATCH", 2)
    monkeypatch.setattr(exporting, "NOISE_PICTURES", 2)
    monkeypatch.setattr(exporting, "CALIBRATION_PICTURES", 20)
    alive, most, made = 0, 0, 0

    def forget(number):
        nonlocal alive
        alive -= number

    def network_input(self, squares):
        nonlocal alive, most, made
        batch = original(self, squares)
        weakref.finalize(batch, forget, len(batch))
        alive, made = alive + len(batch), made + len(batch)
        most = max(most, alive)
        return batch

    original = Preprocessing.network_input
    monkeypatch.setattr(Preprocessing, "network_input", network_input)
    opened = session.reopen(run.path)
    saved = load_model(run.student.averaged)
    export = open_export(opened, saved, NetworkInput(saved.preprocessing, fixed_batch=True))
    files = DeployFolder(tmp_path)
    export.write(files)
    scores, _ = export.check(files, 1e-4)
    export.write_int8(files, scores["OpenVINO"], budget=100)
    assert made > 28 * 4  # PyTorch, PyTorch fused, ONNX Runtime, OpenVINO, and INT8's own
    assert most <= 6
