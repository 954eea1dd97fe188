"""The sections of a report, each from `Evidence` to what its part of the page shows. `Missing` says why there is nothing."""

import numpy as np
from scipy.stats import binomtest

from common.files import read_json
from recipe.pictures import SEEN
from recipe.testing import TEACHER
from recipe.trial_table import name_of, read_summary
from reports import plots
from reports.evidence import Missing
from reports.picture_sections import answered_by, classes, hardest, labels_to_look_at
from reports.suspects import looked_at
from utils.config import RunConfig, as_plain
from utils.metrics import contest_score

MAX_TRIALS = 50
BINS = 15


def summary(evidence, texts):
    """How good what was made is: rows what, accuracy with its 95 % interval, on which pictures, size, time, score."""
    teacher, student = (evidence.results.get(name, {}) for name in ("teacher", "student"))
    try:
        deploy = evidence.deployed
    except Missing:
        deploy = {}
    test = evidence.results.get("test", {}) if deploy else {}
    control = "control_averaged" if "control_averaged_accuracy" in student else "control_best"
    rows = [
        (texts("Teacher, out-of-fold"), teacher.get("oof_accuracy"), texts("training pictures"), {}),
        (texts("Teacher, mean of the folds' models"), teacher.get("val_accuracy"), texts("validation pictures"), {}),
        *(
            (texts(name), student.get(f"{key}_accuracy"), student.get(f"{key}_on"), {})
            for name, key in (
                ("Student, best checkpoint", "best"),
                ("Student, averaged checkpoints", "averaged"),
                ("The same on hard labels", control),
            )
        ),
        *(
            (engine, accuracy, deploy["measured_on"], _measured(evidence, engine))
            for engine, accuracy in deploy.get("accuracy", {}).items()
        ),
        *((texts("Teacher, mean of the folds' models") if name == TEACHER else name, accuracy, texts("test pictures"), {})
          for name, accuracy in test.get("accuracy", {}).items()),
    ]  # fmt: skip
    if all(accuracy is None for _, accuracy, _, _ in rows):
        raise Missing("results.json holds no accuracy yet.")
    counts = {texts("training pictures"): _count(evidence, "training"), texts("test pictures"): test.get("pictures")}
    return {
        "rows": [_reached(*row, counts.get(row[2], _count(evidence, "held_out"))) for row in rows if row[1] is not None],
        "made_of": _made_of(evidence, texts, _count(evidence, "training")),
        "durations": [
            texts("{name} {epochs} epochs in {minutes} min", name=name, epochs=epochs, minutes=f"{seconds / 60:.1f}")
            for name, epochs, seconds in durations(evidence)
        ],
    }


def _made_of(evidence, texts, count):
    """Which networks, at which size, of how many pictures: a sentence for each stage that was trained."""
    sentences = []
    if evidence.teacher_config:
        teacher = evidence.teacher_config.teacher
        about = {"backbone": teacher.backbone, "size": teacher.image_size, "folds": teacher.num_folds}
        sentences.append(texts("Teacher: {backbone} at {size} px, {folds} folds.", **about))
    if evidence.stage == "student":
        student = evidence.config.student
        sentences.append(texts("Student: {backbone} at {size} px.", backbone=student.backbone, size=student.image_size))
    if count:
        classes = len(evidence.classes)
        sentences.append(texts("{count} training pictures in {classes} classes.", count=count, classes=classes))
    return " ".join(sentences)


def _reached(name, accuracy, on, measured, count):
    """A row; the score is of what was timed. Pictures that were learnt from say nothing of others, so they give no interval."""
    low, high = interval(accuracy, count) if count and not (on or "").endswith(SEEN) else (None, None)
    score = contest_score(accuracy, measured["fps"]) if "fps" in measured else None
    unknown = dict.fromkeys(("mib", "ms", "fps"))
    row = {"name": name, "accuracy": accuracy, "on": on, "low": low, "high": high, "count": count, "score": score}
    return {**row, **unknown, **measured}


def interval(accuracy, count):
    """(low, high): Wilson's 95 % interval of an accuracy on `count` pictures (1927)."""
    limits = binomtest(round(accuracy * count), count).proportion_ci(method="wilson")
    return limits.low, limits.high


def durations(evidence):
    """[(what, epochs, seconds)] of the trainings, as metrics.csv has them."""
    return [
        (name, len(table), float(table[[c for c in ("seconds", "eval_seconds") if c in table]].to_numpy().sum()))
        for name, table in evidence.histories().items()
    ]


def curves(evidence, texts):
    """Loss, accuracy and learning rate of each fold and of the student."""
    histories = evidence.histories()
    if not histories:
        raise Missing("No epochs were logged: heads alone are trained without.")
    columns = {"loss": texts("loss"), "accuracy": texts("accuracy"), "lr": texts("learning rate")}
    drawn = {key: title for key, title in columns.items() if any(key in table for table in histories.values())}
    return {"plots": [(title, plots.curve(histories, key, title, texts("epoch"))) for key, title in drawn.items()]}


