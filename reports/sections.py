"""The sections of a report, each from `Evidence` to what its part of the page shows. `Missing` says why there is nothing."""

import math

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_curve, precision_recall_fscore_support

from common.files import read_json
from data.corrections import read_corrections
from data.folds import assign_folds
from deploy.explain import grad_cam, overlay
from recipe.pictures import SEEN
from recipe.predictor import CheckpointPredictor
from reports import plots, suspects
from reports.evidence import Missing
from reports.thumbnails import data_uri, shown
from reports.words import plain
from utils.config import RunConfig, as_plain
from utils.metrics import confusion_matrix, contest_score

PER_CELL = 12  # pictures behind a cell of the confusion matrix
PER_KIND = 24  # pictures of a kind of poor quality, and groups of near-duplicates
HARDEST = 24
MAX_PICTURES = 1_000  # in the whole matrix
MAX_MATRIX = 40  # classes whose matrix is shown; of more the worst pairs
WORST = 20  # most frequent confusions
MAX_CURVES = 24  # classes with a curve of precision against recall
MAX_PR = 1_000  # points of a curve
BINS = 15


def summary(evidence, texts):
    """How good what was made is: rows what, accuracy with its 95 % interval, on which pictures, size, time, score."""
    teacher, student = (evidence.results.get(name, {}) for name in ("teacher", "student"))
    try:
        deploy = evidence.deployed
    except Missing:
        deploy = {}
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
    ]
    if all(accuracy is None for _, accuracy, _, _ in rows):
        raise Missing("results.json holds no accuracy yet.")
    counts = {texts("training pictures"): _count(evidence, "training")}
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


def classes(evidence, texts):
    """Precision, recall, F1 and support of each class, the confusion matrix with the pictures behind its cells, PR curves."""
    probs, labels, names = evidence.probabilities, evidence.labels, evidence.classes
    counts, answered = confusion_matrix(probs, labels, len(names)), probs.argmax(1)
    figures = precision_recall_fscore_support(labels, answered, labels=range(len(names)), zero_division=np.nan)
    table = [
        {"name": name, "precision": p, "recall": r, "f1": f, "support": int(s)}
        for name, p, r, f, s in zip(names, *figures, strict=True)
    ]
    worst = sorted(((int(counts[i, j]), i, j) for i, j in zip(*np.nonzero(counts), strict=True) if i != j), reverse=True)
    worst = [cell for cell in worst if len(names) <= MAX_MATRIX] or worst[:WORST]
    right = [(int(counts[i, i]), i, i) for i in range(len(names)) if counts[i, i] and len(names) <= MAX_MATRIX]
    return {
        "by": _by(evidence, texts),
        "table": table,
        "matrix": _matrix(counts, names) if len(names) <= MAX_MATRIX else None,
        "confusions": [{"true": names[i], "answer": names[j], "count": n, "key": f"{i}-{j}"} for n, i, j in worst[:WORST]],
        "cells": _cells(evidence, answered, labels, [*worst, *right]),
        "svg": plots.precision_recall([*_pr_points(probs, labels, names)], texts("recall"), texts("precision")),
        "drawn": MAX_CURVES if len(names) > MAX_CURVES else None,
        "per_cell": PER_CELL,
    }


def _by(evidence, texts):
    """Who gave the answers, where that is not the student that was exported."""
    if evidence.answering == evidence.folder.shipped():
        return ""
    return texts("Answers of {name}: the exported student was trained on these pictures too.", name=evidence.answering.name)


