"""The page that export_openvino.py RUN --page writes answers in a browser as Python does, keeps to itself, and can be used by all.

tests/browser/page.mjs visits it in headless Chromium; each test here is about what it found there.
"""

import json
import runpy
import shutil
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from browser_tools import need, node
from conftest import give_opinions
from helpers import REPO, contents, refusal, run_script
from page_pictures import encoded_huge, write_pictures

from common.files import check_files, read_json, write_json
from data.decode import read_rgb
from data.preprocessing import Preprocessing
from deploy.explain import grad_cam
from deploy.fuse import fuse
from deploy.inputs import NetworkInput
from recipe import page
from recipe.predictor import open_predictor, student_of
from recipe.saved_model import load_model
from utils.checkpoints import save_checkpoint
from utils.run_folder import RunFolder

SEEN = Preprocessing(96, 104, "stretch", (0.5, 0.45, 0.4), (0.225, 0.25, 0.2))
HTML = '<img src="x" onerror="document.title = 1">'


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    """An exported run with a page. Its student has an opinion of each picture; its IR takes other input than the page's network."""
    need()
    run = RunFolder(shutil.copytree(trained, tmp_path_factory.mktemp("page") / "run", ignore=shutil.ignore_patterns("deploy")))
    saved = load_model(run.student.averaged)
    model = {**saved.meta["model"], "image_size": SEEN.image_size}
    save_checkpoint(run.student.averaged, saved.model.state_dict(), {**saved.meta, "preprocessing": SEEN.as_dict(), "model": model})
    give_opinions(run)
    run_script("export_openvino.py", run.path, "--input", "uint8", "--color", "bgr", "--page", cwd=run.path)
    return run


@pytest.fixture(scope="module")
def pictures(textiles, tmp_path_factory):
    """The held-out ones, and the odd ones."""
    odd = write_pictures(tmp_path_factory.mktemp("odd") / "pictures")
    return [*sorted((textiles / "validation").rglob("*.jpg")), *odd]


class Found(dict):
    """{visit: what the browser found}; the error of a visit that broke off."""

    def __getitem__(self, visit):
        found = super().__getitem__(visit)
        assert "error" not in found, found["error"]
        return found


@pytest.fixture(scope="module")
def found(run, pictures, tmp_path_factory):
    """See tests/browser/page.mjs."""
    root = tmp_path_factory.mktemp("served")
    shutil.copytree(run.exported.page, root / "some where" / "页")
    for name in ("spoilt", "without_map"):
        shutil.copytree(run.exported.page, root / name)
    settings = {**read_json(root / "spoilt" / "student.json"), "reject_below": 0.0}
    write_json(root / "some where" / "页" / "student.json", settings)  # each answer by its name, however sure
    classes = [HTML, "x" * 300, *settings["classes"][2:]]
    write_json(root / "spoilt" / "student.json", {**settings, "classes": classes, "reject_below": 1.0})
    write_json(root / "without_map" / "student.json", {**settings, "has_map": write_without_map(run, root / "without_map")})
    (root / "text.jpg").write_text("no picture")
    (root / "huge.png").write_bytes(encoded_huge())
    plan = {
        "python": sys.executable, "root": str(root), "page": "some where/页", "spoilt": "spoilt", "without_map": "without_map",
        "pictures": [str(path) for path in pictures], "picture": str(pictures[-1].with_name("alpha.png")),
        "text": str(root / "text.jpg"), "huge": str(root / "huge.png"),
    }  # fmt: skip
    write_json(root / "plan.json", plan)
    return Found(json.loads(node("page.mjs", root / "plan.json")))


def write_without_map(run, folder):
    """Put the network of a student that no map can be had of into a page; is there a map?"""
    saved = load_model(run.student.averaged)
    export = SimpleNamespace(fused=fuse(saved.model), taken=NetworkInput(SEEN))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "MapNetwork", no_gradient)
        return page.write_network(export, folder / "student.onnx")


def no_gradient(*_):
    raise NotImplementedError("a head without a gradient")


@pytest.fixture(scope="module")
def student(run):
    """What predict.py asks."""
    return open_predictor(run.path)


