"""The C++ program and libji.so answer as Python does, on any file, from any folder."""

import csv
import ctypes
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest
import torch
from PIL import Image
from scipy.special import softmax
from torch import nn

from common.errors import UserError
from data.decode import read_rgb
from data.index import picture_files
from data.listing import Listing
from data.preprocessing import Preprocessing
from data.textiles import PATTERNS, draw_fabric
from deploy.engines import compile_ir
from deploy.fuse import fuse
from deploy.inputs import NetworkInput
from deploy.notes import model_info
from deploy.onnx_file import export_onnx
from deploy.openvino_ir import write_ir
from recipe.names_picture import names_picture
from tests.cpp_build import REPO, missing_tools

SIZE, RESIZE = 64, 75  # an odd number to cut off, so that rounding is seen
CLASSES = ["a b", "punk", 'say "x", 日本']
MEAN, STD = (0.5, 0.45, 0.4), (0.225, 0.25, 0.2)  # one value a channel, so that swapped channels are seen
TOLERANCE = 1e-3
STRETCHED, PADDED = (Preprocessing(SIZE, RESIZE, fit, MEAN, STD, shrink_on_load=2) for fit in ("stretch", "pad"))
# What each network takes: floats, raw pixels, whole pictures.
KINDS = {
    "floats": NetworkInput(STRETCHED),
    "padded": NetworkInput(PADDED),
    "rgb": NetworkInput(STRETCHED, pixels=True),
    "bgr": NetworkInput(STRETCHED, pixels=True, color="bgr"),
    "whole_rgb": NetworkInput(STRETCHED, pixels=True, whole_pictures=True),
    "whole_bgr": NetworkInput(STRETCHED, pixels=True, color="bgr", whole_pictures=True),
}
pytestmark = pytest.mark.skipif(bool(missing_tools()), reason=f"the C++ parts need: apt-get install {missing_tools()}")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Files of many sizes and kinds that all are pictures, and look different."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(5)
    for i, (name, size) in enumerate(zip(PATTERNS, (40, 64, 75, 96, 150, 300, 500), strict=True)):
        pixels = draw_fabric(name, rng, size)[: size - 7 * i]
        image = Image.fromarray(pixels)
        image.save(folder / f"{i}.png")
        image.save(folder / f"{i}.jpg", quality=80)
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in ("jpg", "png", "webp", "tif"):
        image.save(folder / f"turned.{suffix}", exif=exif)
    image.convert("L").save(folder / "grey.png")
    image.quantize(32).save(folder / "palette.png")
    image.putalpha(Image.fromarray(np.linspace(0, 255, pixels[..., 0].size).reshape(pixels.shape[:2]).astype(np.uint8)))
    image.save(folder / "alpha.png")
    cv2.imwrite(str(folder / "deep.png"), pixels[..., 0].astype(np.uint16) * 257)
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def networks(pictures, tmp_path_factory):
    """{kind: model.xml} of one small network whose answers differ from picture to picture.

    It is shallow and averages over all places, as a trained network does more or less. A deep one with random weights blows
    a grey level in a few pixels (means that lie at half a level, rounded up here and down there) up to another class.
    """
    torch.manual_seed(0)
    head = nn.Linear(32, len(CLASSES))
    model = nn.Sequential(nn.Conv2d(3, 32, 8, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    with torch.no_grad():
        logits = model(torch.from_numpy(np.concatenate([KINDS["floats"].picture_input(read_rgb(path)) for path in pictures])))
        scale = 2 / logits.std(0)  # every class wins somewhere
        head.weight.mul_(scale[:, None])
        head.bias.copy_((head.bias - logits.mean(0)) * scale)
    folder = tmp_path_factory.mktemp("networks")
    export_onnx(fuse(model.eval()), torch.zeros(2, 3, SIZE, SIZE), folder / "model.onnx")
    files = {kind: folder / kind / "model.xml" for kind in KINDS}
    for kind, taken in KINDS.items():
        files[kind].parent.mkdir()
        (files[kind].parent / "labels.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
        write_ir(folder / "model.onnx", files[kind], model_info(CLASSES, taken), pixels=taken.ir_pixels)
    return files


def python_probabilities(xml_path, kind, paths):
    network = compile_ir(xml_path)
    taken = KINDS[kind]
    inputs = (taken.picture_input(read_rgb(path, at_least=taken.preprocessing.at_least)) for path in paths)
    return np.concatenate([softmax(network(pixels)[0], axis=1) for pixels in inputs])


def classify(build, *args, status=0):
    done = subprocess.run([build / "classify", *map(str, args)], capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done


def csv_rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def csv_probabilities(rows):
    return np.array([[float(row[f"p_{name}"]) for name in CLASSES] for row in rows])


@pytest.mark.parametrize("kind", KINDS)
def test_program_answers_as_python_does(build, networks, pictures, kind):
    expected = python_probabilities(networks[kind], kind, pictures)
    assert np.ptp(expected, axis=0).max() > 0.1  # otherwise no comparison could fail
    rows = csv_rows(classify(build, "--model", networks[kind], *pictures).stdout)
    assert [row["path"] for row in rows] == [str(path) for path in pictures]
    assert [row["class"] for row in rows] == [CLASSES[k] for k in expected.argmax(1)]
    assert np.abs(csv_probabilities(rows) - expected).max() < TOLERANCE
    assert [float(row["confidence"]) for row in rows] == pytest.approx(expected.max(1), abs=TOLERANCE)


def test_json_says_the_same_as_csv(build, networks, pictures, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"")
    args = ["--model", networks["floats"], *pictures, tmp_path / "bad.jpg"]
    rows = csv_rows(classify(build, *args).stdout)
    objects = json.loads(classify(build, *args, "--output", "json").stdout)
    assert objects.pop() == {"path": str(tmp_path / "bad.jpg"), "error": rows.pop()["error"]}
    for row, item in zip(rows, objects, strict=True):
        assert (row["path"], row["class"], float(row["confidence"])) == (item["path"], item["class"], item["confidence"])
        assert [float(row[f"p_{name}"]) for name in CLASSES] == list(item["probabilities"].values())
        assert list(item["probabilities"]) == CLASSES


def test_bad_file_is_a_row_with_the_reason_in_its_place(build, networks, pictures, tmp_path):
    jpeg = next(path for path in pictures if path.suffix == ".jpg").read_bytes()
    bad = {
        "empty.jpg": (b"", "empty file (0 bytes)"),
        "text.jpg": (b"no picture", "not an image"),
        "cut.jpg": (jpeg[: len(jpeg) // 2], "truncated or damaged"),
        "markers.jpg": (b"\xff\xd8\xff\xd9", "truncated or damaged"),
    }
    named = []
    for picture, (name, (content, _)) in zip(pictures, bad.items(), strict=False):
        (tmp_path / name).write_bytes(content)
        named += [picture, tmp_path / name]
    rows = csv_rows(classify(build, "--model", networks["floats"], *named, tmp_path / "missing.jpg").stdout)
    assert [row["path"] for row in rows] == [*map(str, named), str(tmp_path / "missing.jpg")]
    assert not any(row["error"] for row in rows[:-1:2])
    reasons = [reason for _, reason in bad.values()] + ["cannot be opened (No such file or directory)"]
    for row, reason in zip([*rows[1:-1:2], rows[-1]], reasons, strict=True):
        assert row["error"].startswith(reason)
        assert row["class"] == row["confidence"] == ""
    only_bad = classify(build, "--model", networks["floats"], tmp_path / "empty.jpg", status=1)
    assert csv_rows(only_bad.stdout)[0]["error"] == "empty file (0 bytes)"


def test_order_of_many_pictures_is_kept_for_folders_and_lists(build, networks, textiles, tmp_path):
    found = sorted(path for path in textiles.rglob("*") if path.suffix == ".jpg")
    rows = csv_rows(classify(build, "--model", networks["floats"], "--batch-files", textiles, "--threads", "3").stdout)
    assert [row["path"] for row in rows] == [str(path) for path in found]
    backwards = [str(path) for path in reversed(found)]
    (tmp_path / "list.txt").write_text("\n".join(backwards))
    listed = csv_rows(classify(build, "--model", networks["floats"], "--list", tmp_path / "list.txt").stdout)
    assert listed == rows[::-1]
    assert csv_rows(classify(build, "--model", networks["floats"], tmp_path / "list.txt").stdout) == listed


def test_folders_are_walked_as_python_does(build, networks, pictures, tmp_path):
    """Links followed but never twice, broken ones and pipes told, what systems leave not looked at, the same order."""
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for folder in (root / "b" / "c", root / "b.d", root / ".hidden", root / "@eaDir", root / "__MACOSX", elsewhere):
        folder.mkdir(parents=True)
    names = (
        "b/2.png", "b/c/1.png", "b/c.png", "b.png", "b.d/x.png", "B.png", "a b.PNG", "ü.png", "../elsewhere/8.png",
        ".hidden/4.png", "@eaDir/5.png", "__MACOSX/6.png", "b/.7.png", "b/Thumbs.db", "notes.TXT",
    )  # fmt: skip
    for name in names:
        shutil.copy(pictures[0], root / name)
    (root / "link").symlink_to(elsewhere)
    (root / "link2").symlink_to(elsewhere)
    (root / "b" / "up").symlink_to(root)
    (root / "b" / "further_up").symlink_to(tmp_path)
    (root / "loop").symlink_to("loop")
    (root / "b" / "broken.png").symlink_to("nowhere.png")
    (root / "picture.png").symlink_to(pictures[0])
    os.mkfifo(root / "b" / "pipe.png")
    (root / "b" / "device.png").symlink_to("/dev/zero")
    rows = csv_rows(classify(build, "--model", networks["floats"], root).stdout)
    assert [row["path"] for row in rows] == picture_files(root)
    errors = {Path(row["path"]).name: row["error"] for row in rows if row["error"]}
    assert errors == {
        "broken.png": "cannot be opened (No such file or directory)",
        "device.png": "not a regular file",
        "loop": "cannot be opened (Too many levels of symbolic links)",
        "pipe.png": "not a regular file",
    }
    assert len(rows) == 8 + 1 + 1 + len(errors)


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may read everything")
def test_folders_that_may_not_be_read_are_told_as_python_tells_them(build, networks):
    as_another = ["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are its user's alone
        place = Path(folder)
        place.chmod(0o755)
        shutil.copytree(networks["floats"].parent, place / "model", copy_function=shutil.copyfile)
        shutil.copy(build / "classify", place)
        root = place / "pictures"
        for name, mode in {"closed": 0, "listed": 0o444, "entered": 0o111}.items():  # names of `listed` can be seen, no more
            (root / name / "below").mkdir(parents=True)
            (root / name / "a.png").touch()
            (root / name).chmod(mode)

        def run(*paths, status=1):
            command = [*as_another, place / "classify", "--model", place / "model" / "model.xml", *paths]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == status, done.stderr
            return done

        done = run(root)
        assert done.stdout == ""
        unreadable = {"closed": root / "closed", "listed": root / "listed" / "below", "entered": root / "entered"}
        listing = Listing(unreadable=[(unreadable[name], "Permission denied") for name in sorted(unreadable)])
        with pytest.raises(UserError) as error:
            listing.refuse_unreadable(root)
        assert done.stderr == f"classify: {error.value}\n"
        rows = csv_rows(run(root / "listed" / "a.png", root / "entered" / "a.png").stdout)
        assert [row["error"] for row in rows] == ["cannot be opened (Permission denied)", "empty file (0 bytes)"]
        for folder in root.iterdir():
            folder.chmod(0o755)


def test_links_that_lead_nowhere_are_rows_and_nothing_else_is_lost(build, networks, pictures, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere/folder")
    named = [pictures[0], tmp_path / "loop", tmp_path / "gone", pictures[1]]
    rows = csv_rows(classify(build, "--model", networks["floats"], *named).stdout)
    assert [row["path"] for row in rows] == list(map(str, named))
    assert [row["error"] for row in rows] == [
        "", "cannot be opened (Too many levels of symbolic links)", "cannot be opened (No such file or directory)", "",
    ]  # fmt: skip
    (tmp_path / "empty").mkdir()
    error = classify(build, "--model", networks["floats"], pictures[0], tmp_path / "empty", status=1).stderr
    assert error == f"classify: {tmp_path / 'empty'}: there is no picture in this folder.\n"


def test_lists_are_utf8_with_or_without_a_byte_order_mark(build, networks, pictures, tmp_path):
    file = tmp_path / "list.txt"
    text = f"{pictures[0]}\r\n\r\n{pictures[1]}"
    for encoding in ("utf-8", "utf-8-sig"):
        file.write_bytes(text.encode(encoding))
        rows = csv_rows(classify(build, "--model", networks["floats"], file).stdout)
        assert [(row["path"], row["error"]) for row in rows] == [(str(path), "") for path in pictures[:2]]
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        file.write_bytes(text.encode(encoding))
        error = classify(build, "--model", networks["floats"], pictures[0], file, status=1).stderr
        assert error == f"classify: {file}: is no text in UTF-8 (in UTF-16, perhaps). Save it as UTF-8, one path a line.\n"
    file.write_bytes(b"\r\n")
    assert "there is no path in this list" in classify(build, "--model", networks["floats"], file, status=1).stderr
    for unreadable in (tmp_path, tmp_path / "none.txt"):
        error = classify(build, "--model", networks["floats"], "--list", unreadable, status=1).stderr
        assert error == f"classify: {unreadable}: cannot be read. Name a text file with one path a line.\n"


@pytest.mark.parametrize("output", ["csv", "json"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_whole_rows(build, networks, pictures, tmp_path, output, number):
    many = 200_000
    (tmp_path / "list.txt").write_text(f"{pictures[0]}\n" * many)
    command = [build / "classify", "--model", networks["floats"], tmp_path / "list.txt", "--output", output]
    heard = lambda: signal.signal(number, signal.SIG_DFL)  # noqa: E731  (whatever this process ignores)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard) as process:
        first = process.stdout.readline()
        process.send_signal(number)
        rest, error = process.stdout.read(), process.stderr.read()
    rows = csv_rows(first + rest) if output == "csv" else json.loads(first + rest)
    assert process.returncode == 128 + number
    assert 0 < len(rows) < many
    assert error == f"classify: interrupted; these are the first {len(rows)} of {many} pictures.\n"
    assert all(row["path"] == str(pictures[0]) and row["class"] for row in rows)


@pytest.mark.parametrize("options", [[], ["--output", "json"], ["--benchmark", "--seconds", "0.01"], ["--help"]])
def test_a_full_disk_is_told(build, networks, pictures, options):
    with open("/dev/full", "w") as full:
        command = [build / "classify", "--model", networks["floats"], pictures[0], *options]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "--help" in options or done.stderr == (
        "classify: the results cannot be written: standard output is closed or its disk is full.\n"
    )


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (["a.jpg"], 2, "--model is missing"),
        (["--model", "m.xml"], 2, "there are no pictures"),
        (["--model", "m.xml", "--output", "xml", "a.jpg"], 2, "--output is csv or json, not 'xml'"),
        (["--model", "m.xml", "--threads", "many", "a.jpg"], 2, "--threads takes a whole number from 0 to 1024, not 'many'"),
        (["--model", "m.xml", "--threads", "1.9", "a.jpg"], 2, "--threads takes a whole number from 0 to 1024, not '1.9'"),
        (["--model", "m.xml", "--reject", "1.5", "a.jpg"], 2, "--reject takes a number from 0 to 1, not '1.5'"),
        (["--model", "m.xml", "--reject", "nan", "a.jpg"], 2, "--reject takes a number from 0 to 1, not 'nan'"),
        (["--model", "m.xml", "--reject", "", "a.jpg"], 2, "--reject takes a number from 0 to 1"),
        (["--model", "nowhere/m.xml", "a.jpg"], 1, "nowhere/m.xml: no such file"),
    ],
)
def test_wrong_use_is_one_clear_line(build, args, status, message):
    error = classify(build, *args, status=status).stderr
    assert message in error
    assert error.count("\n") == 1


def test_network_without_our_notes_says_what_is_missing(build, networks, pictures, tmp_path):
    network = ov.Core().read_model(networks["floats"])
    del network.rt_info["model_info"]
    ov.save_model(network, str(tmp_path / "model.xml"))
    error = classify(build, "--model", tmp_path / "model.xml", pictures[0], status=1).stderr
    assert "its notes (model_info) lack" in error
    assert "export_openvino.py" in error


def test_benchmark_measures_every_part(build, networks, pictures):
    args = ["--model", networks["floats"], *pictures, "--benchmark", "--seconds", "0.1"]
    result = json.loads(classify(build, *args, "--output", "json").stdout)
    assert result["pictures"] == len(pictures)
    latency, rates = result["latency_ms"], result["pictures_per_second"]
    assert set(latency) == {"decode", "preprocess", "infer", "p50", "p99", "infer_p50", "infer_p99"}
    assert set(rates) == {"end_to_end", "decode_only", "preprocess_only", "infer_only"}
    assert min(latency.values()) > 0 < min(rates.values())
    assert "end to end" in classify(build, *args).stdout


class Frame(ctypes.Structure):
    _fields_ = list(
        zip(("rows", "cols", "type", "data", "step"), (*3 * [ctypes.c_int], ctypes.c_void_p, ctypes.c_int), strict=True)
    )

    @classmethod
    def of(cls, bgr):
        return cls(bgr.shape[0], bgr.shape[1], 16, bgr.ctypes.data, bgr.strides[0])

    def pixels(self):
        rows = (ctypes.c_ubyte * (self.rows * self.step)).from_address(self.data)
        rows = np.frombuffer(rows, np.uint8).reshape(self.rows, self.step)
        return rows[:, : 3 * self.cols].reshape(self.rows, self.cols, 3).copy()


class Event(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("json", ctypes.c_char_p)]


@pytest.fixture(scope="session")
def submission(build, networks, tmp_path_factory):
    """A folder as it is handed in: lib/, model/, config/."""
    root = tmp_path_factory.mktemp("submission")
    shutil.copytree(networks["floats"].parent, root / "model")
    names_picture(CLASSES).save(root / "model" / "names.png")
    (root / "lib").mkdir()
    shutil.copy(build / "lib" / "libji.so", root / "lib")
    (root / "config").mkdir()
    config = {"answer": {"class": "$class", "score": "$confidence", "probabilities": "$probabilities"}}
    (root / "config" / "algo_config.json").write_text(json.dumps(config))
    return root


def load_library(root):
    """libji.so of a submission."""
    library = ctypes.CDLL(str(root / "lib" / "libji.so"))
    library.ji_create_predictor.restype = ctypes.c_void_p
    for name in ("ji_destroy_predictor", "ji_calc_frame", "ji_calc_buffer", "ji_calc_file", "ji_calc_video_file"):
        getattr(library, name).argtypes = (ctypes.c_void_p,)  # the first; the others convert by themselves
    return library


@pytest.fixture(scope="session")
def library(submission):
    return load_library(submission)


@pytest.fixture
def ji(library, tmp_path, monkeypatch):
    """The library, while the working directory is another than its own."""
    monkeypatch.chdir(tmp_path)
    return library


@pytest.fixture
def predictor(ji):
    handle = ji.ji_create_predictor(0)
    assert handle
    yield handle
    ji.ji_destroy_predictor(handle)


def test_library_answers_alike_for_file_buffer_and_frame(ji, predictor, networks, pictures):
    expected = python_probabilities(networks["floats"], "floats", pictures)
    for path, probabilities in zip(pictures, expected, strict=True):
        event, content = Event(), path.read_bytes()
        assert ji.ji_calc_file(predictor, str(path).encode(), None, None, ctypes.byref(event)) == 0
        first = event.json
        answer = json.loads(first)
        assert list(answer) == ["class", "score", "probabilities"]
        assert answer["class"] == CLASSES[probabilities.argmax()]
        assert list(answer["probabilities"].values()) == pytest.approx(list(probabilities), abs=TOLERANCE)
        assert ji.ji_calc_buffer(predictor, content, len(content), None, None, ctypes.byref(event)) == 0
        assert event.json == first
        padded = np.zeros((2000, 2000, 3), np.uint8)
        bgr = read_rgb(path, at_least=STRETCHED.at_least)[..., ::-1]  # else a JPEG would be another picture
        frame = padded[: bgr.shape[0], : bgr.shape[1]]
        frame[:] = bgr
        assert ji.ji_calc_frame(predictor, ctypes.byref(Frame.of(frame)), None, None, ctypes.byref(event)) == 0
        assert json.loads(event.json)["probabilities"] == pytest.approx(answer["probabilities"], abs=TOLERANCE)
        if path.suffix != ".jpg":  # the JPEG decoders of Python and C++ may differ in a pixel
            assert event.json == first


def test_library_draws_on_a_copy_of_the_picture(ji, predictor, pictures, tmp_path):
    bgr = np.full((120, 160, 3), 128, np.uint8)
    given, out, written = Frame.of(bgr), Frame(), tmp_path / "out.png"
    assert ji.ji_calc_frame(predictor, ctypes.byref(given), None, ctypes.byref(out), None) == 0
    drawn = out.pixels()
    assert drawn.shape == bgr.shape
    assert drawn[:30].min() < 20  # the rim of letters
    assert drawn[:30].max() > 235
    assert (drawn[30:] == 128).all()
    assert (bgr == 128).all()
    assert ji.ji_calc_file(predictor, str(pictures[0]).encode(), None, str(written).encode(), None) == 0
    assert read_rgb(written).shape == read_rgb(pictures[0]).shape
    assert list(tmp_path.iterdir()) == [written]


def test_name_and_percentage_that_are_drawn_are_those_of_the_answer(submission, pictures, tmp_path):
    """Seen by a names.png whose cells are plain squares, each as bright as its number says."""
    cells = np.zeros((len(CLASSES) + 1 + 101, 48, 48, 3), np.uint8)
    cells[..., 0], cells[..., 1] = 2 * np.arange(len(cells))[:, None, None], 255  # all letter, all rim
    for reject, unknown in (("0", False), ("1", True)):
        root = shutil.copytree(submission, tmp_path / reject)
        Image.fromarray(cells.reshape(-1, 48, 3)).save(root / "model" / "names.png")
        (root / "config" / "algo_config.json").write_text(f'{{"reject": {reject}}}')
        ji = load_library(root)
        predictor = ji.ji_create_predictor(0)
        for path in pictures:
            event, out, bgr = Event(), Frame(), cv2.resize(read_rgb(path)[..., ::-1], (480, 480))
            assert ji.ji_calc_frame(predictor, ctypes.byref(Frame.of(bgr)), None, ctypes.byref(out), ctypes.byref(event)) == 0
            answer, drawn = json.loads(event.json), out.pixels()
            name, percentage = drawn[29, 29, 0] // 2, drawn[29, 69, 0] // 2
            assert name == (len(CLASSES) if unknown else CLASSES.index(answer["class"]))
            assert percentage == len(CLASSES) + 1 + round(100 * answer["confidence"])
        ji.ji_destroy_predictor(predictor)


def test_what_is_drawn_is_a_setting(submission, tmp_path):
    root = shutil.copytree(submission, tmp_path / "root")
    sheet = np.zeros((len(CLASSES) + 1 + 101, 20, 40, 3), np.uint8)  # names, unknown, 0 % ... 100 %: all of one width
    sheet[:, 4:16, :30, :2] = 255
    Image.fromarray(sheet.reshape(-1, 40, 3)).save(root / "model" / "names.png")
    ji, given, columns = load_library(root), np.full((300, 400, 3), 128, np.uint8), []
    predictor = ji.ji_create_predictor(0)
    for args in ("", '{"draw_confidence": false}', '{"draw_result": false}'):
        out = Frame()
        assert ji.ji_calc_frame(predictor, ctypes.byref(Frame.of(given)), args.encode(), ctypes.byref(out), None) == 0
        columns.append(int((out.pixels() != given).any((0, 2)).sum()))
    ji.ji_destroy_predictor(predictor)
    both, name, nothing = columns
    assert name > 20
    assert both == pytest.approx(2 * name, abs=4)
    assert nothing == 0


def test_names_of_other_classes_are_not_drawn(submission, tmp_path, capfd):
    """Nor do they cost the answer."""
    root = shutil.copytree(submission, tmp_path / "root")
    names_picture([*CLASSES, "another"]).save(root / "model" / "names.png")
    given, written = tmp_path / "given.png", tmp_path / "out.png"
    Image.new("RGB", (400, 300), (128, 128, 128)).save(given)
    ji = load_library(root)
    predictor = ji.ji_create_predictor(0)
    assert ask(ji, predictor, given, "", written)[:2] == (0, 1)
    assert "names.png: not of this network's 3 classes. Make the submission again." in capfd.readouterr().err
    assert (read_rgb(written) == 128).all()
    ji.ji_destroy_predictor(predictor)


def test_library_returns_its_codes(ji, predictor, pictures):
    event, path = Event(), str(pictures[0]).encode()
    assert ji.ji_calc_file(None, path, None, None, None) == -3
    assert ji.ji_calc_file(predictor, None, None, None, None) == -3
    assert ji.ji_calc_buffer(predictor, b"", 0, None, None, None) == -3
    assert ji.ji_calc_frame(predictor, ctypes.byref(Frame(0, 0, 16, None, 0)), None, None, None) == -3
    assert ji.ji_calc_video_file(predictor, b"a.mp4", None, None, None) == -2
    assert ji.ji_calc_file(predictor, b"/nowhere.jpg", None, None, ctypes.byref(event)) == -1
    assert event.code == -1
    assert "No such file" in json.loads(event.json)["error"]
    assert ji.ji_calc_buffer(predictor, b"hello", 5, None, None, None) == -1
    assert ji.ji_calc_file(predictor, path, None, None, None) == 0


def test_predictors_answer_alike_from_two_threads(ji, predictor, pictures):
    other = ji.ji_create_predictor(2)
    answers = {}

    def work(handle, order):
        event = Event()
        for path in order:
            ji.ji_calc_file(handle, str(path).encode(), None, None, ctypes.byref(event))
            answers[handle, path] = event.json

    threads = [threading.Thread(target=work, args=pair) for pair in ((predictor, pictures), (other, pictures[::-1]))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ji.ji_destroy_predictor(other)
    assert all(answers[predictor, path] == answers[other, path] for path in pictures)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "parse error"),
        ('{"modle": "a.xml"}', "unknown key 'modle'"),
        ('{"model": "gone.xml"}', "gone.xml: no such file"),
        ('{"threads": 1, "threads": 2}', "'threads' is there twice"),
        ('{"alert_classes": ["pnuk"]}', "'alert_classes' names 'pnuk', which is no class of the network"),
        ('{"language": "zh"}', "'language' is 'zh', but there is no 'mark_text_zh'"),
    ],
)
def test_library_without_a_usable_network_says_why(submission, config, message, tmp_path):
    shutil.copytree(submission, tmp_path / "broken")
    (tmp_path / "broken" / "config" / "algo_config.json").write_text(config)
    script = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).ji_create_predictor(0))"
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "broken" / "lib" / "libji.so"], capture_output=True, text=True)
    assert done.stdout == "0\n"
    assert message in done.stderr
    assert ("config/algo_config.json: " in done.stderr) == ("gone.xml" not in config)


def ask(ji, predictor, path, args, out_file=None):
    """(code, event's code, event's JSON as text) of ji_calc_file; args: a dict, or any text."""
    event, text = Event(), args if isinstance(args, str) else json.dumps(args)
    code = ji.ji_calc_file(predictor, str(path).encode(), text.encode(), out_file and str(out_file).encode(), ctypes.byref(event))
    return code, event.code, event.json.decode()


def test_args_of_a_call_change_every_setting_for_that_call(ji, predictor, pictures):
    path = pictures[0]
    before = ask(ji, predictor, path, {})
    plain = json.loads(before[2])
    best, others = plain["class"], [name for name in CLASSES if name != plain["class"]]
    score = {"name": "$class", "confidence": "$confidence"}
    demo = {"algorithm_data": {"is_alert": "$is_alert", "target_info": [score]}, "model_data": {"objects": [score]}}
    found = {"name": best, "confidence": plain["score"]}
    expected = {"algorithm_data": {"is_alert": True, "target_info": [found]}, "model_data": {"objects": [found]}}
    code, event, text = ask(ji, predictor, path, {"answer": demo, "alert_classes": [best]})
    assert (code, event, json.loads(text)) == (0, 0, expected)  # JISDK_CODE_ALARM
    expected["algorithm_data"]["is_alert"] = False
    for more in ({"alert_classes": others}, {"alert_classes": [best], "reject": 1}):
        found["name"] = "unknown" if "reject" in more else best
        code, event, text = ask(ji, predictor, path, {"answer": demo, **more})
        assert (code, event, json.loads(text)) == (0, 1, expected)  # JISDK_CODE_NORMAL
    fixed = ["", 1, 2.5, None, {"a_1": []}, "class"]
    assert json.loads(ask(ji, predictor, path, {"answer": fixed})[2]) == fixed
    width, height = Image.open(path).size
    assert ask(ji, predictor, path, {"max_pixels": width * height})[0] == 0
    assert "(max_pixels)" in ask(ji, predictor, path, {"max_pixels": width * height - 1})[2]
    assert ask(ji, predictor, path, {}) == ask(ji, predictor, path, "") == before


def test_classes_are_named_in_the_language_that_is_set(ji, predictor, pictures):
    plain = json.loads(ask(ji, predictor, pictures[0], {})[2])
    names = ["甲", "乙", "丙", "未知"]
    args = {"language": "zh", "mark_text_zh": names, "alert_classes": [plain["class"]]}
    code, event, text = ask(ji, predictor, pictures[0], args)
    answer = json.loads(text)
    assert (code, event) == (0, 0)
    assert answer["class"] == names[CLASSES.index(plain["class"])]
    assert list(answer["probabilities"].items()) == list(zip(names, plain["probabilities"].values(), strict=False))
    assert json.loads(ask(ji, predictor, pictures[0], args | {"reject": 1})[2])["class"] == "未知"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("roi", "parse error"),
        ("[]", "not a JSON object"),
        ('{"reject": 0.5', "parse error"),
        ('{"reject": 0.1, "reject": 0.9}', "'reject' is there twice"),
        ('{"answer": {"a": 1, "b": {"c": 1, "c": 2}}}', "'c' is there twice"),
        ('{"answer": ' + 20 * "[" + 20 * "]" + "}", "more than 16 levels of JSON"),
        ({"polygon_1": ["POLYGON((0 0, 1 0, 1 1))"]}, "unknown key 'polygon_1'"),
        ({"threads": 2}, "'threads' cannot change from call to call"),
        ({"model": "a.xml"}, "'model' cannot change from call to call"),
        ({"reject": 1.1}, "'reject' is no number from 0 to 1"),
        ({"max_pixels": 2**32 + 1}, "'max_pixels' is no whole number from 1 to 1073741824"),
        ({"draw_result": 1}, "'draw_result' is not true or false"),
        ({"language": None}, "'language' is no text"),
        ({"language": "zh"}, "'language' is 'zh', but there is no 'mark_text_zh'"),
        ({"mark_text_zh": ["甲", "乙", "丙"]}, "'mark_text_zh' needs 4 names that differ"),
        ({"mark_text_zh": ["甲", "乙", "丙", "丙"]}, "'mark_text_zh' needs 4 names that differ"),
        ({"alert_classes": "punk"}, "'alert_classes' is no list of texts"),
        ({"answer": {"isAlert": "$is_alert"}}, "'answer' has the key 'isAlert', but keys are lower-case"),
        ({"answer": ["$score"]}, "'answer' holds '$score', but only $class, $confidence"),
    ],
)
def test_args_that_cannot_be_followed_are_refused_with_the_reason(ji, predictor, pictures, args, message):
    code, event, text = ask(ji, predictor, pictures[0], args)
    assert (code, event) == (-3, -1)
    error = json.loads(text)["error"]
    assert error.startswith("args: ")
    assert message in error