def _matrix(counts, names):
    """Rows of cells; strength: how strongly a cell is coloured, by its share of the row."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    return [
        {"name": names[i], "cells": [
            {"count": int(counts[i, j]), "key": f"{i}-{j}", "answer": names[j], "strength": 0.08 + 0.32 * shares[i, j]}
            for j in range(len(names))
        ]}
        for i in range(len(names))
    ]  # fmt: skip


def _pr_points(probs, labels, names):
    for k in range(min(len(names), MAX_CURVES)):
        if (labels == k).any():
            precision, recall, _ = precision_recall_curve(labels == k, probs[:, k])
            chosen = suspects.looked_at(len(recall), MAX_PR)
            yield plain(names[k]), recall[chosen], precision[chosen]


def _cells(evidence, answered, labels, wanted):
    """{'i-j': [pictures]}: those behind each cell, as far as there is room, wrong answers first."""
    cells, room = {}, MAX_PICTURES
    try:
        held_out = evidence.pictures.held_out
    except Missing:
        return cells
    for _, i, j in wanted:
        rows = np.flatnonzero((labels == i) & (answered == j))[: min(PER_CELL, room)]
        room -= len(rows)
        if len(rows):
            cells[f"{i}-{j}"] = [_picture(evidence, held_out.dataset, held_out.rows[row]) for row in rows]
    return cells


def labels_to_look_at(evidence, texts, limit=200):
    """Suspects, each with its picture, given and suggested class; near-duplicates; pictures of poor quality."""
    training, held_out, fit = evidence.pictures.training, evidence.pictures.held_out, evidence.section.fit
    judges = None if held_out.in_training_set else held_out.dataset
    parts = [training] + [judges] * (judges is not None)
    quality = suspects.quality_issues(training, fit)
    result = {
        "classes": list(evidence.classes),
        "earlier": _earlier_corrections(evidence),
        "quality": [
            {"name": texts(kind), "count": len(rows), "pictures": [_picture(evidence, training, row) for row in rows[:PER_KIND]]}
            for kind, rows in quality.items()
        ],
        "twins": _twins(evidence, texts, parts, suspects.near_duplicates(parts, fit)),
        "looked_at": suspects.MAX_LOOKED_AT,
        "total": sum(map(len, parts)),
    }
    return result | _suspects(evidence, texts, training, limit)


def _suspects(evidence, texts, training, limit):
    """found: how many; suspects: the worst; surest: how many of these are; no_suspects: why none could be looked for."""
    try:
        found = suspects.label_issues(training.labels, evidence.out_of_fold)
    except Missing as reason:
        return {"found": 0, "suspects": [], "surest": 0, "no_suspects": texts(reason.text, **reason.values)}
    worst = [_suspect(evidence, training, *suspect) for suspect in found[:limit]]
    return {"found": len(found), "suspects": worst, "surest": sum(shown["sure"] for shown in worst), "no_suspects": None}


def _suspect(evidence, training, row, suggested, sure):
    probs, given, names = evidence.out_of_fold[row], int(training.labels[row]), evidence.classes
    return {
        **_picture(evidence, training, row), "sure": sure,
        "given": names[given], "given_probability": float(probs[given]),
        "suggested": names[suggested], "suggested_probability": float(probs[suggested]),
    }  # fmt: skip


def _twins(evidence, texts, parts, groups):
    """Groups that matter first: of different classes, then in different parts, then in different folds."""
    teacher, folds = evidence.teacher_config, None
    if teacher:
        folds = assign_folds(parts[0].table, teacher.teacher.num_folds, teacher.seed)

    def described(part, row):
        where = texts("validation") if part else texts("training") if folds is None else texts("fold {number}", number=folds[row])
        label = parts[part].table["label"].iloc[row]
        return {**_picture(evidence, parts[part], row), "where": where, "label": label, "is_training": part == 0}

    def urgency(group):
        labels = {parts[part].table["label"].iloc[row] for part, row in group}
        return (
            len(labels) == 1,
            len({part for part, _ in group}) == 1,
            folds is None or len({folds[row] for part, row in group if part == 0}) < 2,
        )

    chosen = sorted(groups, key=urgency)[:PER_KIND]
    return {"count": len(groups), "groups": [[described(*member) for member in group[:PER_CELL]] for group in chosen]}


def _earlier_corrections(evidence):
    """[[path, label]] that the run obeyed: the table that the page saves is to take its place."""
    file = evidence.config.data.corrections
    return list(map(list, read_corrections(file).items())) if file else []


def hardest(evidence, texts):
    """The held-out pictures that the student is most wrong about, with the map of what it saw of the class it answered."""
    held_out, labels, probs = evidence.pictures.held_out, evidence.labels, evidence.probabilities
    right = probs[np.arange(len(labels)), labels]
    student = CheckpointPredictor(evidence.answering)
    pictures = []
    for row in np.argsort(right, kind="stable")[:HARDEST]:
        answer = int(probs[row].argmax())
        place = held_out.rows[row]
        square = np.asarray(held_out.dataset.images[place])
        heat = grad_cam(student.model, student.network_tensor(square), answer)
        share = student.preprocessing.image_size / student.preprocessing.resize
        pictures.append({
            **_picture(evidence, held_out.dataset, place), "map": data_uri(overlay(square, heat, share)),
            "given": evidence.classes[labels[row]], "given_probability": right[row],
            "answer": evidence.classes[answer], "answer_probability": probs[row, answer],
        })  # fmt: skip
    return {"by": _by(evidence, texts), "pictures": pictures}


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
    chosen = suspects.looked_at(len(order), MAX_PR)
    thresholds = [
        {"threshold": t, "answered": float((confidence >= t).mean()), "accuracy": float(right[confidence >= t].mean())}
        for t in (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95) if (confidence >= t).any()
    ]  # fmt: skip
    return {
        **calibration,
        "by": _by(evidence, texts),
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
    """The trials of ablate.py beside the run: the mean and the number of seeds of each combination, the best first."""
    path = evidence.folder.path / "ablation" / "trials.csv"
    if not path.is_file():
        return []
    table = pd.read_csv(path)
    axes = [column for column in table.columns if column.startswith("axis ")]
    groups = table.groupby(axes, sort=False)["accuracy"].agg(["mean", "std", "count"]).sort_values("mean", ascending=False).head(50)
    minutes = table.groupby(axes, sort=False)["minutes"].mean()
    return [
        {"name": " ".join(index if isinstance(index, tuple) else (index,)), "mean": row["mean"],
         "std": None if math.isnan(row["std"]) else row["std"], "seeds": int(row["count"]), "minutes": float(minutes.loc[index])}
        for index, row in groups.iterrows()
    ]  # fmt: skip


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


def _picture(evidence, dataset, row):
    return {"path": dataset.table["path"].iloc[row], "src": data_uri(shown(dataset, row, evidence.section.fit))}


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
