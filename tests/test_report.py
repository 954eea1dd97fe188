"""The report: what it shows is what the run's files say; nobody's names can put anything into it."""

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser

import cv2
import numpy as np
import pandas as pd
import pytest
from browser_tools import need, node
from helpers import refusal, run_script, write_config
from jinja2 import Environment, nodes

import export_openvino
from common.files import read_csv, read_json, write_csv, write_json
from data.dataset import open_dataset
from reports.evidence import Evidence
from reports.page import TEMPLATES, TITLES, write_report
from reports.sections import SECTIONS, interval, reliability_bins
from reports.suspects import label_issues, looked_at, near_duplicates, quality_issues
from reports.thumbnails import data_uri, shown
from reports.words import plain, texts
from utils import session
from utils.run_folder import RunFolder


class Page(HTMLParser):
    """What a page says: `texts` by section, `tags` as (name, attributes), `embedded` as read from its JSON."""

    def __init__(self, path):
        super().__init__()
        self.section, self.texts, self.tags, self.scripts = None, {}, [], []
        self._script = False
        self.html = path.read_text(encoding="utf-8")
        self.feed(self.html)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        self._script = tag == "script"
        if tag == "section":
            self.section = attributes["id"]
        if self._script:
            self.scripts.append((attributes, ""))

    def handle_endtag(self, tag):
        self._script = self._script and tag != "script"

    def handle_data(self, text):
        if self._script:
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + text)
        elif self.section:
            self.texts[self.section] = " ".join([self.texts.get(self.section, ""), *text.split()])

    @property
    def embedded(self):
        return json.loads(self.scripts[0][1])


@pytest.fixture(scope="session")
def reported(deployed):
    """The run folder and the page of its report."""
    write_report(session.reopen(deployed.path), deployed.report)
    return deployed, Page(deployed.report)


def test_every_section_shows_what_the_files_say(reported):
    folder, page = reported
    assert list(page.texts) == list(SECTIONS) == list(TITLES)
    assert not [name for name, text in page.texts.items() if "Not shown" in text and name != "curves"]
    results, answers = folder.results(), read_csv(folder.exported.held_out, texts=("path", "label"))
    for accuracy in (results["teacher"]["oof_accuracy"], *results["deploy"]["accuracy"].values()):
        assert f"{accuracy:.4f}" in page.texts["summary"]
    assert f"contradicts {results['teacher']['doubted_labels']} labels" in page.texts["labels"]
    assert sum(int(button) for button in re.findall(r"data-cell=[^>]*>(\d+)<", page.html)) == len(answers)
    assert read_json(folder.settings("student"))["fingerprint"] in page.texts["about"]
    assert f"{results['deploy']['calibration']['ece_after']:.4f}" in page.texts["sureness"]


def test_pictures_behind_a_cell_are_those_that_were_answered_so(reported):
    folder, page = reported
    answers, names = read_csv(folder.exported.held_out, texts=("path", "label")), read_json(folder.exported.manifest)["classes"]
    answered = answers[[f"p_{name}" for name in names]].to_numpy().argmax(1)
    assert page.embedded["cells"]
    for key, pictures in page.embedded["cells"].items():
        true, answer = map(int, key.split("-"))
        behind = answers["path"][(answers["label"] == names[true]).to_numpy() & (answered == answer)].tolist()
        assert [picture["path"] for picture in pictures] == behind[:12]


