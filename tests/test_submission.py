"""What is handed in: whole and proved from a clean folder, or not there at all."""

import json
import shutil
import stat
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from common.files import sha256, write_json
from recipe import submission
from recipe.names_picture import CELL, names_picture
from recipe.system_needs import check_needs
from utils.run_folder import RunFolder


@pytest.fixture
def run(deployed, tmp_path):
    """A copy of the exported run, to hand in."""
    shutil.copytree(deployed.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def hand_in(run, build, *options):
    submission.main([str(run.path), "--build", str(build), *options])


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(("model", "reject"), [("model.xml", 0.0), ("model_int8.xml", 0.9)])
def test_what_is_handed_in_answers_as_python_does(run, build, model, reject, monkeypatch):
    proved, printed = [], []
    prove, call = submission.prove, submission._call
    if reject:
        export_with_threshold(run.deploy / model, reject)
    monkeypatch.setattr(submission, "_call", lambda *command, **options: printed.append(call(*command, **options)) or printed[-1])

    def watched(folder, network, pictures):
        proved.extend(pictures)
        assert not run.submission.exists(), "it must not be there before it is proved"
        return prove(folder, network, pictures)

    monkeypatch.setattr(submission, "prove", watched)
    hand_in(run, build, "--model", model)

    assert Counter(Counter(path.parent.name for path in proved).values()) == {3: 6, 2: 1}  # 20 pictures of 7 classes
    answers = [json.loads(line) for line in printed[-1].splitlines()]
    assert all((answer["class"] == "unknown") == (answer["confidence"] < reject) for answer in answers)
    assert len({answer["class"] for answer in answers}) > 1
    folder = run.submission
    assert names(folder) == {"lib", "bin", "model", "config", "include", "example", "licenses"}
    assert {"libji.so", "libopenvino_intel_cpu_plugin.so", "libopenvino_ir_frontend.so", "libtbb.so.12"} <= {
        name.partition(".so")[0] + ".so" + (".12" if "tbb.so.12" in name else "") for name in names(folder / "lib")
    }
    assert (folder / "bin" / "classify").stat().st_mode & stat.S_IXUSR
    assert names(folder / "model") == {model, model.replace(".xml", ".bin"), "labels.txt", "names.png", "manifest.json", "compiled"}
    assert json.loads((folder / "config" / "algo_config.json").read_text())["model"] == model
    assert names(folder / "include") == {"ji.h"}
    assert names(folder / "example") == {"answer.c"}
    assert {"openvino", "nlohmann-json3-dev.txt", "libtiff-dev.txt"} <= names(folder / "licenses")
    assert any(path.is_file() for path in (folder / "licenses" / "openvino").rglob("*"))


def export_with_threshold(xml_path, reject):
    """As `export_openvino.py --reject` would have left it."""
    note = '<confidence_threshold value="{}" />'
    text = xml_path.read_text()
    assert note.format("0.0") in text  # among the IR's own notes, and once more among those that came with the ONNX file
    xml_path.write_text(text.replace(note.format("0.0"), note.format(reject)))
    manifest = json.loads((xml_path.parent / "manifest.json").read_text())
    manifest["files"][xml_path.name] = {"bytes": xml_path.stat().st_size, "sha256": sha256(xml_path)}
    write_json(xml_path.parent / "manifest.json", manifest)


def test_an_answer_other_than_pythons_is_refused_and_an_older_folder_stays(run, build, monkeypatch):
    run.submission.mkdir()
    (run.submission / "older").touch()
    lay_out = submission.lay_out

    def with_swapped_labels(folder, *arguments):
        lay_out(folder, *arguments)
        swap_labels(folder / "model")

    monkeypatch.setattr(submission, "lay_out", with_swapped_labels)
    assert_refused(run, build, r"the library says (?P<a>\w+), Python says (?!(?P=a))\w+; .*Nothing was written")
    assert names(run.submission) == {"older"}


def swap_labels(model):
    """The first two classes change their names, and the manifest knows of it."""
    first, second, *others = (model / "labels.txt").read_text().splitlines()
    (model / "labels.txt").write_text("".join(f"{name}\n" for name in (second, first, *others)))
    manifest = json.loads((model / "manifest.json").read_text())
    manifest["files"]["labels.txt"]["sha256"] = sha256(model / "labels.txt")
    write_json(model / "manifest.json", manifest)


def test_a_damaged_export_is_refused(run, build):
    (run.deploy / "labels.txt").write_text("swapped\n" * 7)
    assert_refused(run, build, "labels.txt: damaged")


def test_an_export_of_an_older_student_is_refused(run, build):
    shutil.copy(run.student.best, run.student.averaged)
    assert_refused(run, build, "was exported from an older student. Run: python export_openvino.py")


def test_a_model_that_was_not_exported_is_refused(run, build):
    run.exported.network_int8.unlink()
    assert_refused(run, build, "model_int8.xml: not there. Run: python export_openvino.py .* --int8", "--model", "model_int8.xml")


def test_a_missing_build_is_refused(run, tmp_path):
    assert_refused(run, tmp_path / "nowhere", "libji.so: not there. Run: make cpp")


def assert_refused(run, build, message, *options):
    """And nothing is left behind, but the file by which processes wait for each other."""
    before = names(run.path)
    with pytest.raises(UserError, match=message):
        hand_in(run, build, *options)
    assert names(run.path) - {".submission.lock"} == before - {".submission.lock"}


def test_a_licence_that_is_not_there_is_told(build, tmp_path, monkeypatch, said):
    monkeypatch.setattr(submission, "LICENSED", ("nlohmann-json3-dev", "no-such-package"))
    submission.copy_licences(tmp_path)
    assert said.text.startswith("/usr/share/doc/no-such-package/copyright: not there")
    assert "nlohmann" not in said.text


def header(needed, version):
    """As `objdump -p` prints it."""
    return f"Dynamic Section:\n  NEEDED               {needed}\n\nVersion References:\n    0x0d696914 0x00 13 {version}\n"


def test_a_library_that_would_be_missing_is_refused(said):
    handed_in = {
        "lib/libji.so": header("libopenvino.so.1", "GLIBC_2.28"),
        "lib/libopenvino.so.1": header("libc.so.6", "GLIBCXX_3.4.9"),
    }
    check_needs(handed_in)
    assert said.text == ""
    with pytest.raises(UserError, match=r"bin/classify: needs libopencv_core.so.406, which is not handed in"):
        check_needs({**handed_in, "bin/classify": header("libopencv_core.so.406", "GLIBC_2.4")})


def test_newer_systems_that_would_be_needed_are_told(said):
    check_needs({"lib/libji.so": header("libc.so.6", "GLIBC_2.34"), "bin/classify": header("libc.so.6", "GLIBCXX_3.4.30")})
    assert "lib/libji.so: needs GLIBC_2.34, but" in said.text
    assert "bin/classify: needs GLIBCXX_3.4.30, but" in said.text
    check_needs({"lib/libji.so": header("libc.so.6", "GLIBC_ABI_DT_RELR")})
    assert "lib/libji.so: needs GLIBC_ABI_DT_RELR, but" in said.text


def test_a_long_name_does_not_make_the_picture_too_large(said):
    picture = names_picture([f"class {i}" for i in range(3000)] + ["W" * 250])
    assert picture.width * picture.height <= 100_000_000
    assert names_picture(["short", "W" * 250]).width <= 1000


def test_class_names_are_drawn_in_any_script_or_as_numbers(said):
    names = ["dress", "платье", "فستان", "\U000f1234"]
    cells, numbers = (cells_of(names_picture(texts)) for texts in (names, ["0", "1", "2", "3"]))
    assert len(cells) == 4 + 1 + 101
    assert (cells[..., 1] >= cells[..., 0]).all()  # letters lie within their rim
    assert (cells.max((1, 2))[:, :2] == 255).all()  # no cell is empty
    same = [np.array_equal(ours[:, :28], number[:, :28]) for ours, number in zip(cells[:4], numbers, strict=False)]
    assert same == [False, False, False, True]
    assert "no font here can write 1 class names (\U000f1234): output pictures show the numbers" in said.text


def cells_of(sheet):
    return np.asarray(sheet).reshape(-1, CELL, sheet.width, 3)


def test_pictures_are_taken_evenly_over_the_classes():
    files = [Path(f"{label}{i}") for label, number in (("a", 50), ("b", 1), ("c", 5)) for i in range(number)]
    labels = [path.name[0] for path in files]
    assert list(map(str, submission.evenly(files, labels, 7))) == ["a0", "b0", "c0", "a1", "c1", "a2", "c2"]
    assert list(map(str, submission.evenly(files, labels, 2))) == ["a0", "b0", "c0"]  # one of each at least
    assert len(submission.evenly(files, labels, 1000)) == 56
