"""The C++ program and libji.so refuse a model that is damaged or says senseless things, with one message, and never guess."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import openvino as ov
import pytest
from helpers import preprocessing, run_script
from openvino import opset13 as op
from PIL import Image

from common.files import read_csv, sha256
from deploy.inputs import NetworkInput
from deploy.notes import model_info
from tests.cpp_build import build_cpp, missing_tools

pytestmark = pytest.mark.skipif(bool(missing_tools()), reason=f"the C++ parts need: apt-get install {missing_tools()}")
CLASSES = ["one", "two", "three"]


def write_network(folder, changes=None, classes=CLASSES, weight=1.0, **taken):
    """folder/model.xml, .bin and labels.txt of a network for three classes. changes: of its notes; None leaves one out."""
    folder.mkdir(exist_ok=True)
    image = op.parameter([-1, 3, 16, 16], np.float32)
    mean = op.reduce_mean(image, np.array([2, 3]), False)
    weights = np.random.default_rng(0).normal(0, 3, (3, 3)).astype(np.float32) * np.float32(weight)
    model = ov.Model([op.matmul(mean, op.constant(weights), False, False)], [image])
    notes = model_info(CLASSES, NetworkInput(preprocessing(16, 18), **taken)) | (changes or {})
    for key, value in notes.items():
        if value is not None:
            model.set_rt_info(str(value), ["model_info", key])
    ov.save_model(model, folder / "model.xml", compress_to_fp16=False)
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in classes))
    return folder / "model.xml"


def write_manifest(folder):
    files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in folder.iterdir()}
    (folder / "manifest.json").write_text(json.dumps({"files": files}))


@pytest.fixture
def exported(tmp_path):
    """A folder as it is exported: a model with its manifest."""
    write_network(tmp_path / "deploy")
    write_manifest(tmp_path / "deploy")
    return tmp_path / "deploy"


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "a.png"
    Image.new("RGB", (20, 30), (200, 40, 90)).save(path)
    return path


def classify(folder, picture, **environment):
    command = [build_cpp() / "classify", "--model", folder / "model.xml", picture]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})


def complaint(folder, picture):
    """The one line with which `classify` refuses the model; libji.so must say the same."""
    done = classify(folder, picture)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    home = folder.parent / "handed_in"
    shutil.rmtree(home, ignore_errors=True)
    (home / "lib").mkdir(parents=True)
    shutil.copy(build_cpp() / "lib" / "libji.so", home / "lib")
    shutil.copytree(folder, home / "model")
    script = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).ji_create_predictor(0))"
    library = subprocess.run([sys.executable, "-c", script, home / "lib" / "libji.so"], capture_output=True, text=True, timeout=60)
    assert library.stdout == "0\n", library.stderr
    message = done.stderr.removeprefix("classify: ").replace(str(folder), "")
    assert library.stderr.removeprefix("libji: ").replace(str(home / "model"), "") == message
    return message


def test_an_intact_model_answers(exported, picture):
    assert classify(exported, picture).returncode == 0


@pytest.mark.parametrize("name", ["model.xml", "model.bin", "labels.txt"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "gone"])
def test_a_damaged_file_is_noticed(exported, picture, name, damage):
    path = exported / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    {
        "flipped": lambda: path.write_bytes(content),
        "cut": lambda: path.write_bytes(content[: len(content) // 2]),
        "longer": lambda: path.write_bytes(path.read_bytes() + b"\n"),
        "gone": path.unlink,
    }[damage]()
    message = complaint(exported, picture)
    assert f"/{name}: " in message
    assert "export" in message
    assert ("no such file" if damage == "gone" and name != "labels.txt" else "is not what was exported") in message


def test_a_model_of_another_export_is_noticed(exported, picture, tmp_path):
    write_network(tmp_path / "other", weight=2.0)
    shutil.copy(tmp_path / "other" / "model.bin", exported)
    assert "/model.bin: is not what was exported" in complaint(exported, picture)


@pytest.mark.parametrize("text", ["{", "[]", '{"files": {"model.xml": 3}}', '{"files": {"model.bin": {"bytes": "many"}}}'])
def test_a_damaged_manifest_is_named(exported, picture, text):
    (exported / "manifest.json").write_text(text)
    assert "/manifest.json: damaged" in complaint(exported, picture)


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99])
def test_a_cut_file_is_noticed_without_a_manifest(tmp_path, picture, name, kept):
    folder = write_network(tmp_path / "deploy").parent
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(kept * len(content))])
    message = complaint(folder, picture)
    assert message.startswith("/model.xml: cannot be used on CPU: ")
    assert "export_openvino.py" in message


@pytest.mark.parametrize(
    "text", ["", "no XML", "<net/>", '<?xml version="1.0"?><net name="x" version="11"><layers></layers></net>']
)
def test_what_is_no_network_is_named(tmp_path, picture, text):
    folder = write_network(tmp_path / "deploy").parent
    (folder / "model.xml").write_text(text)
    assert complaint(folder, picture).startswith("/model.xml: cannot be used on CPU: ")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input_image_size": 100000}, "'input_image_size' is '100000', not a whole number from 8 to 4096"),
        ({"input_image_size": 0}, "'input_image_size' is '0'"),
        ({"input_image_size": -16}, "'input_image_size' is '-16'"),
        ({"input_image_size": "16.5"}, "'input_image_size' is '16.5'"),
        ({"input_image_size": "16 px"}, "'input_image_size' is '16 px'"),
        ({"input_image_size": ""}, "'input_image_size' is ''"),
        ({"input_image_size": "nan"}, "'input_image_size' is 'nan'"),
        ({"input_image_size": 17}, "input_image_size (17) do not go with its input of 16 pixels"),
        ({"input_resize": 10**12}, "'input_resize' is '1000000000000'"),
        ({"input_resize": 12}, "input_resize (12) and input_image_size (16) do not go with its input"),
        ({"input_fit": "crop"}, "'input_fit' is 'crop', not stretch or pad"),
        ({"scale_values": "0 1 1"}, "'scale_values' is '0 1 1', not three numbers above 0"),
        ({"scale_values": "-1 1 1"}, "not three numbers above 0"),
        ({"scale_values": "inf 1 1"}, "not three numbers above 0"),
        ({"mean_values": "nan 0 0"}, "'mean_values' is 'nan 0 0', not three numbers"),
        ({"mean_values": "1 2"}, "'mean_values' is '1 2'"),
        ({"mean_values": "1 2 3 4"}, "'mean_values' is '1 2 3 4'"),
        ({"mean_values": "1,5 2 3"}, "'mean_values' is '1,5 2 3'"),
        ({"reverse_input_channels": "maybe"}, "'reverse_input_channels' is 'maybe', not True or False"),
        *[({"confidence_threshold": value}, f"'confidence_threshold' is '{value}', not a number from 0 to 1")
          for value in (1.5, -0.1, "nan", "often", "", "0.5 0.5")],
        *[({key: None}, f"its notes (model_info) lack '{key}'") for key in (
            "input_image_size", "input_resize", "input_fit", "mean_values", "scale_values", "reverse_input_channels"
        )],
    ],
)  # fmt: skip
def test_senseless_notes_are_named(tmp_path, picture, changes, words):
    message = complaint(write_network(tmp_path / "deploy", changes).parent, picture)
    assert words in message
    assert message.endswith("Export the run again with export_openvino.py.\n")


def test_no_notes_at_all_are_named(tmp_path, picture):
    changes = dict.fromkeys(model_info(CLASSES, NetworkInput(preprocessing(16, 18))))
    assert "its notes (model_info) lack" in complaint(write_network(tmp_path / "deploy", changes).parent, picture)


@pytest.mark.parametrize("classes", [CLASSES[:2], [*CLASSES, "four"], []])
def test_another_number_of_classes_is_named(tmp_path, picture, classes):
    message = complaint(write_network(tmp_path / "deploy", classes=classes).parent, picture)
    assert f"{len(classes)} class names for an output of shape" in message


def test_an_answer_that_is_no_number_is_an_error(tmp_path, picture):
    done = classify(write_network(tmp_path / "deploy", weight=np.nan).parent, picture)
    assert done.returncode == 1
    assert "the network's answer is no number (NaN)" in done.stdout


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"max_pixels": 0}', "'max_pixels' is no whole number from 1 to 1073741824"),
        ('{"max_pixels": 1.5}', "'max_pixels' is no whole number"),
        ('{"max_pixels": "many"}', "'max_pixels' is no whole number"),
        ('{"threads": -1}', "'threads' is no whole number from 0 to 1024"),
        ('{"threads": 1e99}', "'threads' is no whole number"),
        ('{"reject": 1.5}', "'reject' is no number from 0 to 1"),
        ('{"reject": -0.1}', "'reject' is no number from 0 to 1"),
        ('{"reject": "often"}', "'reject' is no number from 0 to 1"),
        ('{"threads": 1.9}', "'threads' is no whole number from 0 to 1024"),
        ('{"threads": 4294967297}', "'threads' is no whole number from 0 to 1024"),
        ('{"reject": 0.1, "reject": 0.2}', "'reject' is there twice"),
        ('{"model": 3}', "'model' is no text"),
        ("[]", "not a JSON object"),
    ],
)
def test_senseless_settings_of_the_library_are_named(exported, tmp_path, config, message):
    library = handed_in(exported, tmp_path, config)
    script = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).ji_create_predictor(0))"
    done = subprocess.run([sys.executable, "-c", script, library], capture_output=True, text=True, timeout=60)
    assert done.stdout == "0\n"
    assert message in done.stderr


def test_a_configuration_under_its_old_name_is_not_passed_over(exported, tmp_path):
    library = handed_in(exported, tmp_path, "{}")
    (tmp_path / "config" / "algo_config.json").rename(tmp_path / "config" / "config.json")
    script = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).ji_create_predictor(0))"
    done = subprocess.run([sys.executable, "-c", script, library], capture_output=True, text=True, timeout=60)
    assert done.stdout == "0\n"
    assert "algo_config.json: is not there, but config.json, its old name, is. Name it anew" in done.stderr


def handed_in(exported, tmp_path, config):
    """The library in a folder as it is handed in."""
    for name in ("lib", "config"):
        (tmp_path / name).mkdir()
    (tmp_path / "config" / "algo_config.json").write_text(config)
    shutil.copytree(exported, tmp_path / "model")
    return shutil.copy(build_cpp() / "lib" / "libji.so", tmp_path / "lib")


def test_the_limit_of_pixels_is_a_setting(exported, tmp_path, picture):
    command = [build_cpp() / "classify", "--model", exported / "model.xml", picture, "--max-pixels"]
    assert subprocess.run([*command, "600"], capture_output=True, timeout=60).returncode == 0
    refused = subprocess.run([*command, "599"], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1
    assert "20 x 30 pixels, more than the 0.000599 million that are allowed (max_pixels)" in refused.stdout
    wrong = subprocess.run([*command, "0"], capture_output=True, text=True, timeout=60)
    assert wrong.returncode == 2
    assert "--max-pixels takes a whole number from 1 to" in wrong.stderr
    library = handed_in(exported, tmp_path, '{"max_pixels": 599}')
    assert "more than the 0.000599 million" in ask_library(library, picture)["error"]


def ask_library(library, picture):
    """What libji.so answers, in a process of its own."""
    script = (
        "import ctypes, sys\n"
        "class Event(ctypes.Structure): _fields_ = [('code', ctypes.c_int), ('json', ctypes.c_char_p)]\n"
        "ji, event = ctypes.CDLL(sys.argv[1]), Event()\n"
        "ji.ji_create_predictor.restype = ctypes.c_void_p\n"
        "handle = ctypes.c_void_p(ji.ji_create_predictor(0))\n"
        "ji.ji_calc_file(handle, sys.argv[2].encode(), None, None, ctypes.byref(event))\n"
        "print(event.json.decode())"
    )
    done = subprocess.run([sys.executable, "-c", script, library, picture], capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout)


def test_a_picture_of_low_confidence_is_unknown_as_the_network_says_or_the_user(tmp_path, picture):
    """In CSV, JSON and the platform's answers alike; what it might be stays to be seen."""
    plain = ask_program(write_network(tmp_path / "deploy"), picture)
    middle = plain["confidence"]  # with six decimals
    assert plain["class"] in CLASSES
    assert 0.35 < middle < 0.98
    strict = write_network(tmp_path / "strict", {"confidence_threshold": middle + 0.01})
    unknown = {**plain, "class": "unknown"}
    assert ask_program(strict, picture) == unknown
    assert ask_program(strict, picture, "--reject", "0") == ask_program(strict, picture, "--reject", str(middle - 0.01)) == plain
    assert ask_program(tmp_path / "deploy" / "model.xml", picture, "--reject", "1") == unknown
    for number, (config, expected) in enumerate([("{}", unknown), ('{"reject": 0}', plain), ('{"reject": 1}', unknown)]):
        (tmp_path / str(number)).mkdir()
        answer = ask_library(handed_in(strict.parent, tmp_path / str(number), config), picture)
        assert answer == {key: value for key, value in expected.items() if key != "path"}