def test_a_picture_that_cannot_be_written_does_not_cost_the_answer(ji, predictor, pictures, tmp_path, capfd):
    (tmp_path / "folder.png").mkdir()
    wide = tmp_path / "wide.png"
    Image.new("RGB", (1_100_000, 1)).save(wide)  # more than JPEG can hold, and than libpng writes
    for path, out_file in (
        (pictures[0], "/nowhere/a.png"), (pictures[0], tmp_path / "a.bmp"), (pictures[0], tmp_path / "folder.png"),
        (wide, tmp_path / "wide.jpg"), (wide, tmp_path / "wider.png"),
    ):  # fmt: skip
        assert ask(ji, predictor, path, {}, out_file) == ask(ji, predictor, path, {})
        error = capfd.readouterr().err
        assert error.startswith(f"libji: {out_file}: cannot be written (")
        assert error.count("\n") == 1, error  # no lines of the libraries' own
    assert {path.name for path in tmp_path.iterdir()} == {"folder.png", "wide.png"}


def test_an_answer_lives_until_the_same_threads_next_call(ji, predictor, pictures):
    event, out, frame = Event(), Frame(), Frame.of(np.full((50, 60, 3), 90, np.uint8))
    assert ji.ji_calc_frame(predictor, ctypes.byref(frame), None, ctypes.byref(out), ctypes.byref(event)) == 0
    answer, pixels = event.json, out.pixels()
    other = threading.Thread(target=lambda: [ask(ji, predictor, path, {"reject": 1}) for path in pictures])
    other.start()
    other.join()
    assert event.json == answer
    assert (out.pixels() == pixels).all()