def test_answers_are_those_of_predict_py(found, student, pictures):
    answers = found["answers"]["answers"]
    assert [answer["name"] for answer in answers] == [path.name for path in pictures]
    expected = np.stack([student(read_rgb(path)) for path in pictures])
    probs = np.array([[answer["probabilities"][name] for name in student.classes] for answer in answers])
    assert np.ptp(expected, axis=0).max() > 0.5  # otherwise no comparison could fail
    assert len({*expected.argmax(1)}) > 3
    assert np.mean(probs.argmax(1) == expected.argmax(1)) >= 0.99
    assert probs == pytest.approx(expected, abs=0.02), dict(zip(pictures, np.abs(probs - expected).max(1), strict=True))
    best = [f"{student.classes[row.argmax()]} {row.max():.1%}" for row in probs]
    assert [answer["headline"] for answer in answers] == best


def test_maps_are_grad_cam_over_what_the_network_saw(found, student, pictures):
    torch_student, compared = student_of(student), 0
    for answer, path in zip(found["answers"]["answers"], pictures, strict=True):
        pixels = read_rgb(path)
        heat = grad_cam(torch_student.model, torch_student.network_tensor(pixels), int(student(pixels).argmax()))
        if path.suffix == ".png" and heat.any():
            colours = np.reshape(answer["map"]["pixels"], (*heat.shape, 4))[..., :3]
            expected = cv2.applyColorMap((255 * heat).round().astype(np.uint8), cv2.COLORMAP_JET)[..., ::-1]
            assert np.abs(colours - expected.astype(int)).max() <= 20, path
            compared += 1
        assert answer["map"]["place"] == ["3.84615%", "3.84615%", "92.3077%", "92.3077%"]  # the middle 96 of 104
    assert compared > 5


@pytest.mark.parametrize("visit", ["pasted", "dropped", "photographed", "keyboard", "offline"])
def test_pictures_come_in_every_way(found, visit):
    (expected,) = (answer for answer in found["answers"]["answers"] if answer["name"] == "alpha.png")
    (answer,) = found[visit]["answers"]
    assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=0.01)


def test_a_telephone_takes_the_photograph(found):
    assert found["photographed"]["capture"] == "environment"


def test_keyboard_reaches_everything_and_shows_where_it_is(found):
    keyboard = found["keyboard"]
    assert keyboard["outline"] == "solid"
    assert keyboard["map"]
    assert keyboard["rest"]


QUIET = (
    "answers",
    "pasted",
    "dropped",
    "photographed",
    "keyboard",
    "spoilt",
    "without_map",
    "refused",
    "languages",
    "update",
    "offline",
)


@pytest.mark.parametrize("visit", QUIET)
def test_browser_has_nothing_to_complain_about_and_asks_no_other_place(found, visit):
    assert found[visit]["problems"] == []


def test_policy_forbids_connections_elsewhere_and_scripts_within(found):
    assert found["policy"] == {"kept": ["connect-src", "script-src-elem"], "ran": False}


def test_an_unsure_answer_is_unknown(found):
    (answer,) = found["spoilt"]["answers"]
    assert answer["headline"] == "unknown"
    assert "is less than the 100.0% that an answer takes" in found["spoilt"]["doubt"]


def test_names_of_classes_stay_text(found):
    (answer,) = found["spoilt"]["answers"]
    assert HTML in answer["probabilities"]
    assert found["spoilt"]["images"] == 0


def test_student_without_a_map_is_answered_for_without_one(found):
    (answer,) = found["without_map"]["answers"]
    assert len(answer["probabilities"]) == 7
    assert not found["without_map"]["offers_map"]


def test_what_is_no_picture_or_too_large_is_told_and_does_not_stop_the_others(found):
    text, huge, picture = found["refused"]["answers"]
    assert text["headline"].startswith("This is no picture that this browser can read.")
    assert huge["headline"] == "108 million pixels are too many: at most 100 million."
    assert picture["probabilities"]


def test_page_speaks_the_browsers_language_and_changes_it_at_once(found):
    (lang, title, text), (other_lang, other_title, other_text) = found["languages"]["chinese"], found["languages"]["english"]
    assert (lang, title, other_lang, other_title) == ("zh-CN", "试试这个分类器", "en", "Try the classifier")
    assert "毫秒" in text
    assert "ms for the network" in other_text
    assert "毫秒" not in other_text


