"""The test part: nobody looks at it until the export, which measures on it all that the run has made."""

import shutil

import numpy as np
import pytest
from helpers import refusal, run_script, write_config

from data import reading
from data.decode import read_file
from recipe.predictor import open_predictor
from utils.config import load_resolved
from utils.run_folder import RunFolder


@pytest.fixture(scope="module")
def parts(textiles, tmp_path_factory):
    """One root with train/, valid/ and test/; test/ lacks a class, and has a picture that is in train/ too."""
    root = tmp_path_factory.mktemp("parts") / "root"
    shutil.copytree(textiles / "train", root / "train")
    for i, file in enumerate(sorted((textiles / "validation").rglob("*.jpg"))):
        place = root / ("valid" if i % 2 else "test") / file.parent.name
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    shutil.rmtree(root / "test" / "tartan")
    shutil.copy(next((root / "train" / "denim").iterdir()), root / "test" / "denim" / "leaked.jpg")
    return root


@pytest.fixture(scope="module")
def run(parts, tmp_path_factory):
    """A run on it, exported with INT8, and the files of test/ that were read before the export."""
    place, looked_at = tmp_path_factory.mktemp("work"), []

    def read(path):
        looked_at.append(path)
        return read_file(path)

    write_config(place, parts, None)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reading, "read_file", read)
        for script in ("e4.py", "m11.py"):
            run_script(script, "config.py", "--cfg-options", "teacher.flip_test=true", cwd=place)
    run_script("export_openvino.py", place / "runs" / "t", "--int8", "--int8-budget", 100, cwd=place)
    return RunFolder(place / "runs" / "t"), looked_at


def test_parts_are_noted_as_the_roots_that_they_are_and_test_is_not_read_before_the_export(run, parts):
    folder, looked_at = run
    data = load_resolved(folder.config("student")).data
    assert (data.root, data.val_root, data.test_root) == tuple(str(parts / name) for name in ("train", "valid", "test"))
    assert {path.relative_to(parts).parts[0] for path in looked_at} == {"train", "valid"}
    assert f"{parts}: holds the parts of a data set" in (folder.path / "log.txt").read_text()


def test_teacher_student_and_exported_files_are_measured_on_the_test_part(run, parts):
    folder, _ = run
    found = folder.results()["test"]
    files = sorted((parts / "test").rglob("*.jpg"))
    assert found["pictures"] == len(files)
    assert list(found["accuracy"]) == ["teacher", "PyTorch", "ONNX Runtime", "OpenVINO", "OpenVINO INT8"]
    for what, model in (("teacher", folder.teacher.path), ("PyTorch", folder.student.averaged), ("OpenVINO", folder.path)):
        predictor = open_predictor(model, flip=what == "teacher")
        right = [predictor.class_of(predictor(predictor.read(file))) == file.parent.name for file in files]
        assert found["accuracy"][what] == pytest.approx(np.mean(right))
    log = (folder.path / "log.txt").read_text()
    assert log.count("test pictures") == len(found["accuracy"])
    assert "warning: the test picture 'denim/leaked.jpg' is also in the training data" in log


def test_a_newer_export_does_not_keep_what_was_measured_of_an_older_one(run, tmp_path):
    again = RunFolder(shutil.copytree(run[0].path, tmp_path / "t"))
    run_script("export_openvino.py", again.path, "--no-test", cwd=tmp_path)
    assert not again.exported.network_int8.exists()
    assert set(again.results()) == set(run[0].results()) - {"test"}


def test_a_test_part_without_pictures_is_refused_before_the_training(parts, tmp_path):
    root = shutil.copytree(parts, tmp_path / "root")
    for file in (root / "test").rglob("*.jpg"):
        file.unlink()
    write_config(tmp_path, root, None)
    assert "test: no pictures in any of its class folders" in refusal("e4.py", "config.py", cwd=tmp_path)


def test_a_test_part_of_other_classes_is_refused_before_the_training(parts, tmp_path):
    root = shutil.copytree(parts, tmp_path / "root")
    shutil.copytree(root / "test" / "denim", root / "test" / "denims")
    write_config(tmp_path, root, None)
    assert "the folder 'denims' is not among the classes" in refusal("e4.py", "config.py", cwd=tmp_path)