def test_frames_of_16_bits_need_rows_of_an_even_length(ji, predictor):
    values = np.full((20, 65), 1000, np.uint16)
    frame = Frame(20, 31, 2, values.ctypes.data, 64)
    assert ji.ji_calc_frame(predictor, ctypes.byref(frame), None, None, None) == 0
    for changes in ({"step": 65}, {"data": values.ctypes.data + 1}):
        odd = Frame(*(changes.get(name, getattr(frame, name)) for name, _ in Frame._fields_))
        assert ji.ji_calc_frame(predictor, ctypes.byref(odd), None, None, None) == -3


def test_what_openvino_throws_is_a_message(build, submission, pictures, tmp_path):
    """Through the libstdc++ within our files, which is another than OpenVINO's."""
    root = shutil.copytree(submission, tmp_path / "damaged")
    (root / "model" / "model.bin").write_bytes(b"")
    error = classify(build, "--model", root / "model" / "model.xml", pictures[0], status=1).stderr
    assert "cannot be used on CPU: damaged" in error
    script = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).ji_create_predictor(0))"
    done = subprocess.run([sys.executable, "-c", script, root / "lib" / "libji.so"], capture_output=True, text=True)
    assert done.stdout == "0\n"
    assert "cannot be used on CPU: damaged" in done.stderr


