"""Who answers for a model, and what is refused before it answers: notes and files are data that may be wrong."""

import json
import resource
import shutil

import numpy as np
import openvino as ov
import pytest
import torch
from openvino import opset13 as opset
from tiny_networks import CLASSES, PREPROCESSING, by_colour, student_notes, student_state, write_student, write_tiny_ir

from common.errors import UserError
from common.files import read_json, sha256, write_json
from deploy.inputs import NetworkInput
from deploy.openvino_ir import save_ir
from recipe import predictor as predictor_module
from recipe.predictor import CheckpointPredictor, IrPredictor, open_predictor, student_of
from utils.checkpoints import save_checkpoint
from utils.run_folder import RunFolder

RED = np.full((30, 50, 3), (255, 0, 0), np.uint8)
HALVES = np.concatenate([RED[:, :25], np.full((30, 25, 3), (0, 0, 255), np.uint8)], axis=1)  # red on the left, blue on the right


def write_manifest_of(folder):
    """manifest.json with the digests of what lies in `folder`."""
    write_json(folder / "manifest.json", {"files": {path.name: {"sha256": sha256(path)} for path in folder.iterdir()}})


@pytest.mark.parametrize(
    "taken",
    [
        NetworkInput(PREPROCESSING),
        NetworkInput(PREPROCESSING, pixels=True, color="rgb"),
        NetworkInput(PREPROCESSING, pixels=True, color="bgr"),
        NetworkInput(PREPROCESSING, pixels=True, color="bgr", whole_pictures=True),
    ],
)
def test_the_notes_say_what_the_network_takes(taken, tmp_path):
    predictor = IrPredictor(write_tiny_ir(tmp_path, taken=taken))
    assert predictor.classes == CLASSES
    assert predictor.classes[predictor(RED).argmax()] == "red"