def test_the_page_fetches_nothing_and_runs_no_other_script(reported):
    _, page = reported
    addresses = [value for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href") and value]
    assert all(re.match(r"data:image/|#", address) for address in addresses)
    policy = next(attributes["content"] for tag, attributes in page.tags if tag == "meta" and "http-equiv" in attributes)
    (_, data), (_, script) = page.scripts
    assert json.loads(data)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def unexported(trained, place):
    """A copy of the run, whatever other tests made of it since."""
    folder = RunFolder(shutil.copytree(trained, place, ignore=shutil.ignore_patterns("deploy", "report.html")))
    write_json(folder.results_path, {stage: values for stage, values in folder.results().items() if stage != "deploy"})
    return folder


def test_a_run_without_an_export_says_so_and_shows_the_rest(trained, tmp_path):
    folder = unexported(trained, tmp_path / "run")
    run_script("report.py", folder.path, cwd=tmp_path)
    page = Page(folder.report)
    for name in ("classes", "hardest", "sureness", "speed"):
        assert f"Run: python export_openvino.py {folder.path}" in page.texts[name]
    assert "Not shown" not in page.texts["summary"] + page.texts["curves"] + page.texts["labels"] + page.texts["about"]


def test_a_student_without_a_teacher_has_no_labels_to_look_at_and_says_why(trained, tmp_path):
    folder = unexported(trained, tmp_path / "run")
    folder.oof.unlink()
    run_script("report.py", folder.path, cwd=tmp_path)
    assert "No out-of-fold predictions: " in Page(folder.report).texts["labels"]


def test_a_teacher_alone_shows_its_labels_to_look_at(trained, tmp_path):
    folder = unexported(trained, tmp_path / "run")
    shutil.rmtree(folder.student.path)
    results = folder.results()
    write_json(folder.results_path, {"teacher": results["teacher"]})
    run_script("report.py", folder.path, cwd=tmp_path)
    page = Page(folder.report)
    assert f"contradicts {results['teacher']['doubted_labels']} labels" in page.texts["labels"]
    assert "Teacher: mobilenet_v3_small at 32 px, 3 folds. 84 training pictures in 7 classes." in page.texts["summary"]
    assert "Student" not in page.texts["summary"]


def test_pictures_that_changed_or_went_are_left_out_with_the_reason(deployed, textiles, tmp_path):
    folder = RunFolder(shutil.copytree(deployed.path, tmp_path / "run"))
    config = folder.config("student")
    moved = shutil.copytree(textiles, tmp_path / "moved")
    config.write_text(config.read_text().replace(str(textiles), str(moved)), encoding="utf-8")
    next((moved / "validation").rglob("*.jpg")).unlink()
    run_script("report.py", folder.path, cwd=tmp_path)
    page = Page(folder.report)
    assert "The pictures have changed" in page.texts["labels"]
    assert "precision" in page.texts["classes"]
    shutil.rmtree(moved)
    run_script("report.py", folder.path, cwd=tmp_path)
    assert "The pictures cannot be shown: " in Page(folder.report).texts["hardest"]


def test_the_export_writes_it_unless_told_not_to(trained, tmp_path, monkeypatch):
    folder = unexported(trained, tmp_path / "run")
    monkeypatch.setattr("deploy.timing.SECONDS", 0.05)
    export_openvino.main([str(folder.path), "--no-report"])
    assert not folder.report.exists()
    export_openvino.main([str(folder.path)])
    assert folder.report.is_file()


def test_an_older_export_is_not_shown_beside_a_new_student(deployed, tmp_path):
    folder = RunFolder(shutil.copytree(deployed.path, tmp_path / "run"))
    shutil.copy(folder.student.best, folder.student.averaged)
    run_script("report.py", folder.path, cwd=tmp_path)
    page = Page(folder.report)
    assert "What was exported is an older student" in page.texts["classes"]
    assert "OpenVINO" not in page.texts["summary"]


def test_a_file_that_is_gone_costs_its_section_and_not_the_page(deployed, tmp_path):
    folder = RunFolder(shutil.copytree(deployed.path, tmp_path / "run"))
    folder.student.averaged.unlink()
    run_script("report.py", folder.path, cwd=tmp_path)
    page = Page(folder.report)
    assert "Not shown" in page.texts["hardest"]
    assert "precision" in page.texts["classes"]


def test_pictures_that_the_student_learnt_from_give_no_interval_and_are_answered_by_one_that_did_not(textiles, tmp_path):
    write_config(tmp_path, textiles / "train", None)
    options = ["--cfg-options", "student.distillation=none", "student.num_folds=3", "student.epochs=1"]
    run_script("m11.py", "config.py", *options, cwd=tmp_path)
    folder = RunFolder(tmp_path / "runs" / "t")
    run_script("export_openvino.py", folder.path, cwd=tmp_path)
    run_script("report.py", folder.path, cwd=tmp_path)
    page = Page(folder.report)
    rows = re.findall(r'<th scope="row">([^<]*)</th>\s*<td class="n">[\d.]+</td>\s*<td class="n" data-value="([\d.]*)">', page.html)
    intervals = {name: bool(low) for name, low in rows}
    assert intervals["Student, best checkpoint"]
    assert not intervals["Student, averaged checkpoints"]
    assert not intervals["OpenVINO"]
    for name in ("classes", "hardest", "sureness"):
        assert "Answers of best.pth: the exported student was trained on these pictures too." in page.texts[name]
    assert not re.search(r"\bfold \d", page.texts["labels"])  # there was no teacher


def test_of_many_classes_the_worst_confusions_open_their_pictures(deployed, monkeypatch, tmp_path):
    monkeypatch.setattr("reports.picture_sections.MAX_MATRIX", 3)
    monkeypatch.setattr("reports.picture_sections.MAX_CURVES", 3)
    write_report(session.reopen(deployed.path), tmp_path / "many.html")
    page = Page(tmp_path / "many.html")
    assert "Confusion matrix" not in page.texts["classes"]
    assert set(page.embedded["cells"]) == set(re.findall(r'data-cell="([^"]*)"', page.html))
    assert "The first 3 classes." in page.texts["classes"]


def test_trials_beside_the_run_are_shown(deployed, tmp_path):
    folder = RunFolder(shutil.copytree(deployed.path, tmp_path / "run"))
    rows = [("student.lr=0.2", "INT8", 0.75, 0.07071, 2, 1.5, 0.825), ("student.lr=0.1", "FP32", 0.5, None, 1, None, None)]
    columns = ["axis 1", "network", "mean", "std", "seeds", "ms", "score"]
    (folder.path / "ablation").mkdir()
    write_csv(folder.path / "ablation" / "table.csv", pd.DataFrame(rows, columns=columns).assign(minutes=2.0))
    run_script("report.py", folder.path, cwd=tmp_path)
    shown_text = Page(folder.report).texts["speed"].split("Trials of ablate.py")[-1]
    assert "student.lr=0.2 INT8 0.7500 ± 0.0707 2 1.50 0.8250 2.0 student.lr=0.1 0.5000 1 " in shown_text


def test_what_is_no_run_is_refused(tmp_path):
    assert "not the folder of a run" in refusal("report.py", tmp_path, cwd=tmp_path)


HOSTILE = "<script>alert(1)</script>", "\"'><img src=x onerror=alert(2)> ${7*7} {{7*7}} &amp;"


@pytest.fixture(scope="session")
def hostile(textiles, tmp_path_factory):
    """The exported run of a stranger: names of classes and files that would be scripts, tags, templates, turned text."""
    folder = tmp_path_factory.mktemp("hostile")
    for part, count in (("train", 12), ("validation", 3)):
        for name, fabric in zip((*HOSTILE, "=cmd|'/c calc'!A0, \u202egpj.exe"), ("denim", "stripes", "tartan"), strict=True):
            (folder / part / name.replace("/", "\u2215")).mkdir(parents=True)
            for i, file in enumerate(sorted((textiles / part / fabric).iterdir())[:count]):
                # A name for every trap: a tag that ends a script, quotes, a mark that turns the direction.
                stem = ("</script><script>alert(3)</script>".replace("/", "\u2215"), "a\"b'c,d", "x\u202ey")[i % 3]
                shutil.copy(file, folder / part / name.replace("/", "\u2215") / f"{stem}{i}.jpg")
    write_config(folder, folder / "train", folder / "validation")
    for script, argument in (("e4.py", "config.py"), ("m11.py", "config.py"), ("export_openvino.py", folder / "runs" / "t")):
        run_script(script, argument, cwd=folder)
    run = RunFolder(folder / "runs" / "t")
    write_report(session.reopen(run.path), run.report)
    return run


def test_names_stay_text(hostile):
    page = Page(hostile.report)
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert not [attributes for _, attributes in page.tags if any(key.startswith("on") for key in attributes)]
    assert not [attributes for tag, attributes in page.tags if tag == "img" and not attributes["src"].startswith("data:image/jpeg")]
    assert "\u202e" not in re.sub(r'(data-path|value)="[^"]*"', "", page.html.split("<script")[0])
    assert "\\u202e" in page.texts["labels"]
    assert "49" not in page.texts["classes"].split()


def test_used_in_a_browser(hostile, tmp_path):
    """Sorted, opened, ticked, saved; nothing asked for, nothing run, nothing inaccessible; and the run takes what was saved."""
    need()
    found = json.loads(node("report.mjs", hostile.report, tmp_path / "corrections.csv"))
    assert found["problems"] == []
    numbers = [float(text) for text in found["sorted"]["rising"]]
    assert numbers == sorted(numbers)
    assert [float(text) for text in found["sorted"]["falling"]] == sorted(numbers, reverse=True)
    assert found["opened"]["pictures"] == found["opened"]["count"] > 0
    assert found["scripts"] == 2
    run = session.reopen(hostile.path)
    dataset = Evidence(run).pictures.training
    saved = read_csv(tmp_path / "corrections.csv", texts=("path", "label"))
    assert found["rows"] == f"{len(saved)} rows"
    corrected = open_dataset(dataset.root, tmp_path / "again", 36, corrections=tmp_path / "corrections.csv")
    wanted = dict(zip(saved["path"], saved["label"], strict=True))
    labels = dict(zip(corrected.paths, corrected.table["label"], strict=True))
    assert all(labels.get(path, "drop") == label for path, label in wanted.items())
    assert set(dataset.paths) - set(corrected.paths) == {path for path, label in wanted.items() if label == "drop"}


def test_what_the_run_obeyed_already_is_saved_with_the_rest(deployed, dataset, tmp_path):
    """The saved table takes the place of the one that the config names."""
    folder = RunFolder(shutil.copytree(deployed.path, tmp_path / "run"))
    write_csv(tmp_path / "mine.csv", dataset.table.head(1).assign(label="drop")[["path", "label"]])
    config = folder.config("student")
    text = config.read_text()
    config.write_text(text.replace("corrections=None", f"corrections={str(tmp_path / 'mine.csv')!r}"), encoding="utf-8")
    settings = read_json(folder.settings("student"))
    corrected = open_dataset(dataset.root, tmp_path / "cache", 40, corrections=tmp_path / "mine.csv")
    folder.settings("student").write_text(json.dumps({**settings, "fingerprint": corrected.fingerprint}))
    run_script("report.py", folder.path, cwd=tmp_path)
    assert Page(folder.report).embedded["earlier"] == [[dataset.paths[0], "drop"]]


# Words


def test_every_text_has_its_chinese_and_no_chinese_is_left_over():
    used = set(TITLES.values())
    for template in TEMPLATES.glob("*.jinja"):
        tree = Environment().parse(template.read_text(encoding="utf-8"))
        calls = [call for call in tree.find_all(nodes.Call) if getattr(call.node, "name", None) == "t"]
        used |= {call.args[0].value for call in calls if isinstance(call.args[0], nodes.Const)}
    source = "".join(
        (TEMPLATES.parent / name).read_text(encoding="utf-8")
        for name in ("sections.py", "picture_sections.py", "evidence.py", "suspects.py")
    )
    known = read_json(TEMPLATES.parent / "chinese.json")
    assert used <= known.keys()
    assert not [key for key in known if key not in used and f'"{key}"' not in source]
    for key, chinese in known.items():
        assert set(re.findall(r"{\w+}", key)) == set(re.findall(r"{\w+}", chinese)), key


def test_the_chinese_report_is_chinese(deployed, tmp_path):
    run_script("report.py", deployed.path, "--lang", "zh", "--output", tmp_path / "zh.html", cwd=tmp_path)
    page = Page(tmp_path / "zh.html")
    assert '<html lang="zh-Hans">' in page.html
    for name, title in TITLES.items():
        assert texts("zh")(title) in page.texts[name]


# Parts


def test_control_characters_and_turned_text_are_shown_as_numbers():
    assert plain("a\u202eb\u200bc\n裙子é") == "a\\u202eb\\u200bc\\u000a裙子é"


def test_wilsons_interval():
    """Known values: 8 of 10 is 0.49 to 0.94 (Wilson 1927)."""
    assert interval(0.8, 10) == pytest.approx((0.4901, 0.9433), abs=1e-3)


def test_reliability_of_known_answers():
    probs = np.array([[0.95, 0.05], [0.95, 0.05], [0.55, 0.45]])
    assert reliability_bins(probs, np.array([0, 1, 0])) == [
        (pytest.approx(0.55), 1.0, pytest.approx(1 / 3)),
        (pytest.approx(0.95), 0.5, pytest.approx(2 / 3)),
    ]


def test_moved_labels_are_found_and_called_sure():
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=300)
    probs = np.full((300, 3), 0.03)
    probs[np.arange(300), truth] = 0.94
    given = truth.copy()
    given[:10] = (truth[:10] + 1) % 3
    found = label_issues(given, probs)
    assert {row for row, _, _ in found} == set(range(10))
    assert all(suggested == truth[row] and sure for row, suggested, sure in found)