def ask_program(model, picture, *options):
    """What `classify` answers in JSON; its CSV must say the same."""
    command = [build_cpp() / "classify", "--model", model, picture, *options]
    (answer,) = json.loads(subprocess.run([*command, "--output", "json"], capture_output=True, timeout=60, check=True).stdout)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert (row["class"], float(row["confidence"])) == (answer["class"], answer["confidence"])
    assert [float(row[f"p_{name}"]) for name in CLASSES] == list(answer["probabilities"].values())
    return answer


@pytest.mark.parametrize("threshold", [0.0, 0.6, 0.9])
def test_python_and_the_program_reject_the_same(tmp_path, threshold):
    """A class of the data may be called so too: the names are then the same, the confidence tells them apart."""
    classes = ["one", "unknown", "three"]
    model = write_network(tmp_path / "deploy", {"confidence_threshold": threshold}, classes)
    (tmp_path / "pictures").mkdir()
    for number, colour in enumerate(np.random.default_rng(1).integers(0, 256, (30, 3))):
        Image.new("RGB", (20, 20), tuple(map(int, colour))).save(tmp_path / "pictures" / f"{number:02}.png")
    run_script("predict.py", model, "pictures", "--output", "answers.csv", cwd=tmp_path)
    python = read_csv(tmp_path / "answers.csv", texts=("class",))
    command = [build_cpp() / "classify", "--model", model, tmp_path / "pictures"]
    program = csv.DictReader(io.StringIO(subprocess.run(command, capture_output=True, text=True, timeout=60).stdout))
    assert python["class"].tolist() == [row["class"] for row in program]
    rejected = python["confidence"] < threshold
    assert (python["class"][rejected] == "unknown").all()
    assert (rejected.sum() > 0) == (threshold > 0)
    assert not rejected.all()