# Notes of an IR


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ({"input_image_size": 100000, "input_resize": 100000}, "image_size=100000, resize=100000: must be whole numbers of pixels"),
        ({"input_image_size": -16}, "image_size=-16"),
        ({"input_image_size": "1e99"}, "invalid literal"),
        ({"input_image_size": "9" * 5000}, "cannot be read"),
        ({"input_image_size": None}, "lack 'image_size'"),
        ({"input_image_size": 18}, "takes 16 x 16 pixels, but its notes say 18"),
        ({"input_resize": 10**9}, "resize=1000000000"),
        ({"input_resize": 12}, "image_size=16, resize=12"),
        ({"input_resize": None}, "lack 'resize'"),
        ({"input_fit": "crop"}, "fit='crop'"),
        ({"input_fit": None}, "lack 'fit'"),
        ({"input_mean": "nan 0 0"}, "must be three finite numbers"),
        ({"input_mean": "0.5"}, "must be three finite numbers"),
        ({"input_mean": "rather grey"}, "could not convert string to float"),
        ({"input_std": "0 1 1"}, "those of std above 0"),
        ({"input_std": None}, "lack 'std'"),
        ({"reverse_input_channels": "maybe"}, "in what order it takes colours"),
        ({"reverse_input_channels": None}, "in what order it takes colours"),
        ({"confidence_threshold": 1.5}, "confidence_threshold is '1.5', not a number from 0 to 1. Export it again"),
        ({"confidence_threshold": "nan"}, "confidence_threshold is 'nan'"),
        ({"confidence_threshold": "often"}, "confidence_threshold is 'often'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_senseless_notes_of_an_ir_are_told_before_anything_is_made_of_them(notes, message, tmp_path):
    with pytest.raises(UserError, match=r"model\.xml") as refused:
        IrPredictor(write_tiny_ir(tmp_path, **notes))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_ir_without_notes_is_told_so(tmp_path):
    save_ir(by_colour(), tmp_path / "model.xml", {})
    with pytest.raises(UserError, match=r"model\.xml: does not say what pictures it takes"):
        IrPredictor(tmp_path / "model.xml")


def test_notes_that_hold_others_do_not_matter(tmp_path):
    path = write_tiny_ir(tmp_path)
    path.write_text(path.read_text().replace("<model_info>", '<model_info><more><deep value="1" /></more>'))
    assert IrPredictor(path)(RED).argmax() == 2


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("blue\ngreen\n", "names 2 classes, but the network's output has the shape [?,3]"),
        ("blue\ngreen\nblue\n", "names the class 'blue' twice"),
        ("blue\n\nred\n", "must be a list of names, none empty"),
        ("", "must be a list of names, none empty"),
        (b"\xff\xfe\n\n\n", "not UTF-8"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message, tmp_path):
    path = write_tiny_ir(tmp_path)
    path.with_name("labels.txt").write_bytes(labels if isinstance(labels, bytes) else labels.encode())
    with pytest.raises(UserError) as refused:
        IrPredictor(path)
    assert message in str(refused.value)


def test_without_labels_txt_the_notes_name_the_classes(tmp_path):
    assert IrPredictor(write_tiny_ir(tmp_path / "a", labels_file=False)).classes == CLASSES
    with pytest.raises(UserError, match="names 2 classes"):
        IrPredictor(write_tiny_ir(tmp_path / "b", labels_file=False, labels="blue red"))


# Networks that are no classifier of pictures


def two_inputs():
    image, other = (opset.parameter(ov.PartialShape([-1, 3, 16, 16]), np.float32, name=name) for name in ("image", "other"))
    means = opset.reduce_mean(opset.add(image, other), np.int64([2, 3]), keep_dims=False)
    return ov.Model([means], [image, other], "two")


def two_outputs():
    image = opset.parameter(ov.PartialShape([-1, 3, 16, 16]), np.float32, name="image")
    means = opset.reduce_mean(image, np.int64([2, 3]), keep_dims=False)
    return ov.Model([means, opset.relu(means)], [image], "two")


def nothing_known():
    image = opset.parameter(ov.PartialShape.dynamic(), np.float32, name="image")
    return ov.Model([opset.relu(image)], [image], "dynamic")


def a_picture_back():
    image = opset.parameter(ov.PartialShape([-1, 3, 16, 16]), np.float32, name="image")
    return ov.Model([opset.relu(image)], [image], "picture")


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (two_inputs, "has 2 inputs and 1 outputs"),
        (two_outputs, "has 1 inputs and 2 outputs"),
        (nothing_known, "output has the shape [...]"),
        (a_picture_back, "output has the shape [?,3,16,16]"),
        (lambda: by_colour((-1, 3, 32, 16)), "takes 16 x 32 pixels"),
        (lambda: by_colour((-1, 3, -1, -1)), "takes ? x ? pixels"),
        (lambda: by_colour((-1, -1, 16, 16)), "three channels"),
        (lambda: by_colour((4, 3, 16, 16)), "takes [4,3,16,16], but one picture at a time"),
        (lambda: by_colour(kind=np.float64), "takes f64"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_networks_that_take_or_give_something_else_are_refused(network, message, tmp_path):
    with pytest.raises(UserError, match=r"model\.xml") as refused:
        IrPredictor(write_tiny_ir(tmp_path, network()))
    assert message in str(refused.value)


# Damage


@pytest.mark.parametrize("content", [b"", b"nonsense", bytes(range(256)) * 50, b"<?xml version='1.0'?><net name='x'>"])
def test_an_ir_that_is_no_network_is_one_message(content, tmp_path, capfd):
    path = write_tiny_ir(tmp_path)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.xml: ") as refused:
        IrPredictor(path)
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")  # OpenVINO itself has much to say about what it cannot read


@pytest.mark.parametrize("share", [0.3, 0.5, 0.99])
def test_a_truncated_ir_is_one_message(share, tmp_path):
    path = write_tiny_ir(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"model\.xml: "):
        IrPredictor(path)


@pytest.mark.parametrize("left", [None, 0, 10])
def test_missing_and_truncated_weights_are_one_message_without_a_manifest_too(left, tmp_path):
    path = write_tiny_ir(tmp_path)
    weights = path.with_suffix(".bin")
    content = weights.read_bytes()
    weights.unlink()
    if left is not None:
        weights.write_bytes(content[:left])
    with pytest.raises(UserError, match=r"model\.xml: OpenVINO cannot use it"):
        IrPredictor(path)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("name", ["model.xml", "model.bin", "labels.txt"])
@pytest.mark.parametrize("damage", [flip, cut, lambda path: path.unlink()], ids=["a bit", "the end", "all of it"])
def test_every_file_must_be_the_one_that_the_manifest_describes(name, damage, tmp_path):
    path = write_tiny_ir(tmp_path)
    write_manifest_of(tmp_path)
    assert IrPredictor(path)(RED).argmax() == 2
    damage(tmp_path / name)
    with pytest.raises(UserError, match=rf"{name}: (damaged|not there|no such)|{name}.*Export it again"):
        open_predictor(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "manifest.json: not valid JSON"),
        ("[]", "manifest.json: not valid JSON"),
        ("[" * 100_000, "manifest.json: not valid JSON"),
        ("{}", "manifest.json does not say what must be in it"),
        ('{"files": []}', "manifest.json does not say what must be in it"),
        ('{"files": {"model.xml": "abc"}}', "manifest.json does not say what must be in it"),
        ('{"files": {"model.xml": {"sha256": 5}}}', "model.xml: damaged, or not the file"),
        (json.dumps({"files": {"model.xml": {"sha256": "0" * 64}}}), "model.xml: damaged, or not the file"),
    ],
)
def test_a_manifest_that_says_nothing_or_lies_is_one_message(content, message, tmp_path):
    path = write_tiny_ir(tmp_path)
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UserError) as refused:
        IrPredictor(path)
    assert message in str(refused.value)