def test_evenly_spread_numbers():
    assert looked_at(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert looked_at(1000, 3).tolist() == [0, 500, 999] or looked_at(1000, 3).tolist() == [0, 499, 999]
    assert not len(looked_at(0))


def test_dark_and_long_pictures_and_twins_are_found(textiles, tmp_path):
    root = shutil.copytree(textiles / "train", tmp_path / "pictures")
    files = sorted((root / "denim").iterdir())
    picture = cv2.imread(str(files[0]))
    cv2.imwrite(str(files[1]), picture // 12)
    cv2.imwrite(str(files[3]), cv2.resize(picture, (300, 30)))
    cv2.imwrite(str(root / "tartan" / "twin.png"), picture)
    dataset = open_dataset(root, tmp_path / "run", 48)
    row_of = {path: row for row, path in enumerate(dataset.paths)}
    issues = quality_issues(dataset, "stretch")
    assert row_of[f"denim/{files[1].name}"] in issues["dark"]
    assert row_of[f"denim/{files[3].name}"] in issues["odd_size"]
    assert row_of[f"denim/{files[3].name}"] in issues["odd_aspect_ratio"]
    groups = near_duplicates([dataset], "stretch")
    assert {(0, row_of[f"denim/{files[0].name}"]), (0, row_of["tartan/twin.png"])} in [set(group) for group in groups]


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_thumbnails_have_the_pictures_own_proportions(tmp_path, fit):
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "pictures" / name / "x.png"), np.full((30, 90, 3), 200 + 10 * (name == "b"), np.uint8))
    dataset = open_dataset(tmp_path / "pictures", tmp_path / "run", 48, fit=fit)
    picture = shown(dataset, 0, fit)
    assert picture.shape == (16, 48, 3)
    assert picture.min() == 200  # nothing of the grey beside it
    assert data_uri(picture).startswith("data:image/jpeg;base64,/9j/")


def test_copies_are_found_however_few_pictures_are_looked_at(textiles, tmp_path):
    root = shutil.copytree(textiles / "train", tmp_path / "pictures")
    first = sorted((root / "denim").iterdir())[0]
    shutil.copy(first, root / "denim" / "zz.jpg")
    dataset = open_dataset(root, tmp_path / "run", 48)
    pair = {(0, dataset.paths.index(f"denim/{first.name}")), (0, dataset.paths.index("denim/zz.jpg"))}
    assert pair in [set(group) for group in near_duplicates([dataset], "stretch", limit=5)]