def sureness(evidence, texts):
    """How far to trust an answer: reliability before and after calibration, and accuracy against the share answered."""
    calibration, probs, labels = evidence.manifest.get("calibration"), evidence.probabilities, evidence.labels
    if not calibration:
        raise Missing("The export was not calibrated.")
    raw = probs ** calibration["temperature"]
    raw /= raw.sum(1, keepdims=True)
    confidence, right = probs.max(1), probs.argmax(1) == labels
    order = np.argsort(-confidence, kind="stable")
    share = np.arange(1, len(order) + 1) / len(order)
    accuracy = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    chosen = looked_at(len(order), plots.MAX_POINTS)
    thresholds = [
        {"threshold": t, "answered": float((confidence >= t).mean()), "accuracy": float(right[confidence >= t].mean())}
        for t in (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95) if (confidence >= t).any()
    ]  # fmt: skip
    return {
        **calibration,
        "by": answered_by(evidence, texts),
        "reject_below": evidence.manifest.get("reject_below", 0.0),
        "reliability": plots.reliability(
            reliability_bins(raw, labels), reliability_bins(probs, labels), [texts("before"), texts("after")],
            texts("confidence"), texts("accuracy"),
        ),
        "selective": plots.selective(share[chosen], accuracy[chosen], texts("share answered"), texts("accuracy of the answers")),
        "thresholds": thresholds,
    }  # fmt: skip


def reliability_bins(probs, labels):
    """[(mean confidence, share right, share of the pictures)] in 15 equal parts of 0..1, as far as there are pictures in them."""
    confidence, right = probs.max(1), probs.argmax(1) == labels
    part = np.minimum((confidence * BINS).astype(int), BINS - 1)
    inside = [part == k for k in range(BINS)]
    return [(confidence[rows].mean(), right[rows].mean(), rows.mean()) for rows in inside if rows.any()]


def speed(evidence, texts):
    """Accuracy against milliseconds of every exported file and, where ablate.py ran, of every trial."""
    deploy, files = evidence.deployed, {"OpenVINO", "OpenVINO INT8", "ONNX Runtime", "PyTorch"}
    times = {name.removesuffix(" eager"): values for name, *values in deploy["speed"]}
    points = [(name, times[name][0], accuracy) for name, accuracy in deploy["accuracy"].items() if name in times and name in files]
    rows = [
        {"name": name, "accuracy": deploy["accuracy"].get(name), "ms": ms, "p99": p99, "fps": fps, "rate": rate}
        for name, (ms, p99, fps, rate) in times.items()
    ]
    return {
        "rows": rows,
        "svg": plots.speed(points, texts("milliseconds a picture"), texts("accuracy")),
        "trials": _trials(evidence),
    }


def _trials(evidence):
    """The trials of ablate.py beside the run: a row for each combination, the best first."""
    path = evidence.folder.path / "ablation" / "table.csv"
    if not path.is_file():
        return []
    table = read_summary(path).head(MAX_TRIALS)
    return [{**row, "name": name_of(row)} for row in table.to_dict("records")]


def about(evidence, texts):
    """The run: what differs from the recipe, versions, machine, commands, fingerprint."""
    environments = {
        stage: read_json(path)
        for stage in ("teacher", "student")
        if (path := evidence.folder.config(stage).with_name("environment.json")).is_file()
    }
    newest = environments.get(evidence.stage, {})
    return {
        "differs": _differences(as_plain(RunConfig()), as_plain(evidence.config)),
        "versions": [f"{name} {version}" for name, version in sorted(newest.get("packages", {}).items()) if version],
        "machine": [(key, newest[key]) for key in ("platform", "python", "usable_cpus", "code_version") if key in newest],
        "commands": [" ".join(["python", *value.get("command", [])]) for value in environments.values()],
        "fingerprint": evidence.settings["fingerprint"],
    }


def _differences(recipe, config, prefix=""):
    """[(key, the recipe's value, here)] of nested dicts."""
    rows = []
    for key, value in config.items():
        before = recipe.get(key) if isinstance(recipe, dict) else None
        if isinstance(value, dict) and isinstance(before, dict):
            rows += _differences(before, value, f"{prefix}{key}.")
        elif value != before:
            rows.append((f"{prefix}{key}", repr(before), repr(value)))
    return rows


def _count(evidence, which):
    """How many pictures the accuracies are of; None where it is not known."""
    try:
        pictures = evidence.pictures
    except Missing:
        return None
    return len(pictures.training) if which == "training" else len(pictures.held_out.rows)


def _measured(evidence, engine):
    """{'mib', 'ms', 'fps'} of what an engine runs, as far as they were measured."""
    files = evidence.folder.exported
    path = {
        "ONNX Runtime": files.onnx,
        "OpenVINO": files.network.with_suffix(".bin"),
        "OpenVINO INT8": files.network_int8.with_suffix(".bin"),
    }
    measured = {"mib": path[engine].stat().st_size / 2**20} if engine in path and path[engine].is_file() else {}
    for name, ms, _, fps, _ in evidence.results["deploy"]["speed"]:
        if name == engine:
            measured |= {"ms": ms, "fps": fps}
    return measured


SECTIONS = {
    "summary": summary,
    "curves": curves,
    "classes": classes,
    "labels": labels_to_look_at,
    "hardest": hardest,
    "sureness": sureness,
    "speed": speed,
    "about": about,
}