@pytest.mark.parametrize("checkpoint", [None, "best.pth", {"file": "best.pth"}, {"file": 5, "sha256": "x"}])
def test_a_manifest_that_does_not_say_what_was_exported_is_one_message(checkpoint, tmp_path):
    path = write_tiny_ir(tmp_path / "deploy")
    write_json(tmp_path / "deploy" / "manifest.json", {"checkpoint": checkpoint})
    for model in (tmp_path, path):
        with pytest.raises(UserError, match="does not say which checkpoint was exported"):
            open_predictor(model)


def test_weights_that_are_no_numbers_give_no_answer(tmp_path):
    path = write_tiny_ir(tmp_path, by_colour())
    weights = np.fromfile(path.with_suffix(".bin"), np.uint8)
    floats = np.frombuffer(weights.tobytes(), np.float32).copy()
    floats[np.abs(floats) == 10] = np.nan
    floats.tofile(path.with_suffix(".bin"))
    with pytest.raises(UserError, match="not a number"):
        IrPredictor(path)(RED)


# Checkpoints

META = student_notes()


@pytest.fixture(scope="module")
def state():
    return student_state()


def changed(section, **values):
    """META with other values in one section; `...` leaves a key out."""
    return {**META, section: {key: value for key, value in {**META[section], **values}.items() if value is not ...}}


def without(key):
    return {name: value for name, value in META.items() if name != key}