def test_axe_finds_nothing_serious_and_nothing_is_wider_than_a_telephone(found):
    seen = found["accessible"]["all"]
    assert {*seen} == {f"{width} {scheme}" for width in (360, 1280) for scheme in ("light", "dark")}
    assert all(result == {"violations": [], "overflow": 0} for result in seen.values()), seen


def test_answers_are_announced(found):
    assert found["accessible"]["live"] == ["status", "Ready."]
    assert found["languages"]["english"][2].count("alpha.png: ") == 1  # the status line


def test_page_that_cannot_run_says_so(found):
    assert "no WebAssembly" in found["noWebAssembly"]["status"]
    assert not found["noWebAssembly"]["asks"]
    assert "has to come from a web server" in found["file"]["text"]


def test_new_version_takes_the_place_of_the_kept_one(found):
    (kept,) = found["update"]["kept"]
    assert " newer" in kept


def test_manifest_lists_the_page_and_the_page_says_what_the_manifest_does(run):
    manifest, settings = read_json(run.exported.manifest), read_json(run.exported.page / "student.json")
    names = {path.name for path in run.exported.page.iterdir()}
    assert {"index.html", "page.js", "student.onnx", "ort.js", "ort-wasm-simd-threaded.wasm", "version.js"} <= names
    assert {f"page/{name}" for name in names} <= {*manifest["files"]}
    check_files(run.deploy, manifest["files"])
    assert (settings["classes"], settings["preprocessing"]) == (manifest["classes"], SEEN.as_dict())
    assert settings["reject_below"] == manifest.get("reject_below", 0.0)
    assert settings["has_map"]


def test_page_without_its_runtime_is_refused_before_any_work(run, tmp_path, monkeypatch):
    before = contents(run.deploy)
    monkeypatch.setattr(page, "RUNTIME", tmp_path / "onnxruntime-web")
    message = refusal("export_openvino.py", run.path, "--page", cwd=run.path)
    assert "onnxruntime-web: not there. --page needs Node.js; run: npm ci --prefix" in message
    shutil.copytree(page.SOURCE / "node_modules" / "onnxruntime-web", page.RUNTIME, ignore=shutil.ignore_patterns("*.map"))
    write_json(page.RUNTIME / "package.json", {"version": "1.0.0"})
    assert "is version 1.0.0, the page needs" in refusal("export_openvino.py", run.path, "--page", cwd=run.path)
    assert contents(run.deploy) == before


def test_benchmark_compares_the_page_with_python(run, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["page.py", str(run.path)])
    runpy.run_path(str(REPO / "benchmarks" / "page.py"), run_name="__main__")
    files, copies = capsys.readouterr().out.splitlines()[-2:]
    assert files.split("  ")[0] == "files"
    assert "28 of 28" in files
    assert "28 of 28" in copies


SIZES = [(104, 104), (1, 1), (1, 300), (300, 1), (50, 104), (208, 312), (312, 104), (130, 131), (90, 60), (400, 533), (17, 230)]


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_pixels_are_resized_to_the_byte_as_in_training(fit, tmp_path):
    need(browser=False)
    seen = Preprocessing(96, 104, fit, SEEN.mean, SEEN.std)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (height, width, 4), np.uint8) for height, width in SIZES]
    pictures += [cv2.GaussianBlur(picture, (0, 0), 3) for picture in pictures]
    plan = []
    for i, picture in enumerate(pictures):
        (tmp_path / str(i)).write_bytes(picture.tobytes())
        height, width = picture.shape[:2]
        plan.append({"file": str(tmp_path / str(i)), "width": width, "height": height, "preprocessing": seen.as_dict()})
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    node("square.mjs", tmp_path / "plan.json")
    for i, picture in enumerate(pictures):
        expected = seen.square(np.ascontiguousarray(picture[..., :3]))
        square = np.fromfile(tmp_path / f"{i}.square", np.uint8).reshape(expected.shape)
        assert np.array_equal(square, expected), picture.shape
        batch = np.fromfile(tmp_path / f"{i}.input", np.float32).reshape(3, 96, 96)
        np.testing.assert_allclose(batch, seen.network_input(expected[None])[0], atol=1e-5)