def test_library_exports_nothing_else(build):
    symbols = subprocess.run(["nm", "-D", "--defined-only", build / "lib" / "libji.so"], capture_output=True, text=True).stdout
    kinds = {line.split()[-1]: line.split()[-2] for line in symbols.splitlines() if not line.split()[-1].startswith("_")}
    calc = {f"ji_calc_{what}" for what in ("frame", "buffer", "file", "video_file")}
    strong = {"ji_init", "ji_reinit", "ji_create_predictor", "ji_destroy_predictor"} | calc
    assert {name for name, kind in kinds.items() if kind == "T"} == strong
    assert kinds["ji_get_license_version"] == "W"  # the platform's own goes before


def test_a_program_in_c_needs_libji_alone(build, tmp_path):
    """And what it asks of it is answered, from a folder of any name."""
    source, program = REPO / "deploy" / "cpp" / "tests" / "test_ji.c", tmp_path / "test ji"
    command = ["cc", "-std=c99", source, f"-I{REPO / 'deploy' / 'cpp' / 'include'}", f"-L{build / 'lib'}", "-lji", "-pthread"]
    subprocess.run([*command, f"-Wl,-rpath,{build / 'lib'}", "-o", program], check=True)
    networks = build / "tests" / "networks"
    subprocess.run([build / "tests" / "write_networks", networks, build], check=True)
    done = subprocess.run([program, networks / "red.png"], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr


def test_ctest_passes(build):
    done = subprocess.run(["ctest", "--test-dir", build, "--output-on-failure"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