def test_a_checkpoint_with_sensible_notes_answers(state, tmp_path):
    save_checkpoint(tmp_path / "a.pth", state, META)
    predictor = open_predictor(tmp_path / "a.pth")
    assert predictor.classes == CLASSES
    assert predictor(RED).sum() == pytest.approx(1)
    assert student_of(predictor) is predictor


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({}, "lack 'classes'"),
        ([], "lack 'classes'"),
        (without("model"), "lack 'model'"),
        (without("preprocessing"), "lack 'preprocessing'"),
        (without("fingerprint"), "lack 'fingerprint'"),
        (without("measured_on"), "lack 'measured_on'"),
        ({**META, "classes": "abc"}, "'classes', or it is no list"),
        ({**META, "classes": [1, 2, 3]}, "must be a list of names"),
        ({**META, "classes": ["a", "a", "b"]}, "names the class 'a' twice"),
        ({**META, "classes": ["a", "b"]}, "2 classes at 32 pixels, but the model has"),
        (changed("preprocessing", image_size=100_000, resize=100_000), "image_size=100000"),
        (changed("preprocessing", image_size=float("inf")), "cannot be read"),
        (changed("preprocessing", mean=5), "cannot be read"),
        (changed("preprocessing", fit="crop"), "fit='crop'"),
        (changed("preprocessing", resize=...), "lack 'resize'"),
        (changed("model", image_size=100_000), "32 pixels, but the model has"),
        (changed("model", num_classes=10**9), "3 classes at 32 pixels, but the model has"),
        (changed("model", name="no_such_network"), "no_such_network"),
        (changed("model", name=["a"]), "do not fit together"),
        (changed("model", name="efficientnet_b0"), "do not fit together"),
        (changed("model", name="convnextv2_huge"), "do not fit together"),  # 2.6 GB, were it built
        (changed("model", head="none"), "unknown head 'none'"),
        (changed("model", dropout="much"), "do not fit together"),
        (changed("model", dropout=5), "do not fit together"),
        (changed("model", dropout=...), "a model's arguments are"),
        (changed("model", weights="/etc/passwd"), "a model's arguments are"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_senseless_notes_of_a_checkpoint_are_told_before_anything_is_built_of_them(state, meta, message, tmp_path):
    save_checkpoint(tmp_path / "a.pth", state, meta)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"a\.pth: ") as refused:
        CheckpointPredictor(tmp_path / "a.pth")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 100 * 2**10  # KiB
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 800


