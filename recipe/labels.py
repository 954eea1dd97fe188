"""What the teacher's out-of-fold predictions say of the labels: how many it doubts and, where the truth is known, how rightly."""

from pathlib import Path

from data.textiles import true_labels
from utils.metrics import accuracy


def judge_labels(run, dataset, probs):
    """Results for results.json, from the OOF table's `probs` (N, K).

    doubted_labels: of how many pictures another class than the label is the most probable. For the embedded pictures, whose truth
    is known, also true_accuracy (against the truth), wrong_labels and wrong_labels_doubted.
    """
    doubted = probs.argmax(1) != dataset.labels
    results = {"doubted_labels": int(doubted.sum())}
    if run.config.data.draw_textiles:
        truth = true_labels(Path(run.config.data.root).parent, dataset)
        wrong = truth != dataset.labels
        results |= {
            "true_accuracy": accuracy(probs, truth),
            "wrong_labels": int(wrong.sum()),
            "wrong_labels_doubted": int((wrong & doubted).sum()),
        }
    return results


def label_rows(teacher):
    """[(what, how many)] of the section `teacher` of results.json, for the tables at the end of the scripts."""
    rows = [("labels that the teacher doubts", f"{teacher['doubted_labels']}")]
    if "wrong_labels" in teacher:
        rows.append(("wrong labels found", f"{teacher['wrong_labels_doubted']} of {teacher['wrong_labels']}"))
    return rows
