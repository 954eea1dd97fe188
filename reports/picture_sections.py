"""The sections of a report that show pictures: behind the confusions, with doubtful labels, the hardest ones."""

import numpy as np
from sklearn.metrics import precision_recall_curve, precision_recall_fscore_support

from data.corrections import read_corrections
from data.folds import assign_folds
from deploy.explain import grad_cam, overlay
from recipe.predictor import CheckpointPredictor
from reports import plots, suspects
from reports.evidence import Missing
from reports.thumbnails import data_uri, shown
from reports.words import plain
from utils.metrics import confusion_matrix

PER_CELL = 12  # pictures behind a cell of the confusion matrix
PER_KIND = 24  # pictures of a kind of poor quality, and groups of near-duplicates
HARDEST = 24
MAX_PICTURES = 1_000  # in the whole matrix
MAX_MATRIX = 40  # classes whose matrix is shown; of more the worst pairs
WORST = 20  # most frequent confusions
MAX_CURVES = 24  # classes with a curve of precision against recall


def classes(evidence, texts):
    """Precision, recall, F1 and support of each class, the confusion matrix with the pictures behind its cells, PR curves."""
    probs, labels, names = evidence.probabilities, evidence.labels, evidence.classes
    counts, answered = confusion_matrix(probs, labels, len(names)), probs.argmax(1)
    figures = precision_recall_fscore_support(labels, answered, labels=range(len(names)), zero_division=np.nan)
    table = [
        {"name": name, "precision": p, "recall": r, "f1": f, "support": int(s)}
        for name, p, r, f, s in zip(names, *figures, strict=True)
    ]
    confused = sorted(((int(counts[i, j]), i, j) for i, j in zip(*np.nonzero(counts), strict=True) if i != j), reverse=True)
    worst, has_matrix = confused[:WORST], len(names) <= MAX_MATRIX
    pairs = [(i, j) for _, i, j in confused] + [(i, i) for i in range(len(names))] if has_matrix else [(i, j) for _, i, j in worst]
    return {
        "by": answered_by(evidence, texts),
        "table": table,
        "matrix": _matrix(counts, names) if has_matrix else None,
        "confusions": [{"true": names[i], "answer": names[j], "count": n, "key": f"{i}-{j}"} for n, i, j in worst],
        "cells": _cells(evidence, answered, labels, pairs),
        "svg": plots.precision_recall([*_pr_points(probs, labels, names)], texts("recall"), texts("precision")),
        "drawn": MAX_CURVES if len(names) > MAX_CURVES else None,
        "per_cell": PER_CELL,
    }


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
            chosen = suspects.looked_at(len(recall), plots.MAX_POINTS)
            yield plain(names[k]), recall[chosen], precision[chosen]


def _cells(evidence, answered, labels, pairs):
    """{'i-j': [pictures]}: those behind each cell, as far as there is room; the first pairs have it first."""
    cells, room = {}, MAX_PICTURES
    try:
        held_out = evidence.pictures.held_out
    except Missing:
        return cells
    for i, j in pairs:
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
    return {"by": answered_by(evidence, texts), "pictures": pictures}


def answered_by(evidence, texts):
    """Who gave the answers, where that is not the student that was exported."""
    if evidence.answering == evidence.folder.shipped():
        return ""
    return texts("Answers of {name}: the exported student was trained on these pictures too.", name=evidence.answering.name)


def _picture(evidence, dataset, row):
    return {"path": dataset.table["path"].iloc[row], "src": data_uri(shown(dataset, row, evidence.section.fit))}