@pytest.mark.parametrize("damage", [flip, cut, lambda path: path.write_bytes(b"")], ids=["a bit", "the end", "all of it"])
def test_a_damaged_checkpoint_is_one_message(state, damage, tmp_path):
    save_checkpoint(tmp_path / "a.pth", state, META)
    damage(tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth: .*damaged"):
        open_predictor(tmp_path / "a.pth")


def test_weights_of_another_shape_are_named(state, tmp_path):
    save_checkpoint(tmp_path / "a.pth", {**state, "head.1.weight": torch.zeros(3, 5)}, META)
    with pytest.raises(UserError, match=r"head\.1\.weight: \(3, 5\), expected \(3, 576\)"):
        open_predictor(tmp_path / "a.pth")


# The student behind an IR


@pytest.fixture
def run(tmp_path):
    """A run folder whose averaged student was exported."""
    run = RunFolder(tmp_path / "run")
    write_student(run.student.best, seed=1)
    write_student(run.student.averaged, seed=2)
    write_tiny_ir(run.deploy)
    checkpoint = {"file": "averaged.pth", "sha256": sha256(run.student.averaged)}
    files = {path.name: {"sha256": sha256(path)} for path in run.deploy.iterdir()}
    write_json(run.exported.manifest, {"checkpoint": checkpoint, "files": files})
    return run


def test_the_student_behind_an_ir_is_the_one_that_was_exported(run, said):
    for model in (run.path, run.exported.network):
        predictor = open_predictor(model)
        assert isinstance(predictor, IrPredictor)
        assert student_of(predictor).path == run.student.averaged
    assert said.text == ""


def test_an_ir_outside_a_run_has_no_student(run, tmp_path):
    predictor = open_predictor(shutil.copytree(run.deploy, tmp_path / "elsewhere") / "model.xml")
    with pytest.raises(UserError, match=r"model\.xml: the student that it was exported from.* Give its checkpoint"):
        student_of(predictor)


def test_an_older_ir_says_so_even_where_its_file_is_named(run, said):
    write_student(run.student.averaged, seed=3)
    predictor = open_predictor(run.exported.network)
    assert isinstance(predictor, IrPredictor)  # as was asked for
    assert f"{run.exported.network}: was exported from an older student. Run: python export_openvino.py {run.path}" in said.text
    with pytest.raises(UserError, match="or was trained anew"):
        student_of(predictor)
    newer = open_predictor(run.path)
    assert newer.path == student_of(newer).path == run.student.averaged


def test_without_its_student_an_ir_answers_but_makes_no_maps(run):
    run.student.averaged.unlink()
    predictor = open_predictor(run.path)
    assert isinstance(predictor, IrPredictor)
    with pytest.raises(UserError, match="does not lie in its run"):
        student_of(predictor)


# Who is calibrated, and what is rejected


def export_with(run, **answering):
    """Note in the manifest of the run how its network answers."""
    write_json(run.exported.manifest, {**read_json(run.exported.manifest), **answering})


def test_the_checkpoint_behind_a_current_export_answers_calibrated_and_others_as_trained(run):
    raw = {path: CheckpointPredictor(path).logits(RED) for path in (run.student.averaged, run.student.best)}
    export_with(run, calibration={"temperature": 2.5}, reject_below=0.3)
    averaged, best = (open_predictor(path) for path in raw)
    assert averaged.logits(RED) == pytest.approx(raw[run.student.averaged] / 2.5, rel=1e-5)
    assert averaged.reject_below == 0.3
    assert np.array_equal(best.logits(RED), raw[run.student.best])
    assert best.reject_below == 0.0
    assert student_of(open_predictor(run.path)).logits(RED) == pytest.approx(averaged.logits(RED))
    write_student(run.student.averaged, seed=3)
    assert np.array_equal(open_predictor(run.path).logits(RED), CheckpointPredictor(run.student.averaged).logits(RED))
    elsewhere = shutil.copy(run.student.averaged, run.path / "alone.pth")
    assert np.array_equal(open_predictor(run.path).logits(RED), CheckpointPredictor(elsewhere).logits(RED))


@pytest.mark.parametrize(
    ("answering", "message"),
    [
        ({"calibration": {"temperature": 0}}, "the temperature is 0, not a number from 0.1 to 10. Export it again"),
        ({"calibration": {"temperature": "hot"}}, "the temperature is 'hot'"),
        ({"reject_below": 0.5}, None),  # of an export before there was a calibration
        ({"calibration": {"fitted_on": "nothing"}}, "the temperature is None"),
        ({"calibration": 3000}, "the temperature is 3000"),
        ({"reject_below": -1}, "reject_below is -1, not a number from 0 to 1"),
        ({"calibration": None}, "the temperature is None"),
    ],
)
def test_a_manifest_that_says_senseless_things_of_answers_is_told(run, answering, message):
    export_with(run, **answering)
    if message is None:
        assert CheckpointPredictor(run.student.averaged)(RED).sum() == pytest.approx(1)
        return
    with pytest.raises(UserError, match=r"manifest\.json: ") as refused:
        CheckpointPredictor(run.student.averaged)
    assert message in str(refused.value)


def test_a_class_is_unknown_below_the_confidence_of_the_network_or_the_user(tmp_path):
    path = write_tiny_ir(tmp_path, confidence_threshold=0.9)
    grey = np.full((20, 20, 3), 128, np.uint8)
    predictor = open_predictor(path)
    assert [predictor.class_of(predictor(pixels)) for pixels in (RED, grey)] == ["red", "unknown"]
    predictor = open_predictor(path, reject_below=0)
    assert predictor.class_of(predictor(grey)) in CLASSES
    assert predictor.class_of(np.float32([0, 0, 0.7])) == "red"
    predictor.reject_below = 0.7  # as text and as float32 it is another number than in Python
    assert predictor.class_of(np.float32([0, 0, 0.7])) == "red"


def test_a_class_that_is_called_unknown_is_told_where_pictures_are_rejected(tmp_path, said):
    path = write_student(tmp_path / "a.pth", ["known", "unknown"])
    open_predictor(path)
    assert said.text == ""
    open_predictor(path, reject_below=0.6)
    assert "a class is called 'unknown', as is what is rejected: those are the rows with a confidence below 0.6" in said.text


# Several answers in one


def mirrored(pixels):
    return np.ascontiguousarray(pixels[:, ::-1])


def test_with_the_mirror_image_every_predictor_answers_with_the_mean(run, tmp_path, monkeypatch):
    for kind in (IrPredictor, CheckpointPredictor):
        monkeypatch.setattr(kind, "logits", lambda self, pixels: pixels[:, :25].mean((0, 1)) / 100)
    teacher = write_teacher(tmp_path / "teacher_run")
    for model in (run.exported.network, run.student.best, teacher.teacher.path):
        plain, both = open_predictor(model), open_predictor(model, flip=True)
        assert [plain(pixels).argmax() for pixels in (HALVES, mirrored(HALVES))] == [0, 2]
        expected = pytest.approx((plain(HALVES) + plain(mirrored(HALVES))) / 2)
        assert both(HALVES) == expected
        assert both(mirrored(HALVES)) == expected


def write_teacher(path, num_folds=3):
    """The run folder of a teacher whose folds were never trained."""
    run = RunFolder(path)
    for fold in range(num_folds):
        write_student(run.fold(fold).best, seed=fold)
        run.fold(fold).oof.touch()
    write_json(run.settings("teacher"), {"num_folds": num_folds})
    return run


def test_a_teacher_answers_with_the_mean_of_its_folds(tmp_path, monkeypatch):
    run = write_teacher(tmp_path / "run")
    folds = [open_predictor(run.fold(k).best)(RED) for k in range(3)]
    assert np.ptp(folds, axis=0).max() > 1e-4
    loaded = []
    load = predictor_module.load_model
    monkeypatch.setattr(predictor_module, "load_model", lambda path: loaded.append(path) or load(path))
    teacher = open_predictor(run.teacher.path)
    assert (teacher.classes, teacher(RED).dtype) == (CLASSES, np.float32)
    assert teacher(RED) == pytest.approx(np.mean(folds, axis=0))
    assert loaded == run.teachers()  # once
    for k in range(3):
        assert np.array_equal(open_predictor(run.fold(k).path)(RED), folds[k])
    monkeypatch.chdir(run.teacher.path)
    for path in (".", "fold0/.."):
        assert np.array_equal(open_predictor(path)(RED), teacher(RED))
    with pytest.raises(UserError, match=r"its 3 models each look elsewhere.*Give one of them: .*fold0"):
        student_of(teacher)
    assert student_of(open_predictor("fold1")).path.parts[-2:] == ("fold1", "best.pth")


def test_a_teacher_that_is_not_trained_to_its_end_does_not_answer(tmp_path):
    run = write_teacher(tmp_path / "run")
    run.fold(1).best.unlink()
    with pytest.raises(UserError, match=r"fold1: this fold is not trained yet \(1 of 3 are missing\)"):
        open_predictor(run.teacher.path)
    with pytest.raises(UserError, match=r"fold1: not a fold that was trained \(no best\.pth\)\. Run e4\.py"):
        open_predictor(run.fold(1).path)
    write_student(run.fold(1).best, ["other", "classes"])
    with pytest.raises(UserError, match=r"best\.pth: knows other classes than .*fold0"):
        open_predictor(run.teacher.path)


def test_a_run_may_be_called_teacher(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "teacher")
    assert isinstance(open_predictor(tmp_path / "teacher"), IrPredictor)
